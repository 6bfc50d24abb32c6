//! The queue time is right, whoever makes requests wait.

use std::sync::Arc;

use axum::{Router, routing::post};
use futures_util::future::join_all;
use http::StatusCode;
use infermeter::{
    AdmissionLayer, InferenceLayer, Meter, RequestMeter, Start, layer::StartedLayer, names,
    record::Collect,
};
use tokio::{sync::Semaphore, time::sleep};
use tower::{
    Service, ServiceBuilder, limit::ConcurrencyLimitLayer, service_fn, timeout::TimeoutLayer,
};
use tower_http::timeout::TimeoutLayer as StatusTimeoutLayer;

use super::work::{SECOND, Work, buckets, ended, histogram, in_flight, read, request};

/// The three requests were in the queue for 0, 10 and 20 s.
const ONE_BY_ONE: [(f64, u64); 3] = [(0.001, 1), (10.0, 1), (20.0, 1)];

#[tokio::test(start_paused = true)]
async fn without_a_limit_none_waits() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .service(service_fn(|request| work.clone().streams(request)));
    three(service).await;
    assert_eq!(buckets(&meter, &names::TIME_IN_QUEUE_SECONDS), [(0.001, 3)]);
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (3, 0.0));
    let readings = meter.collect();
    assert!(readings.series(&names::ADMISSION_WAIT_SECONDS).is_empty(), "nothing admits");
    assert!(readings.series(&names::RUNNING_LIMIT).is_empty(), "nothing limits");
}

#[tokio::test(start_paused = true)]
async fn admission_in_a_service_builder() {
    for start in [Start::Call, Start::Reported] {
        let meter = Meter::new();
        let work = Work::new();
        let service = ServiceBuilder::new()
            .layer(InferenceLayer::new(meter.clone()).start(start))
            .layer(TimeoutLayer::new(SECOND * 60))
            .layer(AdmissionLayer::new(&meter, 1))
            .layer(StartedLayer)
            .service(service_fn(|request| work.clone().streams(request)));
        three(service).await;
        assert_one_by_one(&meter, &work);
        assert_eq!(histogram(&meter, &names::TIME_TO_FIRST_TOKEN_SECONDS), (3, 45.0));
    }
}

#[tokio::test(start_paused = true)]
async fn admission_alone_with_start_call() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 1))
        .service(service_fn(|request| work.clone().streams(request)));
    three(service).await;
    assert_one_by_one(&meter, &work);
}

#[tokio::test(start_paused = true)]
async fn admission_in_a_router() {
    for (start, says_started) in
        [(Start::Call, false), (Start::Call, true), (Start::Reported, true)]
    {
        let meter = Meter::new();
        let work = Work::new();
        let handler = {
            let work = work.clone();
            move |request| work.streams(request)
        };
        let mut app = Router::new().route("/v1/completions", post(handler));
        if says_started {
            app = app.layer(StartedLayer);
        }
        let app = app
            .layer(AdmissionLayer::new(&meter, 1))
            .layer(StatusTimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, SECOND * 60))
            .layer(InferenceLayer::new(meter.clone()).start(start));
        three(app).await;
        assert_one_by_one(&meter, &work);
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_inside() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(|request| work.clone().thinks(request)));
    three(service).await;
    assert_eq!(buckets(&meter, &names::TIME_IN_QUEUE_SECONDS), ONE_BY_ONE);
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (3, 30.0));
    assert_eq!(work.most(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_says_itself_when_it_starts() {
    let meter = Meter::new();
    let work = Work::new();
    let slots = Arc::new(Semaphore::new(1));
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()).start(Start::Reported))
        .service(service_fn(|request| {
            let (work, slots) = (work.clone(), Arc::clone(&slots));
            async move {
                let _slot = slots.acquire().await.unwrap();
                RequestMeter::of(&request).started();
                work.thinks(request).await
            }
        }));
    three(service).await;
    assert_eq!(buckets(&meter, &names::TIME_IN_QUEUE_SECONDS), ONE_BY_ONE);
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (3, 30.0));
}

