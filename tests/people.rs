//! What people look at beside the page: single requests, and the live page.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use infermeter::{
    InferenceLayer, Meter,
    engine::KvUsage,
    exporter::{Prometheus, PrometheusBuilder},
};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

const PROMPT: &str = "a secret of mine";

/// One exporter, and a service that it publishes.
struct Setup {
    exporter: Prometheus,
    layer: InferenceLayer,
}

// === impl Setup ===

impl Setup {
    fn new(change: impl FnOnce(PrometheusBuilder) -> PrometheusBuilder) -> Self {
        let meter = Meter::new().model("tiny-words");
        let exporter = change(Prometheus::builder().meter(meter.clone())).build().unwrap();
        let layer = InferenceLayer::new(meter)
            .model_from(|head| Some(head.headers.get("x-model")?.to_str().ok()?.to_owned()))
            .tenant_from(|_| Some("team-a".to_owned()));
        Self { exporter, layer }
    }

    /// A request that is answered so.
    async fn request(&self, id: &str, status: u16, answer: String) {
        let service = self.layer.layer(service_fn(async |_: Request<Body>| {
            let head =
                Response::builder().status(status).header("content-type", "application/json");
            Ok::<_, Infallible>(head.body(answer.clone()).unwrap())
        }));
        let request = Request::post("/v1/chat/completions")
            .header("x-request-id", id)
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .header("authorization", "Bearer k3y")
            .header("x-model", id.split('-').next().unwrap());
        let answer = service.oneshot(request.body(Body::from(PROMPT)).unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }

    async fn ask(&self, path: &str, accept: &str) -> Response<Body> {
        let request = Request::get(path).header(header::ACCEPT, accept);
        self.exporter.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.ask(path, "*/*").await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        serde_json::from_str(&text(answer).await).unwrap()
    }

    /// Failures of two models, and a success with so many tokens.
    async fn requests(&self) {
        let error = format!(
            r#"{{"error":{{"type":"server_error","code":"out_of_blocks","message":"{PROMPT}"}}}}"#
        );
        self.request("a-1", 500, error.clone()).await;
        self.request("b-1", 500, error).await;
        let usage = r#"{"prompt_tokens":7,"completion_tokens":12}"#;
        let choice = r#"{"index":0,"finish_reason":"stop","message":{"content":"x"}}"#;
        self.request("a-2", 200, format!(r#"{{"choices":[{choice}],"usage":{usage}}}"#)).await;
    }
}

async fn text(answer: Response<Body>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn ids(requests: &Value) -> Vec<&str> {
    requests.as_array().unwrap().iter().map(|one| one["request_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn requests_are_found_by_kind_and_model() {
    let setup = Setup::new(|builder| builder);
    let none = setup.json("/requests").await;
    assert_eq!(none, serde_json::json!({ "failed": [], "slow": [], "long": [] }));

    setup.requests().await;
    let all = setup.json("/requests").await;
    assert_eq!(ids(&all["failed"]), ["b-1", "a-1"], "the last first");
    assert_eq!(ids(&all["long"]), ["a-2"]);
    assert_eq!(
        ids(&all["slow"]).into_iter().collect::<BTreeSet<_>>(),
        ["a-1", "a-2", "b-1"].into()
    );

    let failed = setup.json("/requests?kind=failed&model=a").await;
    assert_eq!(ids(&failed["failed"]), ["a-1"]);
    assert_eq!(failed.as_object().unwrap().len(), 1);
    assert_eq!(setup.json("/failures?model=a").await, failed);
    assert_eq!(setup.json("/requests?kind=long&model=b").await["long"], serde_json::json!([]));
    let one = setup.json("/requests?limit=1").await;
    assert_eq!(ids(&one["failed"]), ["b-1"]);
    assert_eq!(one["slow"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_tells_all_that_is_known_of_it() {
    let setup = Setup::new(|builder| builder);
    let engine = setup.exporter.meter().model("a").engine("0");
    engine.running(3);
    engine.waiting(2);
    engine.kv(KvUsage { used_blocks: 9, total_blocks: 10, block_size: 16, tokens: None });
    // The second in which that is seen.
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            setup.requests().await;
            if setup.json("/failures?model=a").await["failed"][0]["engine"]["running"] == 3.0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    let failed = &setup.json("/failures?model=a").await["failed"][0];
    for (name, value) in [
        ("request_id", "a-1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("model", "a"),
        ("endpoint", "chat_completions"),
        ("tenant", "team-a"),
        ("outcome", "failure"),
        ("reason", "server_error"),
        ("error_type", "server_error"),
        ("error_code", "out_of_blocks"),
        ("phase", "prefill"),
    ] {
        assert_eq!(failed[name], value, "{name}");
    }
    assert_eq!(failed["status"], 500);
    let number = |name: &str| failed[name].as_f64();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((now.as_secs_f64() - number("ended").unwrap()).abs() < 60.0, "{failed}");
    assert!(number("queue_seconds") <= number("duration_seconds"), "{failed}");
    assert!(failed["decode_seconds"].is_null() && failed["prompt_tokens"].is_null(), "{failed}");
    let then = serde_json::json!({ "running": 3.0, "waiting": 2.0, "kv_usage": 0.9 });
    assert_eq!(failed["engine"], then);

    let long = &setup.json("/requests?kind=long").await["long"][0];
    assert_eq!((&long["prompt_tokens"], &long["generated_tokens"]), (&7.into(), &12.into()));
    assert_eq!(long["token_source"], "usage");
}

#[tokio::test]
async fn nothing_that_was_said_is_told_unless_asked_for() {
    for shows in [false, true] {
        let setup = Setup::new(|builder| builder.failure_messages(shows));
        setup.requests().await;
        // Each by what itself was told, of one meter.
        let meter = setup.exporter.meter().clone();
        let other = Prometheus::builder().meter(meter).failure_messages(!shows).build().unwrap();
        for (exporter, shows) in [(&setup.exporter, shows), (&other, !shows)] {
            let request = Request::get("/requests").body(Body::empty()).unwrap();
            let told = text(exporter.router().oneshot(request).await.unwrap()).await;
            assert!(told.contains("out_of_blocks") && !told.contains("k3y"), "{told}");
            assert_eq!(told.contains(PROMPT), shows, "{told}");
        }
    }
}

#[tokio::test]
async fn a_question_that_is_none_names_what_is_allowed() {
    let setup = Setup::new(|builder| builder);
    for (path, names) in [("/requests?kind=fast", "slow"), ("/requests?modell=a", "model")] {
        let answer = setup.ask(path, "*/*").await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let text = text(answer).await;
        assert!(text.contains(names), "{text}");
    }
}

/// What a page asks for, from it.
fn linked(page: &str) -> BTreeSet<String> {
    let quoted = page.split('"').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with("assets/")).map(|text| format!("/{text}")).collect()
}

#[tokio::test]
async fn a_browser_gets_pages_that_ask_nobody_else() {
    let setup = Setup::new(|builder| builder.token("s3cr3t"));
    let pages: &[&str] =
        if cfg!(feature = "dashboard") { &["/requests", "/failures", "/"] } else { &["/requests"] };
    for path in pages {
        let answer = setup.ask(path, "text/html,application/xhtml+xml,*/*;q=0.8").await;
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let page = text(answer).await;
        assert!(!page.contains("://"), "{page}");
        let files = linked(&page);
        assert!(files.len() >= 2, "{page}");
        for file in files {
            let answer = setup.ask(&file, "*/*").await;
            assert_eq!(answer.status(), 200, "{file}");
            assert!(!text(answer).await.contains("s3cr3t"));
        }
    }
    // Data needs the token.
    for path in ["/requests", "/failures", "/live", "/metrics"] {
        assert_eq!(setup.ask(path, "application/json").await.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn pages_are_there_in_a_server_of_others() {
    let setup = Setup::new(|builder| builder);
    let ours = setup.exporter.router();
    let nested = axum::Router::new().nest("/internal", ours.clone());
    let merged = axum::Router::new().merge(ours).fallback(async || StatusCode::IM_A_TEAPOT);
    for (router, at) in [(nested, "/internal"), (merged, "")] {
        for path in ["/requests", "/assets/requests.js", "/assets/style.css"] {
            let request = Request::get(format!("{at}{path}")).header(header::ACCEPT, "text/html");
            let request = request.body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{at}{path}");
            let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap();
            assert!(kind.ends_with("; charset=utf-8"), "{at}{path} {kind}");
        }
    }
}

#[cfg(feature = "dashboard")]
#[tokio::test]
async fn the_live_page_is_told_of_each_second_once() {
    let setup = Setup::new(|builder| builder);
    let points = async |since: u64| {
        let mut answer = setup.json(&format!("/live?since={since}")).await;
        assert_eq!(answer["model"], "tiny-words");
        assert!(answer["began"].as_f64().unwrap() > 1e9, "{answer}");
        answer["points"].as_array_mut().unwrap().drain(..).collect::<Vec<_>>()
    };
    let mut seen: Vec<u64> = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), async {
        while seen.len() < 3 {
            setup.requests().await;
            for point in points(seen.last().copied().unwrap_or(0)).await {
                assert!(point["waiting"].is_number(), "{point}");
                assert!(point["kv_usage"].is_null(), "what is not told is no 0: {point}");
                seen.push(point["number"].as_u64().unwrap());
                if seen.len() > 1 {
                    assert!(point["failure"].as_f64().unwrap() > 0.0, "{point}");
                    assert!(point["queue"][0].as_f64().unwrap() >= 0.0, "{point}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(seen[..3], [1, 2, 3]);
}
