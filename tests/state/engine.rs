//! The handle of an engine: every family it tells, and what it does not.

use infermeter::{
    Meter,
    engine::{Engine, EngineState, KvUsage, Lora},
    names::{self, CATALOGUE, Family},
    record::Collect,
};

use super::support::*;

const KV: KvUsage =
    KvUsage { used_blocks: 90, total_blocks: 100, block_size: 16, tokens: Some(720) };

/// The families that are there beside those of a meter that nobody tells anything.
fn told(meter: &Meter) -> Vec<&'static str> {
    let bare = Meter::new().model("m").collect();
    let readings = meter.collect();
    let is_new = |family: &&&'static Family| {
        bare.series(family).is_empty() && !readings.series(family).is_empty()
    };
    CATALOGUE.iter().filter(is_new).map(|family| family.name).collect()
}

#[test]
fn every_family_with_its_labels_and_values() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("3");
    assert_eq!(told(&meter), [""; 0], "nothing was told yet");
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 0 0"]);

    engine.kv(KV);
    engine.waiting(5);
    engine.running(6);
    engine.running_limit(8);
    engine.iteration(512);
    engine.iteration(30);
    engine.preempted(2);
    engine.preempted(1);
    engine.prefix_cache(100, 60);
    engine.prefix_cache(10, 0);
    let expected = [
        (&names::ITERATION_TOKENS_TOTAL, "m 2 542"),
        (&names::NUM_REQUESTS_WAITING, "m 3 5"),
        (&names::NUM_REQUESTS_RUNNING, "m 3 6"),
        (&names::GPU_CACHE_USAGE_RATIO, "m 3 0.45"),
        (&names::KV_CACHE_USAGE_PERC, "m 3 0.9"),
        (&names::NUM_BLOCKS_USED, "m 3 90"),
        (&names::NUM_BLOCKS_TOTAL, "m 3 100"),
        (&names::CACHE_CONFIG_INFO, "m 3 16 100 1"),
        (&names::NUM_PREEMPTIONS_TOTAL, "m 3 3"),
        (&names::PREFIX_CACHE_QUERIES_TOTAL, "m 3 110"),
        (&names::PREFIX_CACHE_HITS_TOTAL, "m 3 60"),
        (&names::RUNNING_LIMIT, "m 3 8"),
        (&names::KV_TOKENS_HELD, "m 3 720"),
    ];
    for (family, series) in expected {
        assert_eq!(shown(&meter, family), [series], "{}", family.name);
    }
    let always = ["num_requests_waiting", "num_requests_running"];
    let names = expected.map(|(family, _)| family.name);
    let names: Vec<&str> = names.into_iter().filter(|name| !always.contains(name)).collect();
    assert_eq!(told(&meter), names);
    assert_eq!(dropped(&meter), [""; 0]);
}

#[test]
fn of_each_call_only_what_it_tells() {
    type Call = fn(&Engine);
    let calls: [(Call, &[&str]); 6] = [
        (|engine| engine.waiting(0), &[]),
        (|engine| engine.running_limit(0), &["infermeter_running_limit"]),
        (|engine| engine.preempted(0), &["num_preemptions_total"]),
        (
            |engine| engine.prefix_cache(0, 0),
            &["prefix_cache_queries_total", "prefix_cache_hits_total"],
        ),
        (|engine| engine.lora(Lora::default()), &["lora_requests_info"]),
        (
            |engine| engine.kv(KvUsage { tokens: None, ..KV }),
            &[
                "gpu_cache_usage_ratio",
                "kv_cache_usage_perc",
                "num_blocks_used",
                "num_blocks_total",
                "cache_config_info",
            ],
        ),
    ];
    for (call, families) in calls {
        let meter = Meter::new().model("m");
        let engine = meter.engine("0");
        call(&engine);
        assert_eq!(told(&meter), families);
    }
}

#[test]
fn the_ratio_is_that_of_tokens_where_they_are_told() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("0");
    let ratios = |kv| {
        engine.kv(kv);
        [&names::GPU_CACHE_USAGE_RATIO, &names::KV_CACHE_USAGE_PERC]
            .map(|family| gauge(&meter, family))
    };
    // Nearly every block is in use, and half of their slots are empty.
    assert_eq!(ratios(KV), [Some(0.45), Some(0.9)]);
    assert_eq!(ratios(KvUsage { tokens: None, ..KV }), [Some(0.9), Some(0.9)]);
    assert_eq!(shown(&meter, &names::KV_TOKENS_HELD), [""; 0], "it was told no more");
    assert_eq!(ratios(KvUsage { tokens: Some(0), ..KV }), [Some(0.0), Some(0.9)]);
    assert_eq!(ratios(KvUsage { tokens: Some(90 * 16), ..KV }), [Some(0.9), Some(0.9)]);
    let full = KvUsage { used_blocks: 100, tokens: Some(1600), ..KV };
    assert_eq!(ratios(full), [Some(1.0), Some(1.0)]);
    let empty = KvUsage { used_blocks: 0, tokens: Some(0), ..KV };
    assert_eq!(ratios(empty), [Some(0.0), Some(0.0)]);
    // Of no blocks nothing is a part.
    assert_eq!(ratios(KvUsage::default()), [None, None]);
    assert_eq!(shown(&meter, &names::NUM_BLOCKS_TOTAL), ["m 0 0"]);
    assert_eq!(dropped(&meter), [""; 0]);
}

