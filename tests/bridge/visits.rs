//! Requests of every kind.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use infermeter::{InferenceLayer, Meter, RequestMeter, Start};
use proptest::prelude::*;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

type Answer = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// One request, from its arrival to its end.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    model: &'static str,
    end: u8,
    wait_ms: u64,
    gaps_us: Vec<u64>,
    pub(crate) prompt_tokens: u64,
    tokens_per_event: u64,
}

// === impl Visit ===

impl Visit {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let times = || (0..24_u32, any::<u64>()).prop_map(|(bits, any)| any >> (63 - bits));
        let model = prop::sample::select(vec!["m", "m1", "m2", "m3"]);
        let gaps = prop::collection::vec(times(), 0..8);
        (model, 0..5_u8, times(), gaps, times(), 1..4_u64).prop_map(
            |(model, end, wait_ms, gaps_us, prompt_tokens, tokens_per_event)| Self {
                model,
                end,
                wait_ms,
                gaps_us,
                prompt_tokens,
                tokens_per_event,
            },
        )
    }

    async fn happen(&self, meter: &Meter) {
        let service = service_fn(|request| async move {
            Ok::<_, Infallible>(self.answer(RequestMeter::of(&request)).await)
        });
        let service = InferenceLayer::new(meter.clone()).start(Start::Reported).layer(service);
        let request = Request::post("/v1/completions").body(Empty::<Bytes>::new()).unwrap();
        let mut body = service.oneshot(request).await.unwrap().into_body();
        let stays_for = if self.end == 1 { self.gaps_us.len() / 2 } else { usize::MAX };
        for _ in 0..stays_for {
            if !matches!(body.frame().await, Some(Ok(_))) {
                break;
            }
        }
    }

    async fn answer(&self, handle: RequestMeter) -> Response<Answer> {
        handle.model(self.model);
        handle.prompt_tokens(self.prompt_tokens);
        sleep(Duration::from_millis(self.wait_ms)).await;
        handle.started();
        let (end, tokens) = (self.end, self.tokens_per_event);
        let events = stream::iter(self.gaps_us.clone()).then(move |us| {
            let handle = handle.clone();
            async move {
                sleep(Duration::from_micros(us)).await;
                handle.add_generated_tokens(tokens);
                Ok(Bytes::from_static(b"data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n"))
            }
        });
        let last = stream::iter([match end {
            2 => Err(io::Error::other("the engine is gone")),
            _ => Ok(Bytes::from_static(b"data: [DONE]\n\n")),
        }]);
        let body = StreamBody::new(events.chain(last).map(|part| part.map(Frame::data)).boxed());
        let status = if end == 3 { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
        let head = Response::builder().status(status).header("content-type", "text/event-stream");
        head.body(body).unwrap()
    }
}

pub(crate) fn visit(meter: &Meter) {
    let visit = Visit {
        model: "m",
        end: 0,
        wait_ms: 0,
        gaps_us: vec![0, 10, 3000],
        prompt_tokens: 7,
        tokens_per_event: 1,
    };
    visits(&[visit], meter);
}

/// All at once, in a time of their own.
pub(crate) fn visits(visits: &[Visit], meter: &Meter) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let all = visits.iter().map(|visit| visit.happen(meter));
    runtime.block_on(futures_util::future::join_all(all));
}
