//! Engines that stop telling, that are asked, that tell while scrapes run.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use http::{Request, Response};
use infermeter::{
    InferenceLayer, Meter,
    engine::{Engine, EngineState, KvUsage, Lora},
    names,
    record::{Collect, Value},
};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

const KV: KvUsage =
    KvUsage { used_blocks: 90, total_blocks: 100, block_size: 16, tokens: Some(720) };

fn everything() -> EngineState {
    EngineState {
        kv: Some(KV),
        waiting: Some(1),
        running: Some(2),
        running_limit: Some(3),
        lora: Some(Lora::default()),
        preemptions: Some(4),
        prefix_cache_queries: Some(5),
        prefix_cache_hits: Some(6),
    }
}

/// How many series an engine has here.
fn series_of(meter: &Meter, engine: &str) -> usize {
    let readings = meter.collect();
    let families = readings.families.iter().filter(|of| of.family.labels.contains(&"engine"));
    let series = families.flat_map(|of| &of.series);
    series.filter(|series| &*series.labels[1] == engine).count()
}

#[test]
fn with_the_last_handle_its_series_vanish() {
    let meter = Meter::new().model("m");
    let (first, second) = (meter.engine("7"), meter.engine("7"));
    let clone = first.clone();
    first.tell(everything());
    assert_eq!(series_of(&meter, "7"), 13);
    drop(first);
    drop(second);
    assert_eq!(series_of(&meter, "7"), 13, "one is left");
    drop(clone);
    assert_eq!(series_of(&meter, "7"), 0);
    let engine = meter.engine("7");
    assert_eq!(series_of(&meter, "7"), 0, "a new one knows nothing of it");
    engine.waiting(9);
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 7 9"]);
}

