//! A service that works on a request for as long as it is told, and knows who was there when.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, header, response::Parts};
use http_body_util::BodyExt;
use infermeter::{
    Meter,
    names::Family,
    record::{Collect, HistogramReading, Value},
};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use super::support::scrape::Scrape;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

const CONTENT: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}],\
    \"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";

/// Who was worked on.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    log: Arc<Mutex<Log>>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Log {
    /// The `x-id` of each, and after how many seconds it came.
    came: Vec<(u64, f64)>,
    running: usize,
    most: usize,
}

/// Being worked on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Working(Arc<Mutex<Log>>);

// === impl Work ===

impl Work {
    pub(crate) fn new() -> Self {
        Self { log: Arc::default(), since: Instant::now() }
    }

    /// Begins to work on a request.
    pub(crate) fn begin<B>(&self, request: &Request<B>) -> Working {
        let id = request.headers().get("x-id").map_or("0", |id| id.to_str().unwrap());
        let mut log = self.log.lock().unwrap();
        log.came.push((id.parse().unwrap(), seconds(self.since.elapsed())));
        log.running += 1;
        log.most = log.most.max(log.running);
        Working(Arc::clone(&self.log))
    }

    /// Streams for 10 s.
    pub(crate) async fn streams<B>(
        self,
        request: Request<B>,
    ) -> Result<Response<Body>, Infallible> {
        let working = self.begin(&request);
        let frames = [(5, CONTENT), (5, LAST)].into_iter();
        let frames = stream::unfold((frames, working), |(mut frames, working)| async {
            let (seconds, text) = frames.next()?;
            sleep(SECOND * seconds).await;
            Some((Ok::<_, Infallible>(text), (frames, working)))
        });
        Ok(response(Body::from_stream(frames)))
    }

    /// Thinks for 10 s, then answers.
    pub(crate) async fn thinks<B>(self, request: Request<B>) -> Result<Response<Body>, Infallible> {
        let _working = self.begin(&request);
        sleep(SECOND * 10).await;
        Ok(response(Body::from(CONTENT.to_owned() + LAST)))
    }

    /// Who came, and after how many seconds.
    pub(crate) fn came(&self) -> Vec<(u64, f64)> {
        self.log.lock().unwrap().came.clone()
    }

    pub(crate) fn order(&self) -> Vec<u64> {
        self.came().into_iter().map(|(id, _)| id).collect()
    }

    /// How many were worked on at once, at most.
    pub(crate) fn most(&self) -> usize {
        self.log.lock().unwrap().most
    }

    pub(crate) fn running(&self) -> usize {
        self.log.lock().unwrap().running
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.lock().unwrap().running -= 1;
    }
}

fn response(body: Body) -> Response<Body> {
    Response::builder().header(header::CONTENT_TYPE, "text/event-stream").body(body).unwrap()
}

// === clients ===

pub(crate) fn request(id: u64) -> Request<Body> {
    let request = Request::post("/v1/completions").header("x-id", id);
    request.body(Body::empty()).unwrap()
}

/// Sends a request and reads the whole answer.
pub(crate) async fn read<S, B>(service: S, request: Request<Body>) -> (Parts, Bytes)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    (head, body.collect().await.unwrap().to_bytes())
}

/// Polls a future once; nobody is woken.
pub(crate) fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// What a future gives that is ready.
pub(crate) fn now<F: Future>(future: &mut Pin<Box<F>>) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

// === readings ===

/// Count and sum over all models.
pub(crate) fn histogram(meter: &Meter, family: &'static Family) -> (u64, f64) {
    let reading = reading(meter, family);
    (reading.count(), (reading.sum * 1000.0).round() / 1000.0)
}

/// The buckets that are not empty: upper bound and count.
pub(crate) fn buckets(meter: &Meter, family: &'static Family) -> Vec<(f64, u64)> {
    let reading = reading(meter, family);
    let bounds = reading.bounds.iter().copied().chain([f64::INFINITY]);
    bounds.zip(reading.counts).filter(|(_, count)| *count > 0).collect()
}

fn reading(meter: &Meter, family: &'static Family) -> HistogramReading {
    let readings = meter.collect();
    let [series] = readings.series(family) else { panic!("{:?}", readings.series(family)) };
    let Value::Histogram(reading) = &series.value else { panic!("{series:?}") };
    reading.clone()
}

/// A gauge of the only model, if it is there.
pub(crate) fn gauge(meter: &Meter, family: &'static Family) -> Option<f64> {
    let readings = meter.collect();
    match readings.series(family) {
        [] => None,
        [series] => {
            let Value::Gauge(value) = series.value else { panic!("{series:?}") };
            Some((value * 1000.0).round() / 1000.0)
        }
        more => panic!("{more:?}"),
    }
}

/// How many are in the queue, and how many run; the scrape adds up.
pub(crate) fn in_flight(meter: &Meter) -> [u64; 2] {
    let scrape = Scrape::of(meter);
    scrape.assert_identities();
    let phase = |phase| scrape.sum("infermeter_requests_in_flight", &[("phase", phase)]);
    [phase("queue"), phase("prefill") + phase("decode")]
}

/// `outcome reason code count` of all that ended; the scrape adds up.
pub(crate) fn ended(meter: &Meter) -> Vec<String> {
    let scrape = Scrape::of(meter);
    scrape.assert_identities();
    let ended = scrape.counted("infermeter_requests_total").into_iter();
    let mut ended: Vec<String> =
        ended.map(|labels| labels.split_once(" completions ").unwrap().1.to_owned()).collect();
    ended.sort();
    ended
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
