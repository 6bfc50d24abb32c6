//! Sources: their series come and go with them.

use std::sync::mpsc;

use infermeter::{
    Meter, names,
    record::{Collect, Readings, SourceStatus, Value},
};
use tokio::time::advance;

use super::support::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    Tell(f64),
    Fail(&'static str),
    Panic,
}

/// Tells how many requests wait.
fn watch(meter: &Meter, name: &str, first: Act) -> Script<Act> {
    let script = Script::new(first);
    let acts = script.clone();
    meter.watch(name, move |out: &mut Readings| {
        let value = match acts.now() {
            Act::Tell(value) => value,
            // What was written before does not count.
            Act::Fail(_) | Act::Panic => 77.0,
        };
        let labels = ["m".into(), "1".into()];
        out.push(&names::NUM_REQUESTS_WAITING, labels, Value::Gauge(value));
        match acts.now() {
            Act::Tell(_) => Ok(()),
            Act::Fail(why) => Err(why.into()),
            Act::Panic => panic!("as the test wants"),
        }
    });
    script
}

fn waiting(meter: &Meter) -> Vec<String> {
    shown(meter, &names::NUM_REQUESTS_WAITING)
}

fn status(meter: &Meter) -> (Option<bool>, Option<u64>, Option<String>) {
    let [SourceStatus { up, age, error, .. }] = &meter.sources()[..] else {
        panic!("{:?}", meter.sources())
    };
    (*up, age.map(|age| age.as_secs()), error.as_ref().map(ToString::to_string))
}

fn up(meter: &Meter) -> [Vec<String>; 2] {
    [&names::SOURCE_UP, &names::SOURCE_AGE_SECONDS].map(|family| shown(meter, family))
}

#[tokio::test(start_paused = true)]
async fn series_come_and_go_with_their_source() {
    let meter = Meter::new().model("m");
    let script = watch(&meter, "scheduler", Act::Tell(3.0));
    // Not sampled yet: nothing is said of it, and what is seen from outside stands.
    assert_eq!(status(&meter), (None, None, None));
    assert_eq!(up(&meter), [[""; 0]; 2]);
    assert_eq!(waiting(&meter), ["m 0 0"]);

    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 3"]);
    assert_eq!(up(&meter), [["scheduler 1"], ["scheduler 0"]]);
    assert_eq!(status(&meter), (Some(true), Some(0), None));

    advance(SECOND * 4).await;
    script.set(Act::Fail("it is \"gone\""));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 0 0"]);
    assert_eq!(up(&meter), [["scheduler 0"], ["scheduler 4"]]);
    assert_eq!(status(&meter), (Some(false), Some(4), Some("it is \"gone\"".to_owned())));

    script.set(Act::Tell(5.0));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 5"]);
    assert_eq!(status(&meter), (Some(true), Some(0), None));

    script.set(Act::Panic);
    meter.sample();
    assert_eq!(waiting(&meter), ["m 0 0"]);
    assert_eq!(status(&meter), (Some(false), Some(0), Some("it panicked".to_owned())));

    script.set(Act::Tell(0.0));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 0"]);
}

