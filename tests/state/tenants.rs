//! Requests and tokens by tenant.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use infermeter::{
    InferenceLayer, Meter, RequestMeter,
    names::{self, Family},
    outcome::FailureReason,
    record::{Collect, Readings, Series, Value},
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

/// How a request goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Usage,
    Counted,
    Cut,
    /// The client leaves after so many content events.
    Left(usize),
    Refused,
    Fails,
    Panics,
    Handle,
    /// The handler tells tokens, and fails before there is a head.
    HandleFails,
}

const WAYS: [Way; 9] = [
    Way::Usage,
    Way::Counted,
    Way::Cut,
    Way::Left(2),
    Way::Refused,
    Way::Fails,
    Way::Panics,
    Way::Handle,
    Way::HandleFails,
];

async fn handle(
    request: Request<Empty<Bytes>>,
    way: Way,
) -> Result<Response<Events>, &'static str> {
    let meter = RequestMeter::of(&request);
    let three = [(10, CONTENT), (10, CONTENT), (10, CONTENT)];
    match way {
        Way::Usage => Ok(events(three.into_iter().chain([(1, FINISH), (1, USAGE), (1, DONE)]))),
        Way::Counted => Ok(events(three.into_iter().chain([(1, FINISH), (1, DONE)]))),
        Way::Cut | Way::Left(_) => Ok(events(three)),
        Way::Refused => {
            let mut response = events([(0, "data: {\"error\":{\"message\":\"no\"}}\n\n")]);
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            Ok(response)
        }
        Way::Fails => Err("as the test wants"),
        Way::Panics => panic!("as the test wants"),
        Way::Handle => {
            meter.prompt_tokens(11);
            meter.generated_tokens(7);
            Ok(events(three.into_iter().chain([(1, FINISH), (1, USAGE), (1, DONE)])))
        }
        Way::HandleFails => {
            meter.prompt_tokens(5);
            meter.add_generated_tokens(2);
            meter.fail(FailureReason::Timeout);
            Err("as the test wants")
        }
    }
}

/// Prompt and generated tokens that it counts for, and how it ends.
fn expected(way: Way) -> (u64, u64, &'static str) {
    match way {
        Way::Usage => (3, 4, "success"),
        Way::Counted => (0, 3, "success"),
        Way::Cut => (0, 3, "failure"),
        Way::Left(events) => (0, events as u64, "aborted"),
        Way::Refused | Way::Fails | Way::Panics => (0, 0, "failure"),
        Way::Handle => (11, 7, "success"),
        Way::HandleFails => (5, 2, "failure"),
    }
}

fn tenant_layer(meter: &Meter) -> InferenceLayer {
    InferenceLayer::new(meter.clone()).tenant_from(|head| {
        let tenant = head.headers.get("x-tenant")?;
        assert_ne!(tenant, "panics");
        Some(String::from_utf8_lossy(tenant.as_bytes()).into_owned())
    })
}

async fn send(layer: &InferenceLayer, tenant: Option<&str>, way: Way) {
    let service = layer.layer(service_fn(move |request| handle(request, way)));
    let mut request = Request::post("/v1/completions");
    if let Some(tenant) = tenant {
        request = request.header("x-tenant", tenant.as_bytes());
    }
    let request = request.body(Empty::new()).unwrap();
    let answer = tokio::spawn(service.oneshot(request)).await;
    let (Ok(Ok(response)), left) = (answer, way) else {
        return;
    };
    let mut body = response.into_body();
    match left {
        Way::Left(frames) => {
            for _ in 0..frames {
                poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
            }
        }
        _ => drop(body.collect().await),
    }
}

fn sum(meter: &Meter, family: &'static Family, labels: &[&str]) -> u64 {
    let readings = meter.collect();
    let has = |series: &&Series| {
        labels.iter().all(|label| series.labels.iter().any(|found| &**found == *label))
    };
    let values = readings.series(family).iter().filter(has).map(|series| match series.value {
        Value::Counter(n) => n,
        ref other => panic!("{other:?}"),
    });
    values.sum()
}