/// Who was let in has started: what it waits for then is work.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_is_waited_for_inside() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 2))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(|request| work.clone().thinks(request)));
    three(service).await;
    // The third comes in after 10 s, when the first has left, and is worked on after 20 s.
    assert_eq!(work.came(), [(1, 0.0), (2, 10.0), (3, 20.0)]);
    for family in [&names::TIME_IN_QUEUE_SECONDS, &names::ADMISSION_WAIT_SECONDS] {
        assert_eq!(buckets(&meter, family), [(0.001, 2), (10.0, 1)]);
    }
    assert_eq!(histogram(&meter, &names::REQUEST_INFERENCE_TIME_SECONDS), (3, 10.0 + 20.0 + 20.0));
}

#[tokio::test(start_paused = true)]
async fn with_start_reported_being_let_in_is_not_the_start() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()).start(Start::Reported))
        .layer(AdmissionLayer::new(&meter, 1))
        .service(service_fn(|request| {
            let work = work.clone();
            async move {
                sleep(SECOND * 2).await;
                RequestMeter::of(&request).started();
                work.thinks(request).await
            }
        }));
    three(service).await;
    assert_eq!(histogram(&meter, &names::ADMISSION_WAIT_SECONDS), (3, 12.0 + 24.0));
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (3, 2.0 + 14.0 + 26.0));
}

/// The module docs say so of `Start::Call`, and what to do.
#[tokio::test(start_paused = true)]
async fn a_layer_between_that_waits_needs_start_reported() {
    for (start, queue) in [(Start::Call, (3, 0.0)), (Start::Reported, (3, 30.0))] {
        let meter = Meter::new();
        let work = Work::new();
        let authenticate = |inner| {
            service_fn(move |request| {
                let mut inner = Clone::clone(&inner);
                async move {
                    sleep(SECOND / 1000).await;
                    Service::call(&mut inner, request).await
                }
            })
        };
        let service = ServiceBuilder::new()
            .layer(InferenceLayer::new(meter.clone()).start(start))
            .layer(tower::layer::layer_fn(authenticate))
            .layer(AdmissionLayer::new(&meter, 1))
            .layer(StartedLayer)
            .service(service_fn(|request| work.clone().streams(request)));
        three(service).await;
        let (count, sum) = histogram(&meter, &names::TIME_IN_QUEUE_SECONDS);
        assert_eq!((count, sum.round()), queue, "{start:?}");
        let (count, sum) = histogram(&meter, &names::ADMISSION_WAIT_SECONDS);
        assert_eq!((count, sum.round()), (3, 30.0), "{start:?}");
    }
}

/// Sends three requests at once, one after the other.
async fn three<S, B>(service: S)
where
    S: Service<http::Request<axum::body::Body>, Response = http::Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    join_all((1..=3).map(|id| read(service.clone(), request(id)))).await;
}

/// One after the other, each for 10 s.
fn assert_one_by_one(meter: &Meter, work: &Work) {
    assert_eq!(work.came(), [(1, 0.0), (2, 10.0), (3, 20.0)]);
    assert_eq!(work.most(), 1);
    for family in [&names::TIME_IN_QUEUE_SECONDS, &names::ADMISSION_WAIT_SECONDS] {
        assert_eq!(buckets(meter, family), ONE_BY_ONE, "{}", family.name);
        assert_eq!(histogram(meter, family), (3, 30.0), "{}", family.name);
    }
    assert_eq!(histogram(meter, &names::REQUEST_INFERENCE_TIME_SECONDS), (3, 30.0));
    assert_eq!(histogram(meter, &names::E2E_REQUEST_LATENCY_SECONDS), (3, 60.0));
    assert_eq!(ended(meter), ["success stop 200 3"]);
    assert_eq!(in_flight(meter), [0, 0]);
}
