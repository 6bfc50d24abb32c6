//! A service that answers from a script, as cheap as a service can be, and what drives it: no
//! runtime, nothing that waits.

#![allow(dead_code, reason = "each program uses its own part")]

pub(crate) mod many;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use infermeter::{
    Meter,
    names::Family,
    record::{Collect, Value},
};
use tower::Service;

/// What a service answers with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) script: Script,
}

/// The frames of a body: `before` and `after` once, `body` over and over until `frames` were given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) before: &'static [&'static str],
    pub(crate) body: &'static [&'static str],
    pub(crate) frames: usize,
    pub(crate) after: &'static [&'static str],
    /// What the body says of its length, as whole answers do.
    pub(crate) length: Option<u64>,
}

/// A [`Script`] as a body.
#[derive(Debug)]
pub(crate) struct Scripted {
    script: Script,
    at: usize,
}

/// Answers every request with the same.
#[derive(Clone, Debug)]
pub(crate) struct Scripts(pub(crate) Answer);

pub(crate) const EVENTS: &str = "text/event-stream; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const COMPLETIONS: &str = "/v1/completions";

/// A chat stream as vLLM sends it.
pub(crate) const fn chat(chunks: usize) -> Answer {
    Answer {
        path: CHAT,
        content_type: EVENTS,
        script: Script {
            before: &[CHAT_PRELUDE],
            body: CHAT_CONTENT,
            frames: chunks,
            after: &[CHAT_LAST, DONE],
            length: None,
        },
    }
}

/// The shortest chat stream worth the name: four tokens, and the usage that a client asked for.
pub(crate) const TINY_CHAT: Answer = {
    let mut answer = chat(3);
    answer.script.after = &[CHAT_LAST, CHAT_USAGE, DONE];
    answer
};

/// A whole answer of one frame.
pub(crate) const fn whole(path: &'static str, frame: &'static [&'static str; 1]) -> Answer {
    Answer {
        path,
        content_type: JSON,
        script: Script {
            before: &[],
            body: frame,
            frames: 1,
            after: &[],
            length: Some(frame[0].len() as u64),
        },
    }
}

// === impl Scripted ===

impl Scripted {
    pub(crate) const fn new(script: Script) -> Self {
        Self { script, at: 0 }
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Script { before, body, frames, after, length: _ } = self.script;
        let at = self.at;
        self.at += 1;
        let frame = if at < before.len() {
            Some(before[at])
        } else if at - before.len() < frames {
            Some(body[(at - before.len()) % body.len()])
        } else {
            after.get(at - before.len() - frames).copied()
        };
        Poll::Ready(frame.map(|frame| Ok(Frame::data(Bytes::from_static(frame.as_bytes())))))
    }

    fn size_hint(&self) -> SizeHint {
        self.script.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

// === impl Scripts ===

impl<B> Service<Request<B>> for Scripts {
    type Response = Response<Scripted>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Scripted>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        let mut response = Response::new(Scripted::new(self.0.script));
        let content_type = HeaderValue::from_static(self.0.content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        ready(Ok(response))
    }
}

/// What a router leaves with a request, the matched path for instance: where nothing else is, the
/// first one to put something there pays for the map.
#[derive(Clone, Copy, Debug)]
struct FromRouter;

/// Sends one request and reads the answer to its end; the number of frames.
pub(crate) fn request<S, B>(service: &mut S, path: &'static str) -> usize
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Infallible>,
{
    let mut request = Request::new(());
    request.extensions_mut().insert(FromRouter);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let mut body = pin!(open(service, request).into_body());
    let mut frames = 0;
    while let Some(frame) = next(body.as_mut()) {
        black_box(frame);
        frames += 1;
    }
    frames
}

/// The response to a request.
pub(crate) fn open<S, B>(service: &mut S, request: Request<()>) -> Response<B>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else { panic!("is always ready") };
    let response = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = response.poll(&mut cx) else { panic!("answers at once") };
    response
}

/// The next frame of a body.
pub(crate) fn next<B: Body<Error = Infallible>>(body: Pin<&mut B>) -> Option<Frame<B::Data>> {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(frame) = body.poll_frame(&mut cx) else { panic!("never waits") };
    frame.map(|Ok(frame)| frame)
}

/// What a meter counted: a counter, or the observations of a histogram.
pub(crate) fn counted(meter: &Meter, family: &'static Family) -> u64 {
    let readings = meter.collect();
    let counts = readings.series(family).iter().map(|series| match &series.value {
        Value::Counter(n) => *n,
        Value::Histogram(histogram) => histogram.count(),
        other => panic!("counts nothing: {other:?}"),
    });
    counts.sum()
}

// === What vLLM sends ===

pub(crate) const CHAT_PRELUDE: &str = concat!(
    r#"data: {"id":"chatcmpl-890595211c944ea4","object":"chat.completion.chunk","created":1795503245,"model":"tiny-qwen","#,
    r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"#,
    r#""prompt_token_ids":null,"prompt_text":null}"#,
    "\n\n",
);

macro_rules! chat_content {
    ($($text:literal,)*) => {
        &[$(concat!(
            r#"data: {"id":"chatcmpl-890595211c944ea4","object":"chat.completion.chunk","created":1795503245,"model":"tiny-qwen","#,
            r#""choices":[{"index":0,"delta":{"content":""#, $text, r#""},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
            "\n\n",
        ),)*]
    };
}

/// Eight different tokens, 214 to 229 bytes a frame.
pub(crate) const CHAT_CONTENT: &[&str] = chat_content! {
    " consis", " happens", "dict", "cess", " underscores", "o", "PR", " boolean",
};

pub(crate) const CHAT_LAST: &str = concat!(
    r#"data: {"id":"chatcmpl-890595211c944ea4","object":"chat.completion.chunk","created":1795503245,"model":"tiny-qwen","#,
    r#""choices":[{"index":0,"delta":{"content":" numbers"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}]}"#,
    "\n\n",
);

pub(crate) const CHAT_USAGE: &str = concat!(
    r#"data: {"id":"chatcmpl-890595211c944ea4","object":"chat.completion.chunk","created":1795503245,"model":"tiny-qwen","#,
    r#""choices":[],"usage":{"prompt_tokens":24,"total_tokens":28,"completion_tokens":4},"system_fingerprint":"vllm-0.32.0-ddf0bc54"}"#,
    "\n\n",
);

pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// 802 bytes.
pub(crate) const CHAT_WHOLE: [&str; 1] = [concat!(
    r#"{"id":"chatcmpl-a574fac7c3587459","object":"chat.completion","created":1795503244,"model":"tiny-qwen","choices":[{"index":0,"#,
    r#""message":{"role":"assistant","content":" consis happensdictcess underscoresoPR�inver eframekeyssequence count                   andlefttition boolean numbers","#,
    r#""refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"length","#,
    r#""stop_reason":null,"token_ids":null,"routed_experts":null}],"service_tier":null,"system_fingerprint":"vllm-0.32.0-ddf0bc54","#,
    r#""usage":{"prompt_tokens":24,"total_tokens":44,"completion_tokens":20,"prompt_tokens_details":null,"completion_tokens_details":null},"#,
    r#""prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}"#,
)];