#[tokio::test(start_paused = true)]
async fn old_readings_are_gone_until_there_are_new_ones() {
    let meter = Meter::new().model("m");
    let script = watch(&meter, "scheduler", Act::Tell(3.0));
    meter.sample();
    advance(SECOND * 10).await;
    assert_eq!(waiting(&meter), ["m 1 3"]);
    assert_eq!(up(&meter), [["scheduler 1"], ["scheduler 10"]]);
    advance(SECOND).await;
    assert_eq!(waiting(&meter), ["m 0 0"]);
    assert_eq!(up(&meter), [["scheduler 0"], ["scheduler 11"]]);
    assert_eq!(status(&meter), (Some(false), Some(11), None));
    script.set(Act::Tell(4.0));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 4"]);
    assert_eq!(up(&meter), [["scheduler 1"], ["scheduler 0"]]);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_from_the_start_has_no_age() {
    let meter = Meter::new().model("m");
    watch(&meter, "scheduler", Act::Fail("no scheduler"));
    meter.sample();
    advance(SECOND).await;
    assert_eq!(up(&meter), [vec!["scheduler 0"], vec![]]);
    assert_eq!(status(&meter), (Some(false), None, Some("no scheduler".to_owned())));
}

#[test]
fn one_that_fails_or_panics_takes_no_other_with_it() {
    let meter = Meter::new().model("m");
    watch(&meter, "first", Act::Panic);
    meter.watch("second", |out: &mut Readings| {
        out.push(&names::PROCESS_THREADS, [], Value::Gauge(9.0));
        Ok(())
    });
    watch(&meter, "third", Act::Fail("x"));
    meter.sample();
    assert_eq!(shown(&meter, &names::PROCESS_THREADS), ["9"]);
    assert_eq!(shown(&meter, &names::SOURCE_UP), ["first 0", "second 1", "third 0"]);
}

#[test]
fn of_two_that_tell_one_series_the_first_is_taken() {
    let meter = Meter::new().model("m");
    let first = watch(&meter, "first", Act::Tell(1.0));
    watch(&meter, "second", Act::Tell(2.0));
    meter.sample();
    let counted = meter.collect();
    assert_eq!(counted.series(&names::NUM_REQUESTS_WAITING).len(), 1);
    assert_eq!(waiting(&meter), ["m 1 1"]);
    let [ref duplicates] = dropped(&meter)[..] else { panic!("{:?}", dropped(&meter)) };
    assert!(duplicates.starts_with("duplicate "), "{duplicates}");

    first.set(Act::Fail("gone"));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 2"], "the other one is there still");
    let before = dropped(&meter);
    assert_eq!(dropped(&meter), before, "nothing is told twice any more");
}

#[test]
fn a_series_told_twice_by_one_source_stands_once() {
    let meter = Meter::new().model("m");
    meter.watch("twice", |out: &mut Readings| {
        for value in [1.0, 2.0] {
            out.push(&names::PROCESS_THREADS, [], Value::Gauge(value));
        }
        Ok(())
    });
    meter.sample();
    assert_eq!(shown(&meter, &names::PROCESS_THREADS), ["1"]);
}

#[test]
fn one_of_the_same_name_makes_room() {
    let meter = Meter::new().model("m");
    watch(&meter, "scheduler", Act::Tell(1.0));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 1"]);
    watch(&meter, "scheduler", Act::Tell(2.0));
    assert_eq!(waiting(&meter), ["m 0 0"]);
    assert_eq!(status(&meter), (None, None, None));
    meter.sample();
    assert_eq!(waiting(&meter), ["m 1 2"]);
    assert_eq!(meter.sources().len(), 1);
    assert_eq!(dropped(&meter), [""; 0]);
}

#[test]
fn every_clone_of_a_meter_has_the_same_sources() {
    let meter = Meter::new();
    watch(&meter.model("m"), "scheduler", Act::Tell(1.0));
    let other = meter.model("other one");
    other.sample();
    assert_eq!(waiting(&meter), ["m 1 1", "other one 0 0"]);
}

/// An error is the user's, and so may be what it says of itself.
#[test]
fn an_error_that_cannot_be_told() {
    #[derive(Debug)]
    struct Unspeakable;
    impl std::fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("as the test wants")
        }
    }
    impl std::error::Error for Unspeakable {}

    let meter = Meter::new().model("m");
    meter.watch("odd", |_: &mut Readings| Err(Unspeakable.into()));
    for _ in 0..2 {
        meter.sample();
        assert_eq!(status(&meter), (Some(false), None, Some("it panicked".to_owned())));
    }
}

/// What a source leaves behind may ask the meter.
#[test]
fn a_source_that_makes_room_is_dropped_without_a_lock() {
    struct Last(Meter, mpsc::Sender<usize>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.1.send(self.0.sources().len()).unwrap();
        }
    }

    let meter = Meter::new();
    let (sender, dropped) = mpsc::channel();
    let last = Last(meter.clone(), sender);
    meter.watch("odd", move |_: &mut Readings| {
        let _ = &last;
        Ok(())
    });
    std::thread::spawn(move || meter.watch("odd", |_: &mut Readings| Ok(())));
    assert_eq!(dropped.recv_timeout(SECOND * 10), Ok(1));
}