#[tokio::test(start_paused = true)]
async fn tokens_are_exact_in_each_ending() {
    for way in WAYS {
        let meter = Meter::new().model("m");
        let layer = tenant_layer(&meter);
        send(&layer, Some("acme"), way).await;
        let (prompt, generation, outcome) = expected(way);
        let tokens = [format!("m acme generation {generation}"), format!("m acme prompt {prompt}")];
        assert_eq!(shown(&meter, &names::TENANT_TOKENS_TOTAL), tokens, "{way:?}");
        let ends = ["aborted", "failure", "success"]
            .map(|known| format!("m acme {known} {}", u8::from(known == outcome)));
        assert_eq!(shown(&meter, &names::TENANT_REQUESTS_TOTAL), ends, "{way:?}");
        assert_eq!(sum(&meter, &names::PROMPT_TOKENS_TOTAL, &[]), prompt, "{way:?}");
        assert_eq!(sum(&meter, &names::GENERATION_TOKENS_TOTAL, &[]), generation, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_sums_are_those_of_all_requests() {
    let meter = Meter::builder().max_tenants(3).build().unwrap().model("m");
    let layer = tenant_layer(&meter);
    let tenants = [None, Some("a"), Some("b"), Some("c"), Some("d"), Some(""), Some("panics")];
    for tenant in tenants {
        for way in WAYS {
            send(&layer, tenant, way).await;
        }
    }
    let n = (tenants.len() * WAYS.len()) as u64;
    assert_eq!(sum(&meter, &names::REQUEST_TOTAL, &[]), n);
    assert_eq!(sum(&meter, &names::TENANT_REQUESTS_TOTAL, &[]), n);
    for (outcome, family) in [
        ("success", &names::REQUEST_SUCCESS_TOTAL),
        ("failure", &names::REQUEST_FAILURE_TOTAL),
        ("aborted", &names::REQUEST_ABORTED_TOTAL),
    ] {
        let of_tenants = sum(&meter, &names::TENANT_REQUESTS_TOTAL, &[outcome]);
        assert_eq!(of_tenants, sum(&meter, family, &[]), "{outcome}");
    }
    for (kind, family) in
        [("prompt", &names::PROMPT_TOKENS_TOTAL), ("generation", &names::GENERATION_TOKENS_TOTAL)]
    {
        let of_tenants = sum(&meter, &names::TENANT_TOKENS_TOTAL, &[kind]);
        assert_eq!(of_tenants, sum(&meter, family, &[]), "{kind}");
    }
    // Without a name, an empty one, one that a panic took.
    for (tenant, times) in [("a", 1), ("b", 1), ("c", 1), ("other", 1), ("none", 3)] {
        let requests = sum(&meter, &names::TENANT_REQUESTS_TOTAL, &[tenant]);
        assert_eq!(requests, times * WAYS.len() as u64, "{tenant}");
    }
    let overflow = sum(&meter, &names::LABEL_OVERFLOW_TOTAL, &["tenant"]);
    assert_eq!(overflow, WAYS.len() as u64);
    assert_eq!(sum(&meter, &names::LABEL_OVERFLOW_TOTAL, &["model_name"]), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_where_nobody_asked() {
    let meter = Meter::new().model("m");
    let layer = InferenceLayer::new(meter.clone());
    for way in WAYS {
        send(&layer, Some("acme"), way).await;
    }
    let page = format!("{:?}", meter.collect());
    assert!(!page.contains("acme") && !page.contains("tenant_"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_too_long_is_other() {
    let meter = Meter::new().model("m");
    let layer = tenant_layer(&meter);
    for length in [256, 257, 5000] {
        send(&layer, Some(&"x".repeat(length)), Way::Usage).await;
    }
    assert_eq!(sum(&meter, &names::TENANT_REQUESTS_TOTAL, &["other"]), 2);
    assert_eq!(sum(&meter, &names::TENANT_REQUESTS_TOTAL, &[&"x".repeat(256)]), 1);
    assert_eq!(sum(&meter, &names::LABEL_OVERFLOW_TOTAL, &["tenant"]), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_of_two_models_has_its_series_in_each() {
    let meter = Meter::new();
    for model in ["a", "b"] {
        send(&tenant_layer(&meter.model(model)), Some("acme"), Way::Usage).await;
    }
    assert_eq!(
        shown(&meter, &names::TENANT_TOKENS_TOTAL),
        ["a acme generation 4", "a acme prompt 3", "b acme generation 4", "b acme prompt 3"]
    );
}

/// Nothing of a tenant is on the page before one of its requests has ended.
#[tokio::test(start_paused = true)]
async fn a_request_that_runs_is_not_told_yet() {
    let meter = Meter::new().model("m");
    let layer = tenant_layer(&meter);
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(events([(0, CONTENT), (5000, DONE)]))
    }));
    let request = Request::post("/v1/completions").header("x-tenant", "acme").body(()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(shown(&meter, &names::TENANT_REQUESTS_TOTAL), [""; 0]);
    response.into_body().collect().await.unwrap();
    assert_eq!(sum(&meter, &names::TENANT_REQUESTS_TOTAL, &["acme"]), 1);
}

/// A view is taken in steps; in none do the tenants have more than all of them together.
#[test]
fn in_no_view_is_a_part_more_than_the_whole() {
    let meter = Meter::new().model("m");
    let is_over = AtomicBool::new(false);
    let sum = |readings: &Readings, family: &'static Family, kind: &str| -> u64 {
        let has_kind = |series: &&Series| series.labels.iter().any(|label| &**label == kind);
        let series = readings.series(family).iter().filter(has_kind);
        series.map(|series| if let Value::Counter(n) = series.value { n } else { 0 }).sum()
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                while !is_over.load(Relaxed) {
                    runtime.block_on(async {
                        let service = service_fn(async |request: Request<()>| {
                            let handle = RequestMeter::of(&request);
                            handle.prompt_tokens(5);
                            handle.cached_tokens(5);
                            handle.generated_tokens(3);
                            handle.reasoning_tokens(3);
                            Ok::<_, Infallible>(Response::new(String::new()))
                        });
                        let request = Request::post("/v1/messages").header("x-tenant", "a");
                        let request = request.body(()).unwrap();
                        tenant_layer(&meter).layer(service).oneshot(request).await.unwrap();
                    });
                }
            });
        }
        for _ in 0..10_000 {
            let view = meter.collect();
            let tenants = |kind| sum(&view, &names::TENANT_TOKENS_TOTAL, kind);
            let all = |family| sum(&view, family, "m");
            let (prompt, generated) =
                (all(&names::PROMPT_TOKENS_TOTAL), all(&names::GENERATION_TOKENS_TOTAL));
            let parts = [
                (tenants("prompt"), prompt),
                (tenants("generation"), generated),
                (all(&names::PROMPT_TOKENS_CACHED_TOTAL), prompt),
                (all(&names::REASONING_TOKENS_TOTAL), generated),
            ];
            if parts.iter().any(|(part, whole)| part > whole) {
                is_over.store(true, Relaxed);
                panic!("{parts:?}");
            }
        }
        is_over.store(true, Relaxed);
    });
}
