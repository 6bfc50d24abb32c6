//! What becomes of what a backend says, at moments that the test names.

use super::*;

#[test]
fn what_was_read_is_there_until_it_is_old() {
    let mut bench = Bench::new(&machine()[..1]);
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), [""; 0]);
    let pause = bench.watcher.round();
    assert!(pause <= SECOND, "{pause:?}");
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 1"]);
    assert_eq!(bench.shown(&names::GPU_POWER_WATTS), ["0 GPU-8932f937 H100 0.5"]);
    assert_eq!(bench.shown(&names::GPU_TEMPERATURE_CELSIUS), [""; 0]);
    let later = |family| shown(&bench.watcher.board, Instant::now() + SECOND * 6, family);
    assert_eq!(later(&names::GPU_POWER_WATTS), [""; 0]);
    assert_eq!(later(&names::GPU_UP), ["0 GPU-8932f937 H100 0"]);
    assert_eq!(later(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(later(&names::GPU_ENERGY_JOULES_TOTAL), ["0 GPU-8932f937 H100 0.5"]);
}

#[test]
fn a_call_that_does_not_return_is_late_once() {
    let bench = Bench::new(&machine()[..1]);
    let (board, began) = (&bench.watcher.board, Instant::now());
    board.call(began);
    assert_eq!(shown(board, began + SECOND, &names::GPU_PROBE_UP), [""; 0]);
    for _ in 0..3 {
        assert_eq!(shown(board, began + SECOND * 3, &names::GPU_PROBE_UP), ["scripted 0"]);
        let errors = shown(board, began + SECOND * 3, &names::GPU_PROBE_ERRORS_TOTAL);
        assert!(errors.contains(&"scripted timeout 1".to_owned()), "{errors:?}");
    }
    assert_eq!(board.snapshot(began + SECOND * 3).error.unwrap().kind(), ErrorKind::Timeout);
}

#[test]
fn one_lost_gpu_disturbs_no_other_and_comes_back() {
    let machine = [gpu(0, "GPU-a", "H100"), gpu(1, "GPU-b", "H100")];
    let mut bench = Bench::new(&machine);
    bench.watcher.round();
    bench.says(|script| script.samples[1] = Err(ErrorKind::Lost));
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_POWER_WATTS), ["0 GPU-a H100 0.5"]);
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 1", "1 GPU-b H100 0"]);
    assert_eq!(bench.shown(&names::GPU_ENERGY_JOULES_TOTAL).len(), 2);
    bench.says(|script| script.samples[1] = Ok(0.75));
    // It is not tried with each round.
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 1", "1 GPU-b H100 0"]);
    for _ in 0..10 {
        bench.watcher.round();
    }
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 1", "1 GPU-b H100 1"]);
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
}

/// CUDA's list ends at the first that is not there, and the driver counts anew without it.
#[test]
fn a_lost_gpu_does_not_change_which_others_are_chosen() {
    let machine: Vec<Device> = (0..4).map(|i| gpu(i, &format!("GPU-{i}"), "H100")).collect();
    let first_three = DeviceSelection::cuda(Some("0,1,2"), None);
    let mut bench = Bench::choosing(&machine, first_three);
    bench.watcher.round();
    let up = ["0 GPU-0 H100 1", "1 GPU-1 H100 1", "2 GPU-2 H100 1"];
    assert_eq!(bench.shown(&names::GPU_UP), up);
    bench.says(|script| {
        script.devices = (1..4).map(|i| gpu(i - 1, &format!("GPU-{i}"), "H100")).collect();
        // The first fails, so that it is looked which there are.
        script.samples[0] = Err(ErrorKind::Lost);
    });
    bench.watcher.round();
    bench.says(|script| script.samples[0] = Ok(0.5));
    bench.watcher.round();
    let up = ["0 GPU-0 H100 0", "0 GPU-1 H100 1", "1 GPU-2 H100 1"];
    assert_eq!(bench.shown(&names::GPU_UP), up);
    // It comes back, and is looked for now and then.
    bench.says(|script| script.devices = machine);
    for _ in 0..20 {
        bench.watcher.round();
    }
    let up = ["0 GPU-0 H100 1", "1 GPU-1 H100 1", "2 GPU-2 H100 1"];
    assert_eq!(bench.shown(&names::GPU_UP), up);
}

#[test]
fn gpus_that_are_not_chosen_any_more_are_not_lost() {
    let machine = machine();
    let mut bench = Bench::new(&machine);
    bench.watcher.round();
    bench.watcher.board.listed(&machine, &places(&[0]));
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-8932f937 H100 1"]);
}

