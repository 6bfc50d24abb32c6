//! What is refused, and what it is told.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{StatusCode, header, response::Parts};
use infermeter::{AdmissionLayer, InferenceLayer, Meter, Start, admission::Refusal, names};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep_until};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use super::{
    support::scrape::Scrape,
    work::{SECOND, Work, ended, gauge, histogram, in_flight, now, poll, read, request},
};

#[tokio::test(start_paused = true)]
async fn who_finds_the_queue_full_is_refused_at_once() {
    for start in [Start::Call, Start::Reported] {
        let meter = Meter::new().model("tiny-words");
        let work = Work::new();
        let all = clients(&meter, start, &work, 6, |admission| admission.max_waiting(2)).await;
        let statuses = all.iter().map(|(head, ..)| head.status.as_u16());
        assert_eq!(statuses.collect::<Vec<_>>(), [200, 200, 200, 200, 429, 429]);
        assert!(all[4..].iter().all(|(_, _, after)| *after == 0.0), "not later");
        assert_eq!(
            error(&all[4], 1),
            json!({
                "message": "This server is busy: at most 2 requests run at once, and at most 2 \
                            more wait. Try again in 1 s.",
                "type": "rate_limit_exceeded",
                "param": null,
                "code": "queue_full",
            })
        );
        assert_eq!(work.order(), [0, 1, 2, 3], "the others never came to the service");
        assert_eq!(ended(&meter), ["failure rejected 429 2", "success stop 200 4"]);
        for family in [&names::TIME_IN_QUEUE_SECONDS, &names::ADMISSION_WAIT_SECONDS] {
            assert_eq!(histogram(&meter, family).0, 4, "{}: {start:?}", family.name);
        }
        let scrape = Scrape::of(&meter);
        let labels = [("outcome", "failure"), ("reason", "rejected"), ("code", "429")];
        assert_eq!(scrape.sum("infermeter_requests_total", &labels), 2);
        assert_eq!(scrape.sum("vllm:request_failure_total", &[]), 2);
        let unread = scrape.sum("infermeter_unread_bodies_total", &[]);
        assert_eq!(unread, 0, "{:?}", scrape.counted("infermeter_unread_bodies_total"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_for_too_long_is_refused() {
    let meter = Meter::new();
    let work = Work::new();
    let terms = |admission: AdmissionLayer| {
        admission.wait_limit(Duration::from_millis(14_500)).refuse_with(Refusal::ServiceUnavailable)
    };
    // Two after 0, two after 10 s; nobody would leave before 20 s.
    let all = clients(&meter, Start::Call, &work, 6, terms).await;
    let ends = all.iter().map(|(head, _, after)| (head.status.as_u16(), *after));
    let expected = [(200, 10.0), (200, 10.0), (200, 20.0), (200, 20.0), (503, 14.5), (503, 14.5)];
    assert_eq!(ends.collect::<Vec<_>>(), expected);
    assert_eq!(
        error(&all[5], 15),
        json!({
            "message": "This server is busy: at most 2 requests run at once, and the others wait \
                        for at most 14.5s. Try again in 15 s.",
            "type": "overloaded_error",
            "param": null,
            "code": "wait_limit_reached",
        })
    );
    assert_eq!(ended(&meter), ["failure rejected 503 2", "success stop 200 4"]);
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (4, 20.0));
    assert_eq!(histogram(&meter, &names::ADMISSION_WAIT_SECONDS), (4, 20.0));
    assert_eq!(gauge(&meter, &names::QUEUE_OLDEST_AGE_SECONDS), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_has_left_the_queue() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 1).max_waiting(1).wait_limit(SECOND * 4))
        .service(service_fn({
            let work = work.clone();
            move |request| work.clone().streams(request)
        }));
    let (mut clients, mut seen) = (Vec::new(), Vec::new());
    let since = Instant::now();
    // The second waits from 1 s until 5 s, the fourth from 7 s until the first has left at 10 s.
    for (id, at) in [(1, 0), (2, 1), (3, 2), (4, 7), (5, 8), (6, 11)] {
        sleep_until(since + SECOND * at).await;
        seen.push(in_flight(&meter));
        clients.push(tokio::spawn(read(service.clone(), request(id))));
    }
    assert_eq!(seen, [[0, 0], [0, 1], [1, 1], [0, 1], [1, 1], [0, 1]]);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(work.came(), [(1, 0.0), (4, 10.0)]);
    // The sixth has waited from 11 s until 15 s.
    assert_eq!(ended(&meter), ["failure rejected 429 4", "success stop 200 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_limit_passes() {
    let work = Work::new();
    let mut service = AdmissionLayer::new(&Meter::new(), 1)
        .max_waiting(1)
        .wait_limit(SECOND * 4)
        .layer(service_fn(|request| work.clone().streams(request)));
    // NB: not by `oneshot`, which drops a future that is done.
    let mut call = |id| Box::pin(service.call(request(id)));
    let first = now(&mut call(1)).unwrap();
    let mut second = call(2);
    assert!(poll(&mut second).is_pending());
    advance(SECOND * 5).await;
    assert_eq!(now(&mut second).unwrap().status(), 429);
    // Its future is there still, its place in the queue is not.
    let mut third = call(3);
    assert!(poll(&mut third).is_pending());
    drop(second);
    // At the same moment the limit passes and the turn comes: it is let in.
    advance(SECOND * 5).await;
    drop(first);
    assert_eq!(now(&mut third).unwrap().status(), 200);
    assert_eq!(work.order(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn eight_wait_for_each_one_that_may_run_unless_it_is_said_otherwise() {
    let (meter, work) = (Meter::new(), Work::new());
    clients(&meter, Start::Call, &work, 2 + 16 + 1, |admission| admission).await;
    assert_eq!(ended(&meter), ["failure rejected 429 1", "success stop 200 18"]);

    let (meter, work) = (Meter::new(), Work::new());
    let all = clients(&meter, Start::Call, &work, 3, |admission| admission.max_waiting(0)).await;
    assert_eq!(ended(&meter), ["failure rejected 429 1", "success stop 200 2"]);
    let message = &error(&all[2], 1)["message"];
    assert!(message.as_str().unwrap().contains("at most 0 more wait"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_0_refuses_all_and_says_what_is_allowed() {
    for max_waiting in [0, 64] {
        let meter = Meter::new();
        let work = Work::new();
        let service = ServiceBuilder::new()
            .layer(InferenceLayer::new(meter.clone()))
            .layer(AdmissionLayer::new(&meter, 0).max_waiting(max_waiting))
            .service(service_fn(|request| work.clone().streams(request)));
        let (head, body) = read(service, request(1)).await;
        let error = error(&(head, body, 0.0), 1);
        assert_eq!(error["code"], "admission_closed");
        assert!(error["message"].as_str().unwrap().ends_with("allowed is 1 or more."), "{error}");
        assert!(work.order().is_empty());
        assert_eq!(ended(&meter), ["failure rejected 429 1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_no_limits_that_are_too_large() {
    let (meter, work) = (Meter::new(), Work::new());
    let service = ServiceBuilder::new()
        .layer(AdmissionLayer::new(&meter, usize::MAX).wait_limit(Duration::MAX))
        .service(service_fn(|request| work.clone().streams(request)));
    assert_eq!(read(service, request(1)).await.0.status, 200);

    let all = clients(&meter, Start::Call, &work, 3, |admission| {
        admission.max_waiting(0).wait_limit(Duration::MAX)
    });
    error(&all.await[2], 60);
}

/// A response, and after how many seconds it was read.
type Answer = (Parts, Bytes, f64);

/// So many come at once, where two may run. What was answered by each.
async fn clients(
    meter: &Meter,
    start: Start,
    work: &Work,
    clients: u64,
    terms: impl FnOnce(AdmissionLayer) -> AdmissionLayer,
) -> Vec<Answer> {
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()).start(start))
        .layer(terms(AdmissionLayer::new(meter, 2)))
        .layer(infermeter::layer::StartedLayer)
        .service(service_fn(|request| work.clone().streams(request)));
    join_all((0..clients).map(|id| {
        let (service, since) = (service.clone(), Instant::now());
        async move {
            let (head, body) = read(service, request(id)).await;
            (head, body, (since.elapsed().as_secs_f64() * 100.0).round() / 100.0)
        }
    }))
    .await
}

/// The error that a refused request is told.
fn error((head, body, _): &Answer, retry_after: u64) -> Value {
    assert!(
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&head.status)
    );
    assert_eq!(head.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(head.headers[header::RETRY_AFTER], retry_after.to_string());
    assert_eq!(head.headers.len(), 2);
    let mut document: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 1, "{document}");
    document["error"].take()
}
