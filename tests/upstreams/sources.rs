//! Sources and engines of several upstreams.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use infermeter::{
    Meter,
    engine::{EngineState, KvUsage},
    names,
    record::{Readings, Value},
};

use super::{lines, page_of};

/// Tells how many requests wait for a model, and how much memory its process has.
fn tells(waiting: f64) -> impl Fn(&mut Readings) -> Result<(), infermeter::record::SourceError> {
    move |out| {
        let labels = ["m".into(), "0".into()];
        out.push(&names::NUM_REQUESTS_WAITING, labels, Value::Gauge(waiting));
        out.push(&names::PROCESS_RESIDENT_MEMORY_BYTES, [], Value::Gauge(waiting * 100.0));
        Ok(())
    }
}

#[test]
fn each_tells_under_the_labels_of_its_upstream() {
    let meter = Meter::new();
    let a = meter.upstream("a", Some("x")).model("m");
    let b = meter.upstream("b", None).model("m");
    let c = meter.upstream("c", None).model("m");
    a.watch("engine", tells(1.0));
    b.watch("engine", tells(2.0));
    meter.watch("process", |out: &mut Readings| {
        out.push(&names::PROCESS_RESIDENT_MEMORY_BYTES, [], Value::Gauge(7.0));
        Ok(())
    });
    let page = page_of(&c);
    assert_eq!(
        lines(&page, "vllm:num_requests_waiting"),
        [
            // Ours, of those that do not tell.
            r#"vllm:num_requests_waiting{model_name="m",engine="0",upstream="c",variant="none"} 0.0"#,
            r#"vllm:num_requests_waiting{model_name="m",engine="0",upstream="a",variant="x"} 1.0"#,
            r#"vllm:num_requests_waiting{model_name="m",engine="0",upstream="b",variant="none"} 2.0"#,
        ]
    );
    assert_eq!(
        lines(&page, "process_resident_memory_bytes"),
        [
            r#"process_resident_memory_bytes{upstream="a",variant="x"} 100.0"#,
            r#"process_resident_memory_bytes{upstream="b",variant="none"} 200.0"#,
            r#"process_resident_memory_bytes 7.0"#,
        ]
    );
    assert_eq!(
        lines(&page, "infermeter_source_up"),
        [
            r#"infermeter_source_up{source="engine:a"} 1.0"#,
            r#"infermeter_source_up{source="engine:b"} 1.0"#,
            r#"infermeter_source_up{source="process"} 1.0"#,
        ]
    );
    let duplicates = r#"infermeter_observations_dropped_total{reason="duplicate"} 0"#;
    assert!(page.contains(duplicates), "{page}");
}

/// Two series of one source would be one series twice.
#[test]
fn no_source_is_called_as_that_of_an_upstream_is() {
    let meter = Meter::new();
    meter.upstream("a", None).watch("engine", tells(1.0));
    meter.watch("engine:a", tells(2.0));
    assert_eq!(
        lines(&page_of(&meter), "infermeter_source_up"),
        [
            r#"infermeter_source_up{source="engine:a"} 1.0"#,
            r#"infermeter_source_up{source="engine:a:none"} 1.0"#,
        ]
    );
}

#[test]
fn one_that_fails_takes_its_own_series_only() {
    let meter = Meter::new();
    let fails = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&fails);
    meter.upstream("a", None).watch("engine", move |out: &mut Readings| {
        if asked.load(Relaxed) { Err("gone".into()) } else { tells(1.0)(out) }
    });
    meter.upstream("b", None).watch("engine", tells(2.0));
    assert_eq!(lines(&page_of(&meter), "process_resident").len(), 2);
    fails.store(true, Relaxed);
    let page = page_of(&meter);
    assert_eq!(
        lines(&page, "process_resident"),
        [r#"process_resident_memory_bytes{upstream="b",variant="none"} 200.0"#]
    );
    assert!(page.contains(r#"infermeter_source_up{source="engine:a"} 0.0"#), "{page}");
}

#[test]
fn sources_of_one_upstream_still_tell_a_series_once() {
    let meter = Meter::new();
    let a = meter.upstream("a", None);
    a.watch("one", tells(1.0));
    a.watch("two", tells(2.0));
    let page = page_of(&meter);
    assert_eq!(
        lines(&page, "process_resident"),
        [r#"process_resident_memory_bytes{upstream="a",variant="none"} 100.0"#]
    );
    let duplicates = r#"infermeter_observations_dropped_total{reason="duplicate"} "#;
    assert!(!page.contains(&format!("{duplicates}0\n")), "{page}");
}

#[test]
fn names_of_sources_are_never_the_same() {
    let meter = Meter::new();
    for variant in ["x", "y", "y"] {
        meter.upstream("a", Some(variant)).watch("engine", tells(1.0));
    }
    let names = meter.sources().into_iter().map(|source| source.name.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["engine:a", "engine:a:y"]);
}

#[test]
fn engines_of_two_upstreams_are_two() {
    let meter = Meter::new();
    let [a, b] = ["a", "b"].map(|name| meter.upstream(name, None).model("m"));
    let engine = a.engine("0");
    engine.kv(KvUsage { used_blocks: 1, total_blocks: 4, block_size: 16, tokens: None });
    engine.running(3);
    let told = b.engine("0");
    told.running(5);
    b.engine("1").watch("rank", || Ok(EngineState { running: Some(6), ..EngineState::default() }));
    let page = page_of(&meter);
    assert_eq!(
        lines(&page, "vllm:num_requests_running"),
        [
            r#"vllm:num_requests_running{model_name="m",engine="0",upstream="a",variant="none"} 3.0"#,
            r#"vllm:num_requests_running{model_name="m",engine="0",upstream="b",variant="none"} 5.0"#,
            r#"vllm:num_requests_running{model_name="m",engine="1",upstream="b",variant="none"} 6.0"#,
        ]
    );
    let blocks =
        r#"vllm:num_blocks_total{model_name="m",engine="0",upstream="a",variant="none"} 4.0"#;
    assert_eq!(lines(&page, "vllm:num_blocks_total"), [blocks]);
}
