//! The layer among others, in the order that its docs name and in the wrong one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, http::header, response::IntoResponse, routing::post};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use infermeter::{
    InferenceLayer, Meter, Start,
    layer::StartedLayer,
    names::{self, Family},
    record::{Collect, Value},
};
use tower::{
    Service, ServiceBuilder, ServiceExt,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    service_fn,
    timeout::TimeoutLayer,
};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer,
    timeout::TimeoutLayer as StatusTimeoutLayer,
};

const STREAM: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"stop\"}],\
    \"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n\
    data: [DONE]\n\n";

// === ConcurrencyLimit and Timeout inside ===

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_inner_limit_is_queue_time_in_a_service_builder() {
    let meter = Meter::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(TimeoutLayer::new(Duration::from_secs(60)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(slow));
    join_all((0..3).map(|_| read(service.clone()))).await;
    // They started after 0, 10 and 20 s, and took 10 s each.
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (3, 30.0));
    assert_eq!(histogram(&meter, &names::REQUEST_INFERENCE_TIME_SECONDS), (3, 30.0));
    assert_eq!(histogram(&meter, &names::E2E_REQUEST_LATENCY_SECONDS), (3, 60.0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_inner_limit_is_queue_time_in_a_router() {
    let meter = Meter::new();
    let app = Router::new()
        .route("/v1/completions", post(|| slow(())))
        .layer(StartedLayer)
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .layer(StatusTimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(60),
        ))
        .layer(InferenceLayer::new(meter.clone()).start(Start::Reported));
    join_all((0..3).map(|_| read(app.clone()))).await;
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (3, 30.0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_is_a_failure_and_one_outside_looks_like_a_client_that_left() {
    let limit = || {
        StatusTimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(5))
    };
    let route = || Router::new().route("/v1/completions", post(|| slow(())));

    let meter = Meter::new();
    let app = route().layer(limit()).layer(InferenceLayer::new(meter.clone()));
    assert_eq!(app.oneshot(request("/v1/completions")).await.unwrap().status(), 504);
    assert_eq!(ended(&meter), ["completions failure timeout 504"]);

    let meter = Meter::new();
    let app = route().layer(InferenceLayer::new(meter.clone())).layer(limit());
    assert_eq!(app.oneshot(request("/v1/completions")).await.unwrap().status(), 504);
    assert_eq!(ended(&meter), ["completions aborted prefill none"]);
}

// === CatchPanic outside ===

#[tokio::test]
async fn a_panic_is_seen_although_it_is_caught_outside() {
    let meter = Meter::new();
    let panics = || async {
        panic!("the handler panics");
        #[expect(unreachable_code, reason = "says the type")]
        ""
    };
    let app = Router::new()
        .route("/v1/completions", post(panics))
        .layer(InferenceLayer::new(meter.clone()))
        .layer(CatchPanicLayer::new());
    assert_eq!(app.oneshot(request("/v1/completions")).await.unwrap().status(), 500);
    assert_eq!(ended(&meter), ["completions failure server_error none"]);
}

// === Compression ===

#[tokio::test]
async fn compression_outside_leaves_the_tokens_readable() {
    let plain = json(400);
    let meter = Meter::new();
    let json_route = || {
        let body = json(400);
        Router::new().route(
            "/v1/completions",
            post(move || async { ([(header::CONTENT_TYPE, "application/json")], body) }),
        )
    };
    let app = json_route()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(CompressionLayer::new().gzip(true));
    let response = app.oneshot(gzip_request()).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(response.into_body().collect().await.unwrap().to_bytes().len() < plain.len());
    assert_eq!(ended(&meter), ["completions success stop 200"]);
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL, &[]), 400);

    // The wrong way round it is still counted, and said to be unread.
    let meter = Meter::new();
    let app = json_route()
        .layer(CompressionLayer::new().gzip(true))
        .layer(InferenceLayer::new(meter.clone()));
    app.oneshot(gzip_request()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(ended(&meter), ["completions success other 200"]);
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL, &[]), 0);
    assert_eq!(counter(&meter, &names::UNREAD_BODIES_TOTAL, &["compressed"]), 1);
    assert_eq!(counter(&meter, &names::TOKEN_ACCOUNTING_TOTAL, &["default", "unknown"]), 1);
}

// === nested routers ===

// The path that was matched is kept in an axum type, so only the feature can read it.
#[cfg(feature = "axum")]
#[tokio::test]
async fn nested_routers_are_measured_by_the_path_that_the_client_sent() {
    let meter = Meter::new();
    let words = infermeter::layer::Endpoint::new("words", infermeter::wire::Wire::openai());
    let layer = || InferenceLayer::new(meter.clone()).endpoint("/my/deep/words", words.clone());
    let answer = || async { "x" };
    let app = Router::new()
        .nest("/openai/v1", Router::new().route("/completions", post(answer)).layer(layer()))
        .nest("/api", Router::new().route("/chat", post(answer)).layer(layer()))
        .nest(
            "/my",
            Router::new().nest("/deep", Router::new().route("/words", post(answer))).layer(layer()),
        );
    for path in ["/openai/v1/completions", "/api/chat", "/my/deep/words"] {
        assert_eq!(app.clone().oneshot(request(path)).await.unwrap().status(), 200, "{path}");
    }
    let mut ended = ended(&meter);
    ended.sort();
    assert_eq!(
        ended,
        [
            "api_chat aborted prefill 200",
            "completions aborted prefill 200",
            "words aborted prefill 200",
        ],
        "no body was read"
    );
}

