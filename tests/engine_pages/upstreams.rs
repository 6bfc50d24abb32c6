//! Several engines, each the source of an upstream of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use infermeter::{InferenceLayer, Meter, exporter::Prometheus, names::Naming, record::Collect};

use super::server::{Server, lines, render, watched};

/// Families of a page: its kind, and the values of its samples without the labels of upstreams.
fn families(page: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut families = BTreeMap::new();
    let mut name = "";
    for line in page.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (family, kind) = head.split_once(' ').unwrap();
            let before = families.insert(family.to_owned(), (kind.to_owned(), Vec::new()));
            assert!(before.is_none(), "{family} is there twice");
            name = family;
        } else if !line.starts_with('#') && !line.is_empty() {
            families.get_mut(name).unwrap().1.push(line.to_owned());
        }
    }
    families
}

/// As a sample of a page that is passed on unchanged stands on ours.
fn labelled(sample: &str, upstream: &str) -> String {
    let (series, value) = sample.rsplit_once(' ').unwrap();
    let labels = format!("upstream=\"{upstream}\",variant=\"none\"");
    match series.strip_suffix('}') {
        Some(series) => format!("{series},{labels}}} {value}"),
        None => format!("{series}{{{labels}}} {value}"),
    }
}

#[tokio::test]
async fn recorded_pages_of_two_are_one() {
    let meter = Meter::new();
    let engines = [("old", "vllm-0.8"), ("new", "vllm-0.32")];
    let mut watches = Vec::new();
    for (upstream, folder) in engines {
        let engine = Server::of(folder).engine().merge(true);
        watches.push(watched(engine, &meter.upstream(upstream, None)).await);
    }
    // Names of ours are others, so that all of theirs pass.
    let page = render(Prometheus::builder().meter(meter).naming(Naming::neutral()));
    let families = families(&page);

    let mut once = HashSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.rsplit_once(' ').unwrap().0;
        assert!(once.insert(series), "{series} is there twice");
    }
    let mut shared: HashMap<String, usize> = HashMap::new();
    for (upstream, folder) in engines {
        let server = Server::of(folder);
        let alone = Meter::new();
        let _watch = watched(server.engine().merge(true), &alone).await;
        let alone = render(Prometheus::builder().meter(alone).naming(Naming::neutral()));
        for (family, (kind, samples)) in self::families(&alone) {
            // Those of ours have other labels in other places.
            if ["infermeter_", "llm_"].iter().any(|ours| family.starts_with(ours)) {
                continue;
            }
            *shared.entry(family.clone()).or_default() += 1;
            let (joined_kind, joined) = &families[&family];
            assert_eq!(*joined_kind, kind, "{family}");
            for sample in samples {
                let sample = labelled(&sample, upstream);
                assert!(joined.contains(&sample), "{sample} is not in {joined:?}");
            }
        }
    }
    let in_both = shared.values().filter(|pages| **pages == 2).count();
    assert!(in_both > 10, "{in_both}");
    // Each its own process and state.
    assert_eq!(lines(&page, "process_resident_memory_bytes{").len(), 2);
    let states = lines(&page, "llm_num_requests_running{");
    assert!(states[0].contains(r#"upstream="old",variant="none"}"#), "{states:?}");
    assert!(states[1].contains(r#"upstream="new",variant="none"}"#), "{states:?}");
    assert_eq!(states.len(), 2);
    let up = r#"infermeter_source_up{source="engine:new"} 1.0"#;
    assert!(page.contains(up), "{page}");
}

#[tokio::test]
async fn what_does_not_fit_is_left_out() {
    let [a, b] = [
        "# HELP x Of a.\n# TYPE x gauge\nx{upstream=\"theirs\",exported_upstream=\"e\"} 1\nx 2\n\
         # TYPE y counter\ny_total 1\n",
        "# HELP x Of b.\n# TYPE x gauge\nx 3\n# TYPE y gauge\ny_total 5\n# TYPE z gauge\nz 6\n",
    ]
    .map(|page| {
        let server = Server::start();
        server.page("/metrics", page);
        server
    });
    let meter = Meter::builder().label("zone", "z").label("variant", "ours").build().unwrap();
    let mut watches = Vec::new();
    for (upstream, server) in [("a", &a), ("b", &b)] {
        let upstream = meter.upstream(upstream, Some("v"));
        watches.push(watched(server.engine().merge(true), &upstream).await);
    }
    let page = render(Prometheus::builder().meter(meter));
    let theirs = concat!(
        "# HELP x Of a.\n# TYPE x gauge\n",
        "x{exported_exported_upstream=\"theirs\",exported_upstream=\"e\",",
        "upstream=\"a\",variant=\"v\",zone=\"z\"} 1\n",
        "x{upstream=\"a\",variant=\"v\",zone=\"z\"} 2\n",
        "x{upstream=\"b\",variant=\"v\",zone=\"z\"} 3\n",
    );
    assert!(page.contains(theirs), "{page}");
    assert_eq!(page.matches("# TYPE x ").count(), 1);
    // Of another kind than the first.
    assert!(!page.contains(" 5\n"), "{page}");
    assert_eq!(lines(&page, "z{"), [r#"z{upstream="b",variant="v",zone="z"} 6"#]);
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(page.contains(&format!("infermeter_series{{zone=\"z\",variant=\"ours\"}} {lines}.0")));
}

/// A page with a label twice on a line is refused as a whole.
#[tokio::test]
async fn what_makes_room_for_the_label_of_an_upstream_meets_no_label_of_ours() {
    let server = Server::start();
    server.page("/metrics", "# TYPE x gauge\nx{upstream=\"theirs\"} 1\n");
    let meter = Meter::builder().label("exported_upstream", "ours").build().unwrap();
    let _watch = watched(server.engine().merge(true), &meter.upstream("a", None)).await;
    let page = render(Prometheus::builder().meter(meter));
    let x = r#"x{exported_upstream="theirs",upstream="a",variant="none"} 1"#;
    assert_eq!(lines(&page, "x{"), [x]);
}

#[tokio::test]
async fn queue_times_are_told_by_one_and_recorded_for_the_other() {
    let meter = Meter::new();
    let upstream = |name: &str| meter.upstream(name, None).model("m");
    let [tells, not] = [upstream("tells"), upstream("not")];
    for upstream in [&meter, &tells, &not] {
        drop(InferenceLayer::new(upstream.clone()));
    }
    let server = Server::of("vllm-0.32");
    let _vllm = watched(server.engine(), &tells).await;
    let other = Server::start();
    other.page(
        "/metrics",
        "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 0\n",
    );
    let _llama = watched(other.engine(), &not).await;
    let page = render(Prometheus::builder().meter(meter.clone()));
    let counts = lines(&page, "vllm:time_in_queue_seconds_count{");
    let of = |upstream: &str| {
        let label = format!("upstream=\"{upstream}\"");
        let of = counts.iter().filter(|line| line.contains(&label));
        of.map(|line| line.rsplit_once(' ').unwrap().1).collect::<Vec<_>>()
    };
    assert_eq!(of("not"), ["0"], "{counts:?}");
    assert_eq!(of("none"), [""; 0], "{counts:?}");
    let [told] = of("tells")[..] else { panic!("{counts:?}") };
    assert_ne!(told, "0");
}

/// An engine counts its adapters, and its second names, under the name of its model: what waits and
/// runs would stand on the page twice beside what is seen from outside.
#[tokio::test]
async fn an_engine_that_names_one_model_tells_of_all_of_its_upstream() {
    let meter = Meter::new();
    for model in ["m", "adapter"] {
        drop(meter.upstream("tells", None).model(model));
        drop(meter.upstream("not", None).model(model));
    }
    let server = Server::start();
    server.page(
        "/metrics",
        "# TYPE vllm:num_requests_running gauge\n\
         vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 2.0\n",
    );
    let watch = watched(server.engine(), &meter.upstream("tells", None)).await;
    let told_by = |family: &str| {
        let page = render(Prometheus::builder().meter(meter.clone()));
        let lines = lines(&page, family).into_iter();
        lines.filter(|line| line.contains("\"tells\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    let engines = r#"vllm:num_requests_running{model_name="m",engine="0",upstream="tells",variant="none"} 2.0"#;
    assert_eq!(told_by("vllm:num_requests_running{"), [engines]);
    // What it does not tell is what is seen from outside, and so is all once it is gone.
    assert_eq!(told_by("vllm:num_requests_waiting{").len(), 2);
    drop(watch);
    meter.sample();
    assert_eq!(told_by("vllm:num_requests_running{").len(), 2);
    let page = render(Prometheus::builder().meter(meter.clone()));
    assert_eq!(page.matches("vllm:num_requests_running{").count(), 4, "{page}");
}
