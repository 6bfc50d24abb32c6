//! A load on the service, over real sockets: clients that come by chance, and now and then many at
//! once.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, header},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    fault,
    front::TENANT,
    visits::{Stay, Visit},
};

/// More clients than this are not there at once; who comes then turns round at the door.
const MOST_CLIENTS: usize = 160;

/// Between two bursts.
const BURSTS: Duration = Duration::from_secs(10);

const FIRST_BURST: Duration = Duration::from_secs(4);

/// The part of all requests that comes in bursts.
const IN_BURSTS: f64 = 0.5;

/// How long those that are still there may stay when the load ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The same clients in every run.
const SEED: u64 = 40;

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// Sends so many requests per second until `stop` is sent or dropped.
pub(crate) async fn run(service: SocketAddr, rate: f64, mut stop: oneshot::Receiver<()>) {
    if rate == 0.0 {
        let _ = stop.await;
        return;
    }
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut clients = JoinSet::new();
    let burst = (rate * IN_BURSTS * BURSTS.as_secs_f64()).round() as usize;
    let (mut next, mut next_burst) = (Instant::now(), Instant::now() + FIRST_BURST);
    loop {
        let arrivals = tokio::select! {
            _ = &mut stop => break,
            Some(_) = clients.join_next() => 0,
            () = sleep_until(next_burst) => {
                next_burst += BURSTS;
                burst
            }
            () = sleep_until(next) => {
                next += gap(&mut random, rate * (1.0 - IN_BURSTS));
                1
            }
        };
        for _ in 0..arrivals.min(MOST_CLIENTS - clients.len()) {
            let visit = Visit::next(&mut random);
            clients.spawn(pay(client.clone(), service, visit));
        }
    }
    let the_last = async { while clients.join_next().await.is_some() {} };
    // Whoever is still there then is sent away.
    let _ = timeout(LAST_ANSWERS, the_last).await;
}

/// Between two that come by chance.
fn gap(random: &mut fastrand::Rng, rate: f64) -> Duration {
    // `1 - x` is never 0; the rate is not either.
    Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate)
}

/// Sends one request, and reads the answer for as long as its client stays.
async fn pay(client: HttpClient, service: SocketAddr, visit: Visit) {
    let Visit { path, body, tenant, fault, stay } = visit;
    let mut request = Request::post(format!("http://{service}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(TENANT, tenant);
    if let Some(fault) = fault {
        request = request.header(fault::HEADER, fault.as_str());
    }
    let Ok(request) = request.body(Full::from(body)) else { return };
    let answer = async {
        // A service that is gone, or breaks off, is what some of it is about.
        let Ok(mut answer) = client.request(request).await else { return };
        let mut frames = 0;
        while stay != Stay::Frames(frames) {
            let Some(Ok(_)) = answer.frame().await else { return };
            frames += 1;
        }
    };
    match stay {
        Stay::Impatient(patience) => {
            let _ = timeout(patience, answer).await;
        }
        Stay::ToTheEnd | Stay::Frames(_) => answer.await,
    }
}