#[test]
fn a_gpu_whose_turn_has_not_come_is_not_down() {
    let bench = Bench::new(&machine()[..1]);
    let (board, began) = (&bench.watcher.board, Instant::now());
    board.call(began);
    board.listed(&machine()[..1], &places(&[0]));
    assert_eq!(shown(board, began, &names::GPU_UP), [""; 0]);
    assert_eq!(shown(board, began, &names::GPU_DEVICES), [""; 0]);
    // But if the driver hangs before.
    let later = began + SECOND * 3;
    assert_eq!(shown(board, later, &names::GPU_UP), ["0 GPU-8932f937 H100 0"]);
    assert_eq!(shown(board, later, &names::GPU_DEVICES), ["scripted 0"]);
}

#[test]
fn an_error_of_the_whole_closes_the_driver_with_longer_and_longer_pauses() {
    let mut bench = Bench::new(&machine()[..1]);
    bench.watcher.round();
    bench.says(|script| {
        script.samples[0] = Err(ErrorKind::NotLoaded);
        script.open = Some(ErrorKind::NotLoaded);
    });
    let pauses: Vec<u64> = (0..8).map(|_| bench.watcher.round().as_millis() as u64).collect();
    for (pause, around) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((around * 750..=around * 1000).contains(pause), "{pauses:?}");
    }
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-8932f937 H100 0"]);
    assert!(bench.shown(&names::GPU_PROBE_ERRORS_TOTAL).contains(&"scripted not_loaded 8".into()));
    bench.says(|script| (script.open, script.samples[0]) = (None, Ok(0.1)));
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-8932f937 H100 1"]);
}

#[test]
fn without_a_driver_it_looks_once_a_minute() {
    let mut bench = Bench::new(&[]);
    bench.says(|script| script.open = Some(ErrorKind::NotPresent));
    assert_eq!(bench.watcher.round(), SECOND * 60);
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_UP), [""; 0]);
}

#[test]
fn a_backend_that_panics_has_failed() {
    let mut bench = Bench::new(&machine()[..1]);
    bench.says(|script| script.panics = true);
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 0"]);
    bench.says(|script| script.panics = false);
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
}

#[test]
fn what_cannot_be_is_absent() {
    let mut readings = DeviceReadings::default();
    for (quantity, value) in
        [(Quantity::Utilization, 9.2e16), (Quantity::Power, -1.0), (Quantity::Energy, f64::NAN)]
    {
        readings.set(quantity, Ok(value));
        assert!(matches!(readings.get(quantity), Err(Absent::Impossible(_))), "{quantity:?}");
    }
    readings.set(Quantity::Temperature, Ok(-5.0));
    readings.set(Quantity::MemoryTotal, Ok(10.0));
    readings.set(Quantity::MemoryUsed, Ok(11.0));
    let checked = readings.checked();
    assert_eq!(checked.get(Quantity::Temperature), Ok(-5.0));
    assert_eq!(checked.get(Quantity::MemoryUsed), Err(Absent::Impossible(11.0)));
    assert_eq!(checked.get(Quantity::MemoryFree), Err(Absent::NotAsked));
}

#[test]
fn what_is_remembered_has_a_limit() {
    let bench = Bench::new(&[]);
    let board = &bench.watcher.board;
    for index in 0..1000 {
        board.listed(&[gpu(index, &format!("GPU-{index}"), "H100")], &places(&[0]));
    }
    let known = bench.shown(&names::GPU_UP);
    // The newest was not tried yet.
    assert_eq!((known.len(), &*known[254]), (255, "998 GPU-998 H100 0"));
    for xid in 0..1000 {
        board.has_reported("GPU-999", xid);
    }
    let codes = bench.shown(&names::GPU_XID_ERRORS_TOTAL);
    assert_eq!(codes.len(), 65);
    assert!(codes.contains(&"999 GPU-999 H100 other 936".to_owned()), "{codes:?}");
}

#[test]
fn an_instance_that_was_taken_apart_is_gone() {
    let all = machine();
    let mut bench = Bench::new(&all);
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP).len(), 4);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 2"]);
    bench.watcher.board.listed(&all[..3], &places(&[0, 1, 2]));
    let up = ["0 GPU-8932f937 H100 1", "1 GPU-beef H100 1", "1 MIG-1 H100 1"];
    assert_eq!(bench.shown(&names::GPU_UP), up);
}

#[test]
fn every_quantity_has_the_labels_of_its_family() {
    for quantity in Quantity::ALL {
        let more = usize::from(quantity.label().is_some());
        let by_instance = quantity.family().labels.contains(&names::label::MIG_INSTANCE);
        let expected = 3 + more + usize::from(by_instance);
        assert_eq!(quantity.family().labels.len(), expected, "{quantity:?}");
        let siblings = Quantity::ALL.iter().filter(|other| {
            std::ptr::eq(other.family(), quantity.family()) && other.label() == quantity.label()
        });
        assert_eq!(siblings.count(), 1, "{quantity:?}");
    }
}
