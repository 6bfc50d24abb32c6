//! A meter that measures nothing.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use infermeter::{
    InferenceLayer, Meter, RequestMeter,
    engine::{EngineState, KvUsage, Lora},
    exporter::Prometheus,
    record::{Collect, Readings},
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn requests_pass_by_and_nothing_is_kept() {
    let meter = Meter::disabled().model("m");
    assert!(meter.is_disabled());
    let layer = InferenceLayer::new(meter.clone())
        .model_from(|_| panic!("nobody is asked"))
        .tenant_from(|_| panic!("nobody is asked"));
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let handle = RequestMeter::of(&request);
        assert!(request.extensions().is_empty(), "nothing is added");
        handle.started();
        handle.add_generated_tokens(5);
        let mut response = events([(10, CONTENT), (10, DONE)]);
        response.headers_mut().insert("x-own", "1".parse().unwrap());
        Ok::<_, Infallible>(response)
    }));
    let request = Request::post("/v1/completions").body(()).unwrap();
    let response: Response<_> = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-own"], "1");
    assert_eq!(response.headers().len(), 2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("{CONTENT}{DONE}"));
    assert_eq!(meter.collect().families.len(), 0);
}

#[tokio::test]
async fn an_error_of_the_service_is_its_own() {
    let layer = InferenceLayer::new(Meter::disabled());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Err::<Response<StreamBody<Events>>, _>("its own")
    }));
    let request = Request::post("/v1/completions").body(()).unwrap();
    assert_eq!(service.oneshot(request).await.err(), Some("its own"));
}

#[test]
fn handles_do_nothing_and_sources_are_never_asked() {
    let meter = Meter::disabled();
    let engine = meter.engine("0");
    engine.kv(KvUsage { used_blocks: 2, ..KvUsage::default() });
    engine.tell(EngineState { lora: Some(Lora::default()), ..EngineState::default() });
    engine.iteration(3);
    engine.watch("engine", || panic!("asked"));
    meter.watch("panics", |_: &mut Readings| panic!("asked"));
    meter.sample();
    assert_eq!(meter.sources().len(), 0);
    assert_eq!(meter.collect().families.len(), 0);
}

#[tokio::test]
async fn its_page_is_valid_and_names_the_model() {
    let exporter = Prometheus::builder().meter(Meter::disabled().model("tiny")).build().unwrap();
    let samples = samples(&exporter.render());
    assert_eq!(samples.len(), 2, "{samples:?}");
    assert_eq!(samples[1], "infermeter_series 2.0");
    let request = Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
    let response = exporter.router().oneshot(request).await.unwrap();
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, r#"{"model_name":"tiny","status":"ok"}"#);
}
