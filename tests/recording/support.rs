//! Requests whose answers come at known moments, and what a meter then holds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use infermeter::{
    InferenceLayer, Meter, Start,
    names::Family,
    record::{Collect, HistogramReading, Value},
};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

pub(crate) const CONTENT: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
pub(crate) const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const USAGE_4: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
pub(crate) const USAGE_120: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":120}}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

pub(crate) type Events = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A response that sends each text so many milliseconds after the one before.
pub(crate) fn events(
    events: impl IntoIterator<Item = (u64, &'static str), IntoIter: Send + 'static>,
) -> Response<Events> {
    let mut events = events.into_iter().peekable();
    let kind = match events.peek() {
        Some((_, text)) if text.starts_with("data:") => "text/event-stream",
        Some((_, text)) if text.starts_with('{') => "application/json",
        _ => "text/plain",
    };
    let frames = stream::unfold(events, |mut events| async {
        let (ms, text) = events.next()?;
        sleep(Duration::from_millis(ms)).await;
        Some((Ok(Frame::data(Bytes::from_static(text.as_bytes()))), events))
    });
    let body: Events = StreamBody::new(Box::pin(frames));
    Response::builder().header("content-type", kind).body(body).unwrap()
}

/// Sends one request and reads the whole answer. It is in the queue until something says not.
pub(crate) async fn complete<F>(
    meter: &Meter,
    handler: impl FnOnce(Request<Empty<Bytes>>) -> F + Clone,
) where
    F: Future<Output = Response<Events>>,
{
    let service = service_fn(|request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler(request).await) }
    });
    let service = InferenceLayer::new(meter.clone()).start(Start::Reported).layer(service);
    let request = Request::post("/v1/completions").body(Empty::new()).unwrap();
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

/// All models together; every histogram of a family has the same bounds.
pub(crate) fn histograms(meter: &Meter, family: &'static Family) -> HistogramReading {
    let readings = meter.collect();
    let series = readings.series(family).iter().map(|series| match &series.value {
        Value::Histogram(reading) => reading.clone(),
        other => panic!("{other:?}"),
    });
    let sum = series.reduce(|mut sum, next| {
        sum.counts.iter_mut().zip(&next.counts).for_each(|(sum, n)| *sum += n);
        sum.sum += next.sum;
        sum
    });
    sum.unwrap()
}

/// Count, and sum to the microsecond.
pub(crate) fn histogram(meter: &Meter, family: &'static Family) -> (u64, f64) {
    let reading = histograms(meter, family);
    (reading.count(), (reading.sum * 1e6).round() / 1e6)
}

pub(crate) fn counter(meter: &Meter, family: &'static Family) -> u64 {
    sum(meter, family, |_| true)
}

pub(crate) fn with_label(meter: &Meter, family: &'static Family, label: &str) -> u64 {
    sum(meter, family, |labels| labels.iter().any(|value| &**value == label))
}

pub(crate) fn sum(
    meter: &Meter,
    family: &'static Family,
    chosen: impl Fn(&[Arc<str>]) -> bool,
) -> u64 {
    let readings = meter.collect();
    let series = readings.series(family).iter().filter(|series| chosen(&series.labels));
    let values = series.map(|series| match series.value {
        Value::Counter(n) => n,
        ref other => panic!("{other:?}"),
    });
    values.sum()
}
