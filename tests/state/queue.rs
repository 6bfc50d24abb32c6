//! Signs of life: how long the request that waits longest has been waiting.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use infermeter::{InferenceLayer, Meter, RequestMeter, Start, layer::StartedLayer, names};
use tokio::{task::JoinHandle, time::sleep};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn,
};

use super::support::*;

fn oldest(meter: &Meter) -> Option<f64> {
    gauge(meter, &names::QUEUE_OLDEST_AGE_SECONDS)
}

fn waiting(meter: &Meter) -> Vec<String> {
    shown(meter, &names::NUM_REQUESTS_WAITING)
}

/// A service that lets one request in at a time, and works ten seconds on it.
fn one_at_a_time(
    meter: &Meter,
    start: Start,
) -> impl Service<Request<()>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static {
    ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()).start(start))
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .layer(StartedLayer)
        .service(service_fn(async |_: Request<()>| {
            sleep(SECOND * 10).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        }))
}

fn send<S>(service: &S) -> JoinHandle<()>
where
    S: Service<Request<()>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
{
    let service = service.clone();
    tokio::spawn(async {
        let request = Request::post("/v1/completions").body(()).unwrap();
        drop(service.oneshot(request).await);
    })
}

#[tokio::test(start_paused = true)]
async fn the_first_that_waits_tells_and_then_the_next_one() {
    for start in [Start::Call, Start::Reported] {
        let meter = Meter::new().model("m");
        let service = one_at_a_time(&meter, start);
        assert_eq!(oldest(&meter), Some(0.0));
        let mut requests = Vec::new();
        // Arrivals at 0, 1, 2; starts at 0, 10, 20.
        for _ in 0..3 {
            requests.push(send(&service));
            sleep(SECOND).await;
        }
        assert_eq!(waiting(&meter), ["m 0 2"], "{start:?}");
        assert_eq!(oldest(&meter), Some(2.0), "{start:?}");
        sleep(Duration::from_millis(6_500)).await;
        assert_eq!(oldest(&meter), Some(8.5), "{start:?}");
        sleep(SECOND).await;
        assert_eq!((waiting(&meter), oldest(&meter)), (vec!["m 0 1".to_owned()], Some(8.5)));
        // The last one gives up.
        requests.pop().unwrap().abort();
        sleep(Duration::from_millis(500)).await;
        assert_eq!((waiting(&meter), oldest(&meter)), (vec!["m 0 0".to_owned()], Some(0.0)));
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!(oldest(&meter), Some(0.0));
        assert_eq!(shown(&meter, &names::REQUEST_ABORTED_TOTAL), ["m 1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_came_at_once_are_told_apart() {
    let meter = Meter::new().model("m");
    let service = one_at_a_time(&meter, Start::Call);
    let requests: Vec<_> = (0..4).map(|_| send(&service)).collect();
    sleep(SECOND * 5).await;
    for (left, ages) in [(3, 5.0), (2, 15.0), (1, 25.0), (0, 0.0)] {
        assert_eq!(waiting(&meter), [format!("m 0 {left}")]);
        assert_eq!(oldest(&meter), Some(ages));
        sleep(SECOND * 10).await;
    }
    for request in requests {
        request.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_waits_until_its_first_content() {
    let meter = Meter::new().model("m");
    let layer = InferenceLayer::new(meter.clone()).start(Start::Reported);
    let service = layer.layer(service_fn(async |request: Request<()>| {
        if request.headers().contains_key("starts") {
            sleep(SECOND * 3).await;
            RequestMeter::of(&request).started();
        }
        Ok::<_, Infallible>(events([(7000, CONTENT), (1000, DONE)]))
    }));
    for (starts, waits) in [(false, 7), (true, 3)] {
        let service = service.clone();
        let request = tokio::spawn(async move {
            let mut request = Request::post("/v1/completions");
            if starts {
                request = request.header("starts", "1");
            }
            let request = request.body(()).unwrap();
            service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        });
        sleep(Duration::from_millis(500)).await;
        for second in 0..waits {
            assert_eq!(oldest(&meter), Some(f64::from(second) + 0.5));
            sleep(SECOND).await;
        }
        assert_eq!(oldest(&meter), Some(0.0), "{starts}");
        request.await.unwrap();
        assert_eq!(oldest(&meter), Some(0.0));
    }
}
