//! When it pushes, and that nothing is lost or doubled from one push to the next.

use std::time::Duration;

use infermeter::{
    Meter,
    engine::KvUsage,
    exporter::{Bridge, Prometheus},
    names::{self, Naming},
    record::{Collect, Readings, Value},
};
use proptest::prelude::*;

use crate::{
    pages::{assert_same, assert_same_but_for_sums, has_line, stock},
    visits::{Visit, visit, visits},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_stock_exporter_says_what_our_own_says(
        all in prop::collection::vec(Visit::any(), 1..40),
        push_every in 1..10_usize,
    ) {
        let meter = Meter::builder().label("zone", "a b").build().unwrap().model("m");
        let own = Prometheus::builder().process(false).meter(meter.clone()).build().unwrap();
        let (recorder, stock) = stock(&Naming::vllm());
        let bridge = Bridge::to(recorder).build();
        meter.attach(&bridge);
        let engine = meter.engine("0");
        meter.watch("process", |out: &mut Readings| {
            out.push(&names::PROCESS_CPU_SECONDS_TOTAL, [], Value::FloatCounter(2.75));
            Ok(())
        });
        // Each of the exporters asks it, but only one at a time.
        while meter.sources().iter().any(|source| source.up.is_none()) {
            meter.sample();
        }
        for some in all.chunks(push_every) {
            visits(some, &meter);
            engine.iteration(some[0].prompt_tokens);
            engine.preempted(1);
            let used_blocks = some.len() as u64;
            engine.kv(KvUsage { used_blocks, total_blocks: 50, block_size: 16, tokens: None });
            bridge.push();
            assert_same(&own.render(), &stock.render());
        }
    }
}

#[test]
fn the_thread_pushes_at_once_and_at_the_end() {
    let (recorder, page) = stock(&Naming::neutral());
    let meter = Meter::new().model("m");
    let hour = Duration::from_secs(3600);
    let bridge = Bridge::to(recorder).naming(Naming::neutral()).every(hour).start(&meter).unwrap();
    let total = "llm_request_total{model_name=\"m\"}";
    while !has_line(&page, &format!("{total} 0")) {
        std::thread::yield_now();
    }
    visit(&meter);
    bridge.shutdown();
    assert!(has_line(&page, &format!("{total} 1")));
}

#[test]
fn the_thread_pushes_again_and_again() {
    let (recorder, page) = stock(&Naming::vllm());
    let meter = Meter::new().model("m");
    let _bridge = Bridge::to(recorder).every(Duration::ZERO).start(&meter).unwrap();
    for n in 1..4 {
        visit(&meter);
        while !has_line(&page, &format!("vllm:request_total{{model_name=\"m\"}} {n}")) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_bridges_on_one_meter() {
    let (first, first_page) = stock(&Naming::vllm());
    let (second, second_page) = stock(&Naming::vllm());
    let meter = Meter::new().model("m");
    let [first, second] = [first, second].map(|recorder| Bridge::to(recorder).build());
    meter.attach(&first);
    meter.attach(&second);
    for _ in 0..3 {
        visit(&meter);
        first.push();
    }
    second.push();
    let [first, second] = [first_page, second_page].map(|page| page.render());
    assert_same(&first, &second);
    assert_same(
        &Prometheus::builder().process(false).meter(meter).build().unwrap().render(),
        &second,
    );
}

#[test]
fn a_push_samples_the_sources() {
    let (recorder, page) = stock(&Naming::vllm());
    let (meter, bridge) = (Meter::new(), Bridge::to(recorder).build());
    meter.attach(&bridge);
    for threads in 1..3_u8 {
        meter.watch("process", move |out: &mut Readings| {
            out.push(&names::PROCESS_THREADS, [], Value::Gauge(f64::from(threads)));
            Ok(())
        });
        bridge.push();
        assert!(has_line(&page, &format!("process_threads {threads}")));
    }
}

#[test]
fn without_a_meter_there_is_nothing_to_push() {
    let (recorder, page) = stock(&Naming::vllm());
    Bridge::to(recorder).build().push();
    assert_eq!(page.render(), "");
}

/// While it is recorded to, a reading may hold the count of an observation without its sum. In the
/// last one that was so, nothing came after it that could make up for it.
#[test]
fn pushed_in_a_storm() {
    let (recorder, page) = stock(&Naming::vllm());
    let meter = Meter::new().model("m");
    let bridge = Bridge::to(recorder).every(Duration::ZERO).start(&meter).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..300).for_each(|_| visit(&meter)));
        }
    });
    bridge.shutdown();
    let own = Prometheus::builder().process(false).meter(meter).build().unwrap();
    assert_same_but_for_sums(&own.render(), &page.render(), 0.01);
}