#[test]
fn cleared_it_has_only_what_was_counted() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("7");
    engine.tell(everything());
    engine.iteration(8);
    engine.clear();
    assert_eq!(series_of(&meter, "7"), 3);
    assert_eq!(shown(&meter, &names::NUM_PREEMPTIONS_TOTAL), ["m 7 4"]);
    assert_eq!(shown(&meter, &names::PREFIX_CACHE_QUERIES_TOTAL), ["m 7 5"]);
    assert_eq!(shown(&meter, &names::PREFIX_CACHE_HITS_TOTAL), ["m 7 6"]);
    assert_eq!(shown(&meter, &names::ITERATION_TOKENS_TOTAL), ["m 1 8"]);
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 0 0"], "ours are back");
    engine.preempted(1);
    assert_eq!(shown(&meter, &names::NUM_PREEMPTIONS_TOTAL), ["m 7 5"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_tells_replaces_ours_for_its_model_only() {
    let meter = Meter::new();
    let [a, b] = ["a", "b"].map(|model| meter.model(model));
    // One request runs, of each model.
    for model in [&a, &b] {
        let service =
            InferenceLayer::new(model.clone()).layer(service_fn(async |_: Request<()>| {
                sleep(SECOND * 1000).await;
                Ok::<_, std::convert::Infallible>(Response::new(String::new()))
            }));
        let request = Request::post("/v1/completions").body(()).unwrap();
        tokio::spawn(service.oneshot(request));
    }
    sleep(SECOND).await;
    let running = || shown(&meter, &names::NUM_REQUESTS_RUNNING);
    let waiting = || shown(&meter, &names::NUM_REQUESTS_WAITING);
    assert_eq!(running(), ["a 0 1", "b 0 1"]);
    assert_eq!(waiting(), ["a 0 0", "b 0 0"]);

    let engine = a.engine("4");
    engine.running(20);
    assert_eq!(running(), ["a 4 20", "b 0 1"]);
    assert_eq!(waiting(), ["a 0 0", "b 0 0"], "of this it has told nothing");
    engine.waiting(30);
    assert_eq!(waiting(), ["a 4 30", "b 0 0"]);
    // The gauge of the identity is ours whatever an engine tells.
    let in_flight = shown(&meter, &names::REQUESTS_IN_FLIGHT);
    assert!(in_flight.contains(&"a prefill 1".to_owned()), "{in_flight:?}");
    assert!(in_flight.contains(&"b prefill 1".to_owned()), "{in_flight:?}");
    drop(engine);
    assert_eq!(running(), ["a 0 1", "b 0 1"]);
    assert_eq!(waiting(), ["a 0 0", "b 0 0"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_asked() {
    let meter = Meter::new().model("m");
    let answer = Script::new(Some(everything()));
    let asked = answer.clone();
    meter.engine("7").watch("engine_7", move || Ok(asked.now().ok_or("it is \"down\"")?));
    assert_eq!(series_of(&meter, "7"), 0);
    meter.sample();
    assert_eq!(series_of(&meter, "7"), 13);
    assert_eq!(shown(&meter, &names::GPU_CACHE_USAGE_RATIO), ["m 7 0.45"]);
    assert_eq!(shown(&meter, &names::NUM_PREEMPTIONS_TOTAL), ["m 7 4"]);
    let lora = shown(&meter, &names::LORA_REQUESTS_INFO);
    assert_eq!(meter.sources()[0].up, Some(true));

    answer.set(None);
    meter.sample();
    assert_eq!(series_of(&meter, "7"), 0);
    assert_eq!(meter.sources()[0].error.as_deref(), Some("it is \"down\""));
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_RUNNING), ["m 0 0"]);

    answer.set(Some(everything()));
    meter.sample();
    assert_eq!(shown(&meter, &names::LORA_REQUESTS_INFO), lora, "the adapters are the same");

    let waiting = EngineState { waiting: Some(2), ..EngineState::default() };
    answer.set(Some(waiting));
    meter.sample();
    assert_eq!(series_of(&meter, "7"), 1, "what is None vanishes");

    let impossible = KvUsage { used_blocks: 101, ..KV };
    answer.set(Some(EngineState { kv: Some(impossible), ..everything() }));
    meter.sample();
    assert_eq!(series_of(&meter, "7"), 0);
    let status = meter.sources();
    assert_eq!(status[0].up, Some(false));
    assert_eq!(status[0].error.as_deref(), Some("more is in use than there is"));
}

#[test]
fn a_handle_goes_before_an_answer_of_the_same_rank() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("0");
    engine.watch("engine_0", || Ok(EngineState { waiting: Some(1), ..EngineState::default() }));
    engine.waiting(2);
    meter.sample();
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 0 2"]);
    let [ref duplicates] = dropped(&meter)[..] else { panic!("{:?}", dropped(&meter)) };
    assert!(duplicates.starts_with("duplicate "));
    drop(engine);
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 0 1"]);
}

#[test]
fn many_threads_tell_while_scrapes_run() {
    const THREADS: u64 = 4;
    const STEPS: u64 = 2000;

    let meter = Meter::new().model("m");
    let engine = meter.engine("0");
    engine.kv(KvUsage { used_blocks: 0, tokens: Some(0), ..KV });
    engine.preempted(0);
    let tell = |engine: Engine, thread: u64| {
        for step in 0..STEPS {
            let used_blocks = (step * 7 + thread) % 101;
            engine.kv(KvUsage { used_blocks, tokens: Some(used_blocks * 16), ..KV });
            engine.preempted(1);
            engine.prefix_cache(3, 2);
            engine.iteration(2);
            // Handles come and go.
            drop(meter.engine("0"));
            meter.engine("9").waiting(1);
        }
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraping = scope.spawn(|| {
            let (mut before, mut scrapes) = (0.0, 0);
            while !done.load(Relaxed) {
                let readings = meter.collect();
                let value = |family| match readings.series(family) {
                    [series] => match series.value {
                        Value::Gauge(value) => value,
                        Value::Counter(n) => n as f64,
                        ref other => panic!("{other:?}"),
                    },
                    other => panic!("{other:?}"),
                };
                // What was told at once is seen at once.
                let used = value(&names::NUM_BLOCKS_USED);
                assert_eq!(value(&names::KV_TOKENS_HELD), used * 16.0);
                assert_eq!(value(&names::KV_CACHE_USAGE_PERC), used / 100.0);
                assert!((value(&names::GPU_CACHE_USAGE_RATIO) - used / 100.0).abs() < 1e-9);
                let now = value(&names::NUM_PREEMPTIONS_TOTAL);
                assert!(now >= before, "{now} {before}");
                (before, scrapes) = (now, scrapes + 1);
            }
            scrapes
        });
        let telling: Vec<_> = (0..THREADS)
            .map(|i| {
                scope.spawn({
                    let (tell, engine) = (&tell, engine.clone());
                    move || tell(engine, i)
                })
            })
            .collect();
        for thread in telling {
            thread.join().unwrap();
        }
        done.store(true, Relaxed);
        assert!(scraping.join().unwrap() > 10);
    });
    let steps = THREADS * STEPS;
    assert_eq!(shown(&meter, &names::NUM_PREEMPTIONS_TOTAL), [format!("m 0 {steps}")]);
    assert_eq!(shown(&meter, &names::PREFIX_CACHE_HITS_TOTAL), [format!("m 0 {}", 2 * steps)]);
    let iterations = [format!("m {steps} {}", 2 * steps)];
    assert_eq!(shown(&meter, &names::ITERATION_TOKENS_TOTAL), iterations);
    assert_eq!(dropped(&meter), [""; 0]);
}
