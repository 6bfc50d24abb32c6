//! Clients that leave while they wait.

use axum::body::Body;
use http::{Request, Response};
use infermeter::{
    AdmissionLayer, InferenceLayer, Meter,
    names::{self, ADMISSION_WAIT_SECONDS, TIME_IN_QUEUE_SECONDS},
};
use tokio::time::{advance, sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};

use super::work::{SECOND, Work, ended, gauge, histogram, in_flight, now, poll, read, request};

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_waits_makes_room_at_once() {
    let meter = Meter::new();
    let work = Work::new();
    let service = stack(&meter, &work, AdmissionLayer::new(&meter, 1).max_waiting(2));
    let call = |id| Box::pin(service.clone().oneshot(request(id)));
    let first = now(&mut call(1)).unwrap();
    let (mut second, mut third) = (call(2), call(3));
    assert!(poll(&mut second).is_pending());
    advance(SECOND).await;
    assert!(poll(&mut third).is_pending());
    assert_eq!(now(&mut call(9)).unwrap().status(), 429);
    assert_eq!(gauge(&meter, &names::QUEUE_OLDEST_AGE_SECONDS), Some(1.0));

    advance(SECOND).await;
    drop(second);
    assert_eq!(ended(&meter), ["aborted queue none 1", "failure rejected 429 1"]);
    assert_eq!(in_flight(&meter), [1, 1]);
    assert_eq!(gauge(&meter, &names::QUEUE_OLDEST_AGE_SECONDS), Some(1.0));
    let mut fourth = call(4);
    assert!(poll(&mut fourth).is_pending(), "one more may wait");

    drop(first);
    let third = now(&mut third).unwrap();
    assert!(poll(&mut fourth).is_pending());
    drop(third);
    now(&mut fourth).unwrap();
    assert_eq!(work.order(), [1, 3, 4]);
    // The second is in neither histogram.
    assert_eq!(histogram(&meter, &TIME_IN_QUEUE_SECONDS), (3, 1.0));
    assert_eq!(histogram(&meter, &ADMISSION_WAIT_SECONDS), (3, 1.0));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_when_it_was_handed_a_place_hands_it_on() {
    let meter = Meter::new();
    let work = Work::new();
    let service = stack(&meter, &work, AdmissionLayer::new(&meter, 1));
    let call = |id| Box::pin(service.clone().oneshot(request(id)));
    let first = now(&mut call(1)).unwrap();
    let mut waiting = [call(2), call(3), call(4)];
    assert!(waiting.iter_mut().all(|call| poll(call).is_pending()));
    let [second, third, mut fourth] = waiting;
    drop(first);
    // The second has the place, and has not been told.
    drop(second);
    drop(third);
    let fourth = now(&mut fourth).unwrap();
    assert_eq!(ended(&meter), ["aborted prefill 200 1", "aborted queue none 2"]);

    // The last one lays it down, and the next one finds it.
    let mut fifth = call(5);
    assert!(poll(&mut fifth).is_pending());
    drop(fourth);
    drop(fifth);
    now(&mut call(6)).unwrap();
    assert_eq!(work.order(), [1, 4, 6]);
    assert_eq!(in_flight(&meter), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_of_admission_covers_the_wait() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(TimeoutLayer::new(SECOND * 5))
        .layer(AdmissionLayer::new(&meter, 1))
        .service(service_fn({
            let work = work.clone();
            move |request| work.clone().streams(request)
        }));
    let first = tokio::spawn(read(service.clone(), request(1)));
    sleep(SECOND).await;
    service.clone().oneshot(request(2)).await.unwrap_err();
    first.await.unwrap();
    assert_eq!(ended(&meter), ["failure server_error none 1", "success stop 200 1"]);
    assert_eq!(histogram(&meter, &TIME_IN_QUEUE_SECONDS), (1, 0.0));
    read(service, request(3)).await;
    assert_eq!(work.came(), [(1, 0.0), (3, 10.0)]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_is_worked_on_leaves_its_place() {
    let meter = Meter::new();
    let work = Work::new();
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(&meter, 1))
        .service(service_fn({
            let work = work.clone();
            move |request| work.clone().thinks(request)
        }));
    let second = tokio::spawn({
        let service = service.clone();
        async move {
            sleep(SECOND).await;
            read(service, request(2)).await
        }
    });
    timeout(SECOND * 4, read(service, request(1))).await.unwrap_err();
    second.await.unwrap();
    assert_eq!(work.came(), [(1, 0.0), (2, 4.0)]);
    assert_eq!(work.most(), 1, "the first was gone before the second came");
    assert_eq!(ended(&meter), ["aborted prefill none 1", "success stop 200 1"]);
    assert_eq!(histogram(&meter, &TIME_IN_QUEUE_SECONDS), (2, 3.0));
}

fn stack(
    meter: &Meter,
    work: &Work,
    admission: AdmissionLayer,
) -> impl Service<
    Request<Body>,
    Response = Response<impl http_body::Body<Error: std::fmt::Debug>>,
    Error = std::convert::Infallible,
> + Clone {
    let work = work.clone();
    ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(admission)
        .service(service_fn(move |request| work.clone().streams(request)))
}
