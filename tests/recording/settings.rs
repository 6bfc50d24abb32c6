//! Labels, buckets, and what is there from the start.

use std::convert::Infallible;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, names,
    record::{Collect, MeterBuilder, Value},
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn the_model_label() {
    let meter = Meter::builder().max_models(2).build().unwrap();
    let named = meter.model("a");
    let by_header = |parts: &http::request::Parts| {
        let name = parts.headers.get("model")?.to_str().ok()?;
        assert_ne!(name, "panics");
        Some(name.to_owned())
    };
    let layer = InferenceLayer::new(named).model_from(by_header);
    let service = layer.layer(service_fn(async |request: Request<Empty<Bytes>>| {
        if let Some(said) = request.headers().get("says") {
            RequestMeter::of(&request).model(said.to_str().unwrap());
        }
        Ok::<_, Infallible>(events([(0, CONTENT), (0, DONE)]))
    }));
    for (header, value) in [
        ("x", "y"),
        ("model", "b"),
        ("model", "c"),
        ("model", "d"),
        ("model", "panics"),
        ("says", "b"),
    ] {
        let request = Request::post("/v1/completions").header(header, value);
        let response = service.clone().oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let totals = [("a", 2), ("b", 2), ("other", 2)];
    for (model, total) in totals {
        assert_eq!(with_label(&meter, &names::REQUEST_TOTAL, model), total, "{model}");
        assert_eq!(with_label(&meter, &names::GENERATION_TOKENS_TOTAL, model), total, "{model}");
    }
    assert_eq!(with_label(&meter, &names::LABEL_OVERFLOW_TOTAL, "model_name"), 2);
    assert_eq!(meter.model_name().as_deref(), Some("a"));
}

#[test]
fn everything_known_is_there_from_the_start_at_zero() {
    let meter = Meter::new().model("tiny");
    drop(InferenceLayer::new(meter.clone()));
    let readings = meter.collect();
    // The page itself knows these two.
    let by_the_page = [&names::SCRAPE_DURATION_SECONDS, &names::SERIES];
    for family in names::CATALOGUE {
        let series = readings.series(family);
        if std::ptr::eq(*family, &names::REQUESTS_TOTAL)
            || by_the_page.iter().any(|known| std::ptr::eq(*known, *family))
        {
            assert!(series.is_empty(), "{}", family.name);
            continue;
        }
        let is_conditional = matches!(family.presence, names::Presence::When(_));
        assert!(!series.is_empty() || is_conditional, "{} is missing", family.name);
        for series in series {
            let is_zero = match &series.value {
                Value::Counter(n) => *n == 0,
                Value::Gauge(value) => *value == 0.0,
                Value::Histogram(reading) => reading.count() == 0,
                other => panic!("{other:?}"),
            };
            assert!(is_zero || std::ptr::eq(*family, &names::BUILD_INFO), "{series:?}");
        }
    }
}

#[test]
fn wrong_settings_are_named() {
    let error = |builder: MeterBuilder| builder.build().unwrap_err().to_string();
    for (builder, expected) in [
        (Meter::builder().label("job", "x"), "\"job\""),
        (Meter::builder().label("model_name", "x"), "\"model_name\""),
        (Meter::builder().label("__x", "x"), "\"__x\""),
        (Meter::builder().label("a", "1").label("a", "2"), "\"a\" is given twice"),
        (
            Meter::builder().buckets(&names::TIME_IN_QUEUE_SECONDS, [2.0, 1.0]),
            "time_in_queue_seconds",
        ),
        (Meter::builder().buckets(&names::REQUEST_TOTAL, [1.0]), "request_total has no buckets"),
    ] {
        let error = error(builder);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("allowed") || error.contains("must"), "{error}");
    }
    assert!(Meter::builder().label("variant", "thinking").build().is_ok());
}

#[test]
fn buckets_can_be_set() {
    let meter = Meter::builder()
        .buckets(&names::TIME_IN_QUEUE_SECONDS, [0.5, 1.0])
        .context_length(32)
        .build()
        .unwrap()
        .model("m");
    let bounds = |family| histograms(&meter, family).bounds.to_vec();
    assert_eq!(bounds(&names::TIME_IN_QUEUE_SECONDS), [0.5, 1.0]);
    assert_eq!(bounds(&names::REQUEST_PROMPT_TOKENS), [1.0, 2.0, 5.0, 10.0, 20.0, 32.0]);
    assert_eq!(bounds(&names::TIME_TO_FIRST_TOKEN_SECONDS).len(), 22);
}

/// What two families hold that count the same, which they do once where their buckets are the same.
#[tokio::test(start_paused = true)]
async fn a_success_counts_in_both_of_its_durations() {
    let other = Meter::builder().buckets(&names::REQUEST_DURATION_SECONDS, [1.0, 3.0]);
    for (builder, are_same) in [(Meter::builder(), true), (other, false)] {
        let meter = builder.build().unwrap().model("m");
        complete(&meter, async |_| events([(2000, CONTENT), (0, DONE)])).await;
        let latency = histograms(&meter, &names::E2E_REQUEST_LATENCY_SECONDS);
        let readings = meter.collect();
        let durations: Vec<_> = readings
            .series(&names::REQUEST_DURATION_SECONDS)
            .iter()
            .map(|series| match &series.value {
                Value::Histogram(histogram) => (&*series.labels[1], histogram),
                other => panic!("{other:?}"),
            })
            .collect();
        let (outcome, success) = durations[0];
        assert_eq!(outcome, "success");
        assert_eq!(latency.bounds == success.bounds, are_same);
        for histogram in [&latency, success] {
            assert_eq!((histogram.count(), histogram.sum), (1, 2.0));
        }
        for (outcome, histogram) in &durations[1..] {
            assert_eq!(histogram.count(), 0, "{outcome}");
        }
    }
}
