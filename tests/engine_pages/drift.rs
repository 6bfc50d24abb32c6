//! What an engine has counted beyond what was counted here.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use infermeter::{
    InferenceLayer, Meter,
    names::TOKEN_DRIFT_TOTAL,
    record::{Collect, Value},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::server::Server;

const ANSWER: &str = r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}],
    "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

fn page(prompt: u64, generation: u64) -> String {
    format!(
        "vllm:prompt_tokens_total{{engine=\"0\",model_name=\"m\"}} {prompt}.0\n\
         vllm:generation_tokens_total{{engine=\"0\",model_name=\"m\"}} {generation}.0\n"
    )
}

/// By kind, in the order of the page.
fn drift(meter: &Meter) -> Vec<(String, u64)> {
    meter.sample();
    let readings = meter.collect();
    let series = readings.series(&TOKEN_DRIFT_TOTAL).iter().map(|series| match series.value {
        Value::Counter(n) => (series.labels.join(" "), n),
        ref value => panic!("{value:?}"),
    });
    series.collect()
}

async fn eventually(meter: &Meter, prompt: u64, generation: u64) {
    let expected = [("m prompt".to_owned(), prompt), ("m generation".to_owned(), generation)];
    for _ in 0..1000 {
        if drift(meter) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} instead of {expected:?}", drift(meter));
}

#[tokio::test]
async fn what_went_past_here_shows_and_what_did_not_does_not() {
    let server = Server::start();
    server.page("/metrics", page(100, 50));
    let meter = Meter::new();
    let (every, model) = (Duration::from_millis(5), meter.model("m"));
    let watch = server.engine().compare(true).every(every).watch(&meter).await;
    let running = tokio::spawn(watch.run());
    eventually(&meter, 0, 0).await;

    let answer =
        |_: Request<()>| async { Ok::<_, String>(Response::new(Full::<Bytes>::from(ANSWER))) };
    let mut service = InferenceLayer::new(model).layer(service_fn(answer));
    let request = Request::post("/v1/completions").body(()).unwrap();
    let answer = service.ready().await.unwrap().call(request).await.unwrap();
    let read: Bytes = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(read, ANSWER);
    // The same request, and one of 4 and 7 tokens that came another way.
    server.page("/metrics", page(107, 59));
    eventually(&meter, 4, 7).await;
    // Fewer: it was started anew.
    server.page("/metrics", page(20, 20));
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.page("/metrics", page(21, 22));
    eventually(&meter, 5, 9).await;
    running.abort();
}

#[tokio::test]
async fn it_is_told_only_where_it_is_asked_for_and_the_engine_counts() {
    let server = Server::start();
    for (page, compare) in [(page(1, 1), false), ("tgi_batch_current_size 1\n".to_owned(), true)] {
        server.page("/metrics", page);
        let meter = Meter::new();
        let every = Duration::from_millis(1);
        let watch = server.engine().compare(compare).every(every).watch(&meter).await;
        let running = tokio::spawn(watch.run());
        let before = server.asked().len();
        while server.asked().len() < before + 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(drift(&meter), []);
        running.abort();
    }
}

/// One upstream that never comes to rest keeps no other from being compared, and what it counts is
/// not the other's.
#[tokio::test]
async fn each_upstream_is_compared_with_its_own() {
    let meter = Meter::new();
    let [a, b] = ["a", "b"].map(|name| meter.upstream(name, None).model("m"));
    let hangs = |_: Request<()>| std::future::pending::<Result<Response<String>, String>>();
    let hanging = InferenceLayer::new(b.clone()).layer(service_fn(hangs));
    let request = || Request::post("/v1/completions").body(()).unwrap();
    let hanging = tokio::spawn(hanging.oneshot(request()));
    let answers = |_: Request<()>| async { Ok::<_, String>(Response::new(ANSWER.to_owned())) };
    let server = Server::start();
    server.page("/metrics", page(100, 50));
    let watch = server.engine().compare(true).every(Duration::from_millis(5)).watch(&a).await;
    let running = tokio::spawn(watch.run());
    let told = async |prompt: u64, generation: u64| {
        let expected = [("m prompt a none", prompt), ("m generation a none", generation)];
        let expected = expected.map(|(labels, n)| (labels.to_owned(), n));
        for _ in 0..1000 {
            if drift(&meter) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} instead of {expected:?}", drift(&meter));
    };
    told(0, 0).await;
    // Another engine's tokens.
    let other = InferenceLayer::new(b).layer(service_fn(answers)).oneshot(request()).await.unwrap();
    other.into_body().collect().await.unwrap();
    server.page("/metrics", page(104, 57));
    told(4, 7).await;
    running.abort();
    hanging.abort();
}
