//! Which GPUs are chosen.

use super::*;

#[test]
fn cuda_visible_devices_by_the_rules_of_cuda() {
    let same: Vec<Device> = (0..4).map(|i| gpu(i, &format!("GPU-{i}{i}"), "H100")).collect();
    for (devices, expected) in [
        (None, &[0, 1, 2, 3][..]),
        (Some(""), &[]),
        (Some("2"), &[2]),
        (Some(" 3 , 1"), &[1, 3]),
        (Some("0,2,-1,1"), &[0, 2]),
        (Some("1,9,0"), &[1]),
        (Some("-1"), &[]),
        (Some("NoDevFiles"), &[]),
        (Some("1,1"), &[1]),
        (Some("GPU-2"), &[2]),
        // More than one begins so.
        (Some("GPU-"), &[]),
        (Some("+1"), &[]),
    ] {
        let selection = DeviceSelection::cuda(devices, None);
        assert_eq!(chosen(&selection, &same), expected, "{devices:?}");
    }
}

#[test]
fn instances_are_chosen_by_their_own_name_and_with_their_gpu() {
    let all = machine();
    for (devices, expected) in [
        ("GPU-beef", &[1, 2, 3][..]),
        ("1", &[1, 2, 3]),
        ("MIG-12", &[3]),
        // Both begin so.
        ("MIG-1", &[]),
        ("MIG-GPU-beef/3/1", &[3]),
        ("MIG-GPU-beef/4/0", &[]),
        ("MIG-GPU-beef/3", &[]),
    ] {
        let selection = DeviceSelection::cuda(Some(devices), None);
        assert_eq!(chosen(&selection, &all), expected, "{devices:?}");
    }
}

#[test]
fn numbers_of_cuda_mean_nothing_where_gpus_differ() {
    let mixed = [gpu(0, "GPU-a", "H100"), gpu(1, "GPU-b", "T4")];
    let numbers = DeviceSelection::cuda(Some("1"), None);
    let all = numbers.choose(&mixed, &Before::default(), |_| Err(Absent::NotSupported));
    assert_eq!((all.places, all.is_known), (vec![0, 1], false));
    assert!(all.notice.unwrap().to_string().contains("CUDA_DEVICE_ORDER=PCI_BUS_ID"));
    // So that none is called the engine's.
    let mut bench = Bench::tied(&mixed, numbers);
    assert_eq!(bench.shown(&names::GPU_UP).len(), 2);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 2"]);
    assert_eq!(bench.shown(&names::ENGINE_GPU_INFO), [""; 0]);
    // Nor when those that are left are of one kind.
    bench.says(|script| {
        script.devices = mixed[1..].to_vec();
        script.samples[0] = Err(ErrorKind::Lost);
    });
    bench.watcher.round();
    bench.says(|script| script.samples[0] = Ok(0.5));
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 0", "1 GPU-b T4 1"]);
    assert_eq!(bench.shown(&names::ENGINE_GPU_INFO), [""; 0]);
    assert_eq!(chosen(&DeviceSelection::cuda(Some("1"), Some("PCI_BUS_ID")), &mixed), [1]);
    assert_eq!(chosen(&DeviceSelection::cuda(Some("GPU-b"), None), &mixed), [1]);
    // The numbers of a list are the driver's.
    assert_eq!(chosen(&DeviceSelection::list("1").unwrap(), &mixed), [1]);
}

#[test]
fn a_list_shows_what_there_is_and_names_the_rest() {
    let list = DeviceSelection::list("7,GPU-89,GPU-none").unwrap();
    let chosen = list.choose(&machine(), &Before::default(), |_| Err(Absent::NotSupported));
    let notice = Some(Notice::warning("no such GPU: 7, GPU-none"));
    assert_eq!(chosen, Chosen { notice, ..places(&[0]) });
    assert!(!DeviceSelection::list("all").unwrap().is_a_choice());
    for text in ["", "x", "0,,1", "-1", "0;1", "MIG-GPU-a/b/c"] {
        let error = DeviceSelection::list(text).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("allowed are `all`"), "{error}");
    }
}