// === real servers ===

#[tokio::test]
async fn http_1_and_http_2() {
    for is_http2 in [false, true] {
        let meter = Meter::new();
        let url = serve(meter.clone()).await;
        let client = Client::builder(TokioExecutor::new())
            .http2_only(is_http2)
            .timer(TokioTimer::new())
            .build_http::<Empty<Bytes>>();
        let send = |path: &str| {
            client.request(Request::post(format!("{url}{path}")).body(Empty::new()).unwrap())
        };
        for (path, expected) in [("/v1/completions", STREAM), ("/v1/chat/completions", &json(3))] {
            let response = send(path).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected, "http2: {is_http2}");
        }
        let mut endless = send("/v1/generate").await.unwrap();
        endless.frame().await.unwrap().unwrap();
        drop(endless);
        while ended(&meter).len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut ended = ended(&meter);
        ended.sort();
        assert_eq!(
            ended,
            [
                "chat_completions success stop 200",
                "completions success stop 200",
                "generate aborted prefill 200",
            ],
            "http2: {is_http2}"
        );
        assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL, &[]), 2 + 3);
        assert_eq!(counter(&meter, &names::PROMPT_TOKENS_TOTAL, &[]), 4 + 1);
    }
}

#[tokio::test]
async fn around_a_client() {
    let url = serve(Meter::new()).await;
    let meter = Meter::new();
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = ServiceBuilder::new().layer(InferenceLayer::new(meter.clone())).service(client);
    let request = Request::post(format!("{url}/v1/completions")).body(Empty::new()).unwrap();
    let answer = client.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), STREAM);
    let request = Request::post("http://127.0.0.1:1/v1/completions").body(Empty::new()).unwrap();
    client.oneshot(request).await.unwrap_err();
    let mut ended = ended(&meter);
    ended.sort();
    assert_eq!(ended, ["completions failure server_error none", "completions success stop 200"]);
}

// === helpers ===

/// Takes 10 s.
async fn slow<T>(_: T) -> Result<Response<Body>, Infallible> {
    tokio::time::sleep(Duration::from_secs(10)).await;
    let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
    Ok(response.body(Body::from(STREAM)).unwrap())
}

fn json(tokens: usize) -> String {
    format!(
        "{{\"choices\":[{{\"index\":0,\"text\":\"{}\",\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":{tokens}}}}}",
        "word ".repeat(tokens)
    )
}

async fn serve(meter: Meter) -> String {
    let stream = || async { ([(header::CONTENT_TYPE, "text/event-stream")], STREAM) };
    let whole = || async { ([(header::CONTENT_TYPE, "application/json")], json(3)) };
    let endless = || async {
        let tick = tokio::time::interval(Duration::from_millis(5));
        let ticks = futures_util::stream::unfold(tick, |mut tick| async {
            tick.tick().await;
            Some((Ok::<_, Infallible>("tick\n"), tick))
        });
        Body::from_stream(ticks).into_response()
    };
    let app = Router::new()
        .route("/v1/completions", post(stream))
        .route("/v1/chat/completions", post(whole))
        .route("/v1/generate", post(endless))
        .layer(InferenceLayer::new(meter));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// Sends a request and reads the whole answer.
async fn read<S, B>(service: S)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let response = service.oneshot(request("/v1/completions")).await.unwrap();
    response.into_body().collect().await.unwrap();
}

fn request(path: &str) -> Request<Body> {
    Request::post(path).body(Body::empty()).unwrap()
}

fn gzip_request() -> Request<Body> {
    let request = Request::post("/v1/completions").header(header::ACCEPT_ENCODING, "gzip");
    request.body(Body::empty()).unwrap()
}

/// `endpoint outcome reason code` of every request that ended.
fn ended(meter: &Meter) -> Vec<String> {
    let readings = meter.collect();
    let series = readings.series(&names::REQUESTS_TOTAL).iter();
    series.map(|series| series.labels[1..].join(" ")).collect()
}

/// Count and sum over all models.
fn histogram(meter: &Meter, family: &'static Family) -> (u64, f64) {
    let readings = meter.collect();
    let mut total = (0, 0.0);
    for series in readings.series(family) {
        let Value::Histogram(reading) = &series.value else { panic!("{series:?}") };
        total = (total.0 + reading.count(), total.1 + reading.sum);
    }
    (total.0, (total.1 * 1000.0).round() / 1000.0)
}

/// Sum over the series with these labels, or over all.
fn counter(meter: &Meter, family: &'static Family, labels: &[&str]) -> u64 {
    let readings = meter.collect();
    let series = readings.series(family).iter();
    let chosen = series.filter(|series| {
        labels.is_empty() || series.labels.iter().map(|label| &**label).eq(labels.iter().copied())
    });
    let values = chosen.map(|series| match series.value {
        Value::Counter(n) => n,
        ref other => panic!("{other:?}"),
    });
    values.sum()
}
