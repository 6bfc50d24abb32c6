//! Who waits, in which order, and what is seen of it.

use std::{pin::Pin, task::Poll};

use axum::{Router, body::Body, routing::post};
use futures_util::future::join_all;
use http::Request;
use infermeter::{AdmissionLayer, InferenceLayer, Meter, names};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::work::{SECOND, Work, ended, gauge, histogram, in_flight, now, poll, read, request};

#[tokio::test(start_paused = true)]
async fn one_limit_holds_over_all_routes() {
    let meter = Meter::new();
    let work = Work::new();
    let handler = || {
        let work = work.clone();
        post(move |request| work.streams(request))
    };
    let app = Router::new()
        .route("/v1/completions", handler())
        .route("/v1/chat/completions", handler())
        .layer(AdmissionLayer::new(&meter, 2))
        .layer(InferenceLayer::new(meter.clone()));
    join_all((0..6).map(|id| {
        let path = ["/v1/completions", "/v1/chat/completions"][id % 2];
        let request = Request::post(path).header("x-id", id).body(Body::empty()).unwrap();
        read(app.clone(), request)
    }))
    .await;
    let came = [(0, 0.0), (1, 0.0), (2, 10.0), (3, 10.0), (4, 20.0), (5, 20.0)];
    assert_eq!(work.came(), came);
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (6, 60.0));
    assert_eq!(histogram(&meter, &names::ADMISSION_WAIT_SECONDS), (6, 60.0));
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_share_its_limit() {
    let work = Work::new();
    let layer = AdmissionLayer::new(&Meter::new(), 1);
    let inner = service_fn(|request| work.clone().streams(request));
    // Their other settings are their own.
    let services = [layer.clone().layer(inner), layer.max_waiting(1).layer(inner)];
    join_all((0..2).map(|id| read(services[id].clone(), request(id as u64)))).await;
    assert_eq!(work.came(), [(0, 0.0), (1, 10.0)]);
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 1).max_waiting(1000))
        .service(service_fn(|request| work.clone().streams(request)));
    // More than a task of tokio may do in one turn; and some that come when a place is left.
    let requests = (0..300).map(|id| {
        let service = service.clone();
        async move {
            sleep(SECOND * (id / 100) as u32 * 10).await;
            read(service, request(id)).await
        }
    });
    join_all(requests).await;
    assert_eq!(work.order(), (0..300).collect::<Vec<u64>>());
    assert_eq!(work.most(), 1);
    assert_eq!(ended(&meter), ["success stop 200 300"]);
}

/// Between the moment when a place is left and that when the first who waits takes it.
#[tokio::test]
async fn who_comes_does_not_overtake_one_that_was_handed_a_place() {
    let work = Work::new();
    let service = AdmissionLayer::new(&Meter::new(), 1)
        .max_waiting(1)
        .layer(service_fn(|request| work.clone().streams(request)));
    let call = |id| Box::pin(service.clone().oneshot(request(id)));
    let first = now(&mut call(1)).unwrap();
    let mut second = call(2);
    assert!(poll(&mut second).is_pending());
    assert_eq!(now(&mut call(9)).unwrap().status(), 429, "the queue is full");
    drop(first);
    let mut third = call(3);
    assert!(poll(&mut third).is_pending(), "neither let in nor refused: one place to wait is free");
    assert_eq!(now(&mut call(9)).unwrap().status(), 429);
    let second = now(&mut second).unwrap();
    assert!(poll(&mut third).is_pending());
    drop(second);
    now(&mut third).unwrap();
    assert_eq!(work.order(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_runs_is_seen() {
    let meter = Meter::new();
    assert_eq!(gauge(&meter, &names::RUNNING_LIMIT), None);
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 2))
        .service(service_fn({
            let work = work.clone();
            move |request| work.clone().streams(request)
        }));
    assert_eq!(gauge(&meter, &names::RUNNING_LIMIT), Some(2.0));
    assert_eq!(oldest(&meter), 0.0);
    // They come after 0, 1, 2 and 3 s.
    let mut clients = Vec::new();
    for id in 0..4 {
        clients.push(tokio::spawn(read(service.clone(), request(id))));
        sleep(SECOND).await;
    }
    assert_eq!((in_flight(&meter), oldest(&meter)), ([2, 2], 2.0));
    sleep(SECOND * 5).await;
    assert_eq!((in_flight(&meter), oldest(&meter)), ([2, 2], 7.0));
    // The first leaves after 10 s, the second after 11 s.
    sleep(SECOND + SECOND / 2).await;
    assert_eq!((in_flight(&meter), oldest(&meter)), ([1, 2], 7.5));
    sleep(SECOND).await;
    assert_eq!((in_flight(&meter), oldest(&meter)), ([0, 2], 0.0));
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!((in_flight(&meter), oldest(&meter)), ([0, 0], 0.0));
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (4, 8.0 + 8.0));
    assert_eq!(work.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_measured_needs_a_place_too() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 1))
        .service(service_fn(|request| work.clone().streams(request)));
    let other = Request::post("/other").header("x-id", 7).body(Body::empty()).unwrap();
    join_all([read(service.clone(), other), read(service, request(8))]).await;
    assert_eq!(work.came(), [(7, 0.0), (8, 10.0)]);
    assert_eq!(histogram(&meter, &names::ADMISSION_WAIT_SECONDS), (1, 10.0));
}

#[tokio::test(start_paused = true)]
async fn without_metrics_the_limit_holds() {
    let work = Work::new();
    for meter in [Meter::disabled(), Meter::new()] {
        let work = Work::new();
        let service = ServiceBuilder::new()
            .layer(InferenceLayer::new(meter.clone()))
            .layer(AdmissionLayer::new(&meter, 1).max_waiting(1))
            .service(service_fn(|request| work.clone().streams(request)));
        let all = join_all((0..3).map(|id| read(service.clone(), request(id)))).await;
        let statuses: Vec<u16> = all.iter().map(|(head, _)| head.status.as_u16()).collect();
        assert_eq!(statuses, [200, 200, 429]);
        assert_eq!(work.came(), [(0, 0.0), (1, 10.0)]);
    }
    // And where no other layer is.
    let service = AdmissionLayer::new(&Meter::new(), 1)
        .layer(service_fn(|request| work.clone().streams(request)));
    let mut calls: Vec<Pin<Box<_>>> =
        (0..2).map(|id| Box::pin(service.clone().oneshot(request(id)))).collect();
    assert!(matches!(poll(&mut calls[0]), Poll::Ready(Ok(_))));
    // The response was dropped.
    assert!(matches!(poll(&mut calls[1]), Poll::Ready(Ok(_))));
}

fn oldest(meter: &Meter) -> f64 {
    gauge(meter, &names::QUEUE_OLDEST_AGE_SECONDS).unwrap()
}

#[test]
fn a_limit_of_0_is_one_too() {
    let meter = Meter::new().model("m");
    drop(AdmissionLayer::new(&meter, 0));
    assert_eq!(gauge(&meter, &names::RUNNING_LIMIT), Some(0.0));
}
