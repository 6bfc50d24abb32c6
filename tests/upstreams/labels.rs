//! Which series carry the labels, and what becomes of static ones of their names.

use infermeter::{AdmissionLayer, InferenceLayer, Meter, exporter::Prometheus, names::Naming};

use super::{lines, page_of, support::scrape::Scrape};

#[test]
fn every_family_with_a_model_carries_both() {
    let meter = Meter::new().model("m");
    drop(meter.upstream("a", Some("x")).model("m"));
    drop(meter.upstream("b", None).model("m"));
    let page = page_of(&meter);
    assert_eq!(
        lines(&page, "vllm:request_total"),
        [
            r#"vllm:request_total{model_name="m",upstream="a",variant="x"} 0"#,
            r#"vllm:request_total{model_name="m",upstream="b",variant="none"} 0"#,
        ]
    );
    let with_model = page.lines().filter(|line| line.contains("model_name=\"m\""));
    assert!(with_model.clone().count() > 500);
    for line in with_model {
        assert_eq!(line.matches("upstream=").count(), 1, "{line}");
        assert_eq!(line.matches("variant=").count(), 1, "{line}");
    }
    for name in ["infermeter_build_info", "infermeter_unread_bodies_total", "infermeter_series"] {
        assert!(!lines(&page, name).is_empty(), "{name}");
        assert!(lines(&page, name).iter().all(|line| !line.contains("upstream")), "{page}");
    }
    // Each line once.
    let _ = Scrape::parse(&page).series();
    let overflow = r#"infermeter_label_overflow_total{label="upstream"} 0"#;
    assert!(page.contains(overflow), "{page}");
}

#[test]
fn without_upstreams_nobody_hears_of_them() {
    let meter = Meter::new().model("m");
    let page = page_of(&meter);
    assert!(!page.contains("upstream=") && !page.contains("variant="), "{page}");
    assert!(!page.contains("label=\"upstream\""), "{page}");
}

#[test]
fn a_static_label_makes_room() {
    let meter = Meter::builder().label("variant", "ours").label("zone", "z").build().unwrap();
    assert_eq!(
        meter.has_room_for_upstreams().unwrap_err().to_string(),
        "the static label \"variant\" cannot be beside several upstreams, which have a label of \
         that name; allowed is any name but upstream and variant"
    );
    drop(meter.upstream("a", Some("x")).model("m"));
    let page = page_of(&meter);
    let total = r#"vllm:request_total{model_name="m",upstream="a",variant="x",zone="z"} 0"#;
    assert_eq!(lines(&page, "vllm:request_total"), [total]);
    let unread = r#"infermeter_unread_bodies_total{reason="compressed",variant="ours",zone="z"} 0"#;
    assert!(page.contains(unread), "{page}");
    assert!(Meter::builder().label("zone", "z").build().unwrap().has_room_for_upstreams().is_ok());
}

#[test]
fn values_are_any_text() {
    let meter = Meter::new();
    drop(meter.upstream("a \"1\"\n", Some("\\")).model("m"));
    let exporter = Prometheus::builder().meter(meter).naming(Naming::neutral()).build().unwrap();
    let total = r#"llm_request_total{model_name="m",upstream="a \"1\"\n",variant="\\"} 0"#;
    assert_eq!(lines(&exporter.render(), "llm_request_total"), [total]);
}

#[test]
fn each_upstream_has_its_own_cap() {
    let meter = Meter::builder().max_models(1).build().unwrap();
    let [a, b] = ["a", "b"].map(|name| meter.upstream(name, None));
    for model in ["m", "n", "o"] {
        drop((a.model(model), b.model(model)));
    }
    let scrape = Scrape::of(&meter);
    assert_eq!(
        scrape.series().keys().filter(|key| key.starts_with("vllm:request_total")).count(),
        4
    );
    assert_eq!(scrape.values("vllm:request_total", "model_name"), ["m", "other"]);
    let overflow = [("label", "model_name")];
    assert_eq!(scrape.sum("infermeter_label_overflow_total", &overflow), 4);
}

#[test]
fn beyond_the_cap_an_upstream_is_other() {
    let meter = Meter::new();
    for n in 0..70 {
        drop(meter.upstream(&n.to_string(), Some("v")).model("m"));
    }
    let scrape = Scrape::of(&meter);
    let upstreams = scrape.values("vllm:request_total", "upstream");
    assert_eq!((upstreams.len(), upstreams.last()), (63, Some(&"other")));
    let overflow = [("label", "upstream")];
    assert_eq!(scrape.sum("infermeter_label_overflow_total", &overflow), 8);
}

#[test]
fn what_belongs_to_no_upstream_is_there_once_something_is_counted() {
    let meter = Meter::new();
    drop(InferenceLayer::new(meter.clone()));
    drop(meter.upstream("a", None).model("m"));
    assert_eq!(Scrape::of(&meter).values("vllm:request_total", "upstream"), ["a"]);
    // Requests wait for it before they are routed.
    drop(AdmissionLayer::new(&meter, 4));
    let page = page_of(&meter);
    let limit = r#"infermeter_running_limit{model_name="default",engine="0",upstream="none",variant="none"} 4.0"#;
    assert_eq!(lines(&page, "infermeter_running_limit"), [limit]);
    let waits = r#"infermeter_admission_wait_seconds_count{model_name="default",upstream="none",variant="none"} 0"#;
    assert!(page.contains(waits), "{page}");
}
