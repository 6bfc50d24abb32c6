//! Which requests are measured, and how often.

use axum::{Router, body::Body, extract::OriginalUri, routing::post};
use http::Request;
use http_body_util::BodyExt;
use infermeter::{InferenceLayer, Meter, RequestMeter};
use tower::ServiceExt;

use super::{A, DONE, Text, ended, events, request, send, sum, support::frames::drain};

#[test]
fn a_request_that_offers_http_2_is_measured() {
    let meter = Meter::new();
    let mut request = request();
    // What the HTTP client of Java sends unless it is told otherwise.
    for (name, value) in [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAEAAEAA"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let stream = |_: &RequestMeter| events(Text::data([A, DONE]));
    drain(send(InferenceLayer::new(meter.clone()), request, stream).1);
    assert_eq!(ended(&meter), "success other 200");
}

#[test]
fn around_the_client_of_a_gateway_the_path_that_is_asked_for_counts() {
    let meter = Meter::new();
    let mut request = request();
    // Of the request that came to the gateway.
    request.extensions_mut().insert(OriginalUri("/ask".parse().unwrap()));
    let stream = |_: &RequestMeter| events(Text::data([A, DONE]));
    drain(send(InferenceLayer::new(meter.clone()), request, stream).1);
    assert_eq!(ended(&meter), "success other 200");
}

#[tokio::test]
async fn two_layers_of_one_meter_measure_a_request_once_and_two_meters_each() {
    let (outer, inner) = (Meter::new(), Meter::new());
    for inner in [&outer, &inner] {
        let tells = |handle: RequestMeter| async move {
            handle.generated_tokens(3);
            "words"
        };
        let nested = Router::new()
            .route("/completions", post(tells))
            .layer(InferenceLayer::new(inner.clone()));
        let app = Router::new().nest("/v1", nested).layer(InferenceLayer::new(outer.clone()));
        let request = Request::post("/v1/completions").body(Body::empty()).unwrap();
        app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(sum(&outer, "vllm:request_total"), 2);
    assert_eq!(sum(&inner, "vllm:request_total"), 1);
    // The handle is that of the innermost meter.
    assert_eq!(sum(&outer, "vllm:generation_tokens_total"), 3);
    assert_eq!(sum(&inner, "vllm:generation_tokens_total"), 3);
}
