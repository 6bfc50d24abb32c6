//! Many requests on many threads, whose clients leave when they like.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::BodyExt;
use infermeter::{AdmissionLayer, InferenceLayer, Meter, Start};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::{
    support::scrape::Scrape,
    work::{Work, gauge, request},
};

const RUNNING: usize = 3;
const WAITING: usize = 5;

/// On their way at once, and how many times over.
const CLIENTS: u64 = 16;
const ROUNDS: u64 = 800;

/// How long it may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn in_a_storm_never_more_run_and_every_scrape_adds_up() {
    let meter = Meter::new();
    let work = Work::new();
    let admission = AdmissionLayer::new(&meter, RUNNING).max_waiting(WAITING);
    let admission = admission.wait_limit(Duration::from_millis(1));
    let handler = {
        let work = work.clone();
        move |request| serve(work.clone(), request)
    };
    // Two ways into one limit.
    let app = Router::new()
        .route("/v1/completions", post(handler.clone()))
        .layer(admission.clone())
        .layer(InferenceLayer::new(meter.clone()));
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()).start(Start::Reported))
        .layer(admission)
        .layer(infermeter::layer::StartedLayer)
        .service(service_fn(move |request| {
            let response = handler(request);
            async { Ok::<_, Infallible>(response.await) }
        }));
    let service = service.map_response(|response| response.map(Body::new));

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraping = scope.spawn(|| scrape(&meter, &is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (app, service) = (app.clone(), service.clone());
                runtime.spawn(async move {
                    for round in 0..ROUNDS {
                        let id = client * ROUNDS + round;
                        match id % 2 {
                            0 => visit(app.clone(), id).await,
                            _ => visit(service.clone(), id).await,
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            runtime.block_on(client).unwrap();
        }
        is_over.store(true, Relaxed);
        scraping.join().unwrap();
    });

    assert_eq!(work.running(), 0);
    assert_eq!(work.most(), RUNNING, "never more, and as many as may");
    let at_rest = Scrape::of(&meter);
    at_rest.assert_identities();
    let count = |labels: &[_]| at_rest.sum("infermeter_requests_total", labels);
    assert_eq!(count(&[]), CLIENTS * ROUNDS);
    let refused = count(&[("reason", "rejected")]);
    assert_eq!(refused, count(&[("code", "429")]));
    let left = count(&[("outcome", "aborted"), ("reason", "queue")]);
    let never_let_in = at_rest.sum("infermeter_requests_received_total", &[])
        - u64::try_from(work.order().len()).unwrap();
    assert!(refused > 0 && left > 0, "there was no storm");
    assert_eq!(never_let_in, refused + left);
    let queued = count(&[]) - refused - left;
    for name in ["vllm:time_in_queue_seconds_count", "infermeter_admission_wait_seconds_count"] {
        assert_eq!(at_rest.sum(name, &[]), queued, "{name}");
    }
    assert_eq!(gauge(&meter, &infermeter::names::QUEUE_OLDEST_AGE_SECONDS), Some(0.0));

    // All places are there again.
    let all = (0..RUNNING as u64).map(|id| app.clone().oneshot(request(id * 8)));
    let all = runtime.block_on(futures_util::future::join_all(all));
    assert!(all.iter().all(|response| response.as_ref().unwrap().status() == 200));
}

/// Works for a few turns, in one of several ways.
async fn serve(work: Work, request: Request<Body>) -> Response<Body> {
    let working = work.begin(&request);
    let id: u64 = request.headers()["x-id"].to_str().unwrap().parse().unwrap();
    for _ in 0..mixed(id) % 4 {
        tokio::task::yield_now().await;
    }
    let frames = stream::unfold((0, Some(working)), move |(n, working)| async move {
        tokio::task::yield_now().await;
        let breaks = n == 1 && (mixed(id) >> 8) % 8 == 0;
        // After an error it does not work on.
        let working = working.filter(|_| !breaks);
        let frame = Bytes::from_static(b"data: {\"choices\":[]}\n\n");
        let frame = if breaks { Err("it broke") } else { Ok(frame) };
        (n < 3).then_some((frame, (n + 1, working)))
    });
    Response::new(Body::from_stream(frames))
}

/// One request, by a client who leaves when it likes.
async fn visit<S>(service: S, id: u64)
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let patience = 1 + (mixed(id) >> 16) % 24;
    let visit = async {
        let response = service.oneshot(request(id)).await.unwrap();
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    };
    let leaves = async {
        for _ in 0..patience {
            tokio::task::yield_now().await;
        }
        if patience > 16 {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = leaves => {}
        () = visit => {}
    }
}

fn scrape(meter: &Meter, is_over: &AtomicBool) {
    let mut before = Scrape::of(meter);
    let mut over_since = None;
    loop {
        let now = Scrape::of(meter);
        now.assert_identities();
        now.assert_grown_from(&before);
        if is_over.load(Relaxed) {
            let since = *over_since.get_or_insert_with(Instant::now);
            if now.in_flight() == 0 {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "some are in flight for ever");
        }
        before = now;
    }
}

/// Numbers that have no pattern.
fn mixed(id: u64) -> u64 {
    id.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}