#[test]
fn fragmentation_can_be_computed_as_the_docs_say() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("0");
    engine.kv(KV);
    let value = |family| gauge(&meter, family).unwrap();
    let slots = value(&names::NUM_BLOCKS_USED) * 16.0;
    assert_eq!(1.0 - value(&names::KV_TOKENS_HELD) / slots, 0.5);
}

#[test]
fn a_usage_that_cannot_be_is_dropped_and_the_old_one_gone() {
    let more_blocks = KvUsage { used_blocks: 101, ..KV };
    let more_tokens = KvUsage { tokens: Some(90 * 16 + 1), ..KV };
    let no_slots = KvUsage { block_size: 0, tokens: Some(1), ..KV };
    for impossible in [more_blocks, more_tokens, no_slots] {
        let meter = Meter::new().model("m");
        let engine = meter.engine("0");
        engine.waiting(2);
        engine.kv(KV);
        engine.kv(impossible);
        assert_eq!(dropped(&meter), ["invalid 1"]);
        assert_eq!(told(&meter), [""; 0]);
        assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 0 2"]);

        engine.tell(EngineState { kv: Some(impossible), running: Some(1), ..Default::default() });
        assert_eq!(dropped(&meter), ["invalid 2"]);
        assert_eq!(told(&meter), [""; 0]);
        assert_eq!(shown(&meter, &names::NUM_REQUESTS_RUNNING), ["m 0 1"]);
        engine.kv(KV);
        assert_eq!(shown(&meter, &names::NUM_BLOCKS_USED), ["m 0 90"]);
    }
}

#[test]
fn ranks_stand_side_by_side_and_one_rank_is_one() {
    let meter = Meter::new().model("m");
    let (zero, one, again) = (meter.engine("0"), meter.engine("1"), meter.model("m").engine("1"));
    zero.kv(KV);
    one.kv(KvUsage { used_blocks: 1, tokens: None, ..KV });
    one.preempted(1);
    again.preempted(1);
    again.waiting(7);
    zero.iteration(10);
    one.iteration(20);
    again.iteration(3);
    assert_eq!(shown(&meter, &names::NUM_BLOCKS_USED), ["m 0 90", "m 1 1"]);
    assert_eq!(shown(&meter, &names::KV_TOKENS_HELD), ["m 0 720"]);
    assert_eq!(shown(&meter, &names::NUM_PREEMPTIONS_TOTAL), ["m 1 2"]);
    assert_eq!(shown(&meter, &names::NUM_REQUESTS_WAITING), ["m 1 7"]);
    // The steps of a model's engines are one histogram.
    assert_eq!(shown(&meter, &names::ITERATION_TOKENS_TOTAL), ["m 3 33"]);
    assert_eq!(dropped(&meter), [""; 0]);

    let other = meter.model("n").engine("0");
    other.kv(KvUsage { used_blocks: 3, tokens: None, ..KV });
    other.iteration(5);
    assert_eq!(shown(&meter, &names::NUM_BLOCKS_USED), ["m 0 90", "m 1 1", "n 0 3"]);
    assert_eq!(shown(&meter, &names::ITERATION_TOKENS_TOTAL), ["m 3 33", "n 1 5"]);
}

#[test]
fn adapters_that_changed_leave_nothing_behind() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("0");
    let lora = |running: &[&str], waiting: &[&str]| {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        engine.lora(Lora { max: 4, running: names(running), waiting: names(waiting) });
        let series = shown(&meter, &names::LORA_REQUESTS_INFO);
        let [ref series] = series[..] else { panic!("{series:?}") };
        let (labels, time) = series.rsplit_once(' ').unwrap();
        (labels.to_owned(), time.parse::<f64>().unwrap())
    };
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs_f64()
    };
    let before = now();
    let (labels, first) = lora(&["b", "a"], &["c"]);
    assert_eq!(labels, "m 0 4 a,b c");
    assert!((before..=now()).contains(&first), "{first}");
    assert_eq!(lora(&["b", "a"], &["c"]).1, first, "nothing has changed");
    assert_eq!(lora(&["a", "b"], &["c"]).1, first, "nor by another order");
    while now() <= first {}
    let (labels, second) = lora(&["a", "b", "c"], &[]);
    assert_eq!(labels, "m 0 4 a,b,c ");
    assert!(second > first);

    // Told with all the rest, it is the same set still.
    let names = ["c", "b", "a"].map(str::to_owned).to_vec();
    let lora = Lora { max: 4, running: names, waiting: Vec::new() };
    engine.tell(EngineState { lora: Some(lora), ..EngineState::default() });
    assert_eq!(shown(&meter, &names::LORA_REQUESTS_INFO), [format!("{labels} {second}")]);
    engine.tell(EngineState::default());
    assert_eq!(shown(&meter, &names::LORA_REQUESTS_INFO), [""; 0]);
}
