//! What the layer allocates: nothing for a plain content event, little for a request, and nothing
//! that stays.

#[path = "../benches/scripted/mod.rs"]
mod scripted;

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use infermeter::{
    InferenceLayer, Meter, RequestMeter,
    layer::{Endpoint, InferenceService, ResponseBody},
    names,
    wire::Wire,
};
use scripted::{
    Answer, CHAT, CHAT_CONTENT, CHAT_LAST, CHAT_USAGE, CHAT_WHOLE, COMPLETIONS, DONE, EVENTS,
    Script, Scripted, Scripts, TINY_CHAT, chat, counted, next, open, request, whole,
};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// NB: no test harness, since the allocator counts what all threads do.
fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let tests: [(&str, fn()); 5] = [
        ("plain content events allocate nothing", plain_content_events_allocate_nothing),
        ("events over two frames allocate nothing", events_over_two_frames_allocate_nothing),
        (
            "events that are never alike allocate nothing",
            events_that_are_never_alike_allocate_nothing,
        ),
        ("a request allocates a few blocks", a_request_allocates_a_few_blocks),
        ("a million tokens leave the heap as it was", a_million_tokens_leave_the_heap_as_it_was),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    println!("{} passed, 0 failed", tests.len());
}

fn plain_content_events_allocate_nothing() {
    let chat = |delta: &str| {
        event(&format!(r#""delta":{{{delta}}},"logprobs":null,"finish_reason":null"#), 0)
    };
    let arguments = |text: &str| {
        chat(&format!(r#""tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]"#))
    };
    let two = |index| event(r#""delta":{"content":"x"},"finish_reason":null"#, index);
    let completions = [event(r#""text":" a","finish_reason":null"#, 0)];

    for (what, path, frames) in [
        ("chat", CHAT, CHAT_CONTENT.iter().map(|frame| (*frame).to_owned()).collect()),
        ("completions", COMPLETIONS, completions.to_vec()),
        ("reasoning", CHAT, vec![chat(r#""reasoning_content":"hm""#)]),
        ("escapes", CHAT, vec![chat(r#""content":"\"\\\n""#), chat(r#""content":"\u00e9""#)]),
        ("tool calls", CHAT, vec![arguments(r#"{\"a\":"#), arguments("1}")]),
        ("two choices", CHAT, vec![two(0), two(1)]),
        ("several in a frame", CHAT, vec![CHAT_CONTENT.concat()]),
    ] {
        assert_eq!(blocks_of_frames(path, leak(frames)), 0, "{what}");
    }
}

/// Their bytes are copied, into a buffer that stays as long as the stream.
fn events_over_two_frames_allocate_nothing() {
    let halves = CHAT_CONTENT.iter().flat_map(|frame| {
        let (start, end) = frame.split_at(frame.len() / 2);
        [start.to_owned(), end.to_owned()]
    });
    assert_eq!(blocks_of_frames(CHAT, leak(halves.collect())), 0);
}

/// They are parsed; what is kept of their shape stays in the same buffers.
fn events_that_are_never_alike_allocate_nothing() {
    let numbered = (0..100).map(|n| {
        let content = r#""delta":{"content":"x"},"finish_reason":null"#;
        event(&format!(r#""obfuscation":"{n}",{content}"#), 0)
    });
    assert_eq!(blocks_of_frames(CHAT, leak(numbered.collect())), 0);
}

/// An endpoint whose answers are not read.
const OPAQUE: &str = "/v1/opaque";

fn a_request_allocates_a_few_blocks() {
    for (what, answer, most) in [
        ("not read", whole(OPAQUE, &CHAT_WHOLE), 3),
        ("whole", whole(CHAT, &CHAT_WHOLE), 6),
        ("stream", TINY_CHAT, 10),
    ] {
        let mut bare = Scripts(answer);
        let mut layer = layer(&Meter::new()).layer(bare.clone());
        request(&mut layer, answer.path);
        let (bare, ours) = (
            blocks(|| request(&mut bare, answer.path)),
            blocks(|| request(&mut layer, answer.path)),
        );
        assert!(ours - bare <= most, "{what}: {} blocks", ours - bare);
    }
}

fn a_million_tokens_leave_the_heap_as_it_was() {
    const REQUESTS: u64 = 500;
    const TOKENS: u64 = 1000;
    let meter = Meter::new().model("tiny-qwen");
    let mut streams = layer(&meter).layer(Scripts(chat(TOKENS as usize - 1)));
    let mut engine = layer(&meter).layer(Engine(TOKENS));
    let mut serve = |requests| {
        for _ in 0..requests {
            request(&mut streams, CHAT);
            request(&mut engine, COMPLETIONS);
        }
        dhat::HeapStats::get()
    };
    let before = serve(2);
    let after = serve(REQUESTS - 2);
    assert_eq!(after.curr_bytes, before.curr_bytes);
    assert_eq!(after.max_bytes, before.max_bytes);
    assert_eq!(counted(&meter, &names::GENERATION_TOKENS_TOTAL), 2 * REQUESTS * TOKENS);
}

/// Frames of a stream that are counted, after as many again have gone by.
const FRAMES: u64 = 1000;

/// Blocks that [`FRAMES`] frames allocate.
fn blocks_of_frames(path: &'static str, frames: &'static [&'static str]) -> u64 {
    let script = Script {
        before: &[],
        body: frames,
        frames: 2 * FRAMES as usize,
        after: &[CHAT_LAST, CHAT_USAGE, DONE],
        length: None,
    };
    let answer = Answer { path, content_type: EVENTS, script };
    let meter = Meter::new();
    let mut service: InferenceService<Scripts> = layer(&meter).layer(Scripts(answer));
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);

    let response: Response<ResponseBody<Scripted>> = open(&mut service, request);
    let mut body = pin!(response.into_body());
    read(body.as_mut(), FRAMES);
    let blocks = blocks(|| read(body.as_mut(), FRAMES));
    read(body.as_mut(), 3);
    assert!(next(body).is_none());
    let gaps = counted(&meter, &names::INTER_TOKEN_LATENCY_SECONDS);
    assert!(gaps >= FRAMES - 1, "they were not read: {gaps} gaps");
    blocks
}

fn read<B: Body<Data = Bytes, Error = Infallible>>(mut body: Pin<&mut B>, frames: u64) {
    for _ in 0..frames {
        assert!(next(body.as_mut()).is_some());
    }
}

fn blocks<T>(work: impl FnOnce() -> T) -> u64 {
    let before = dhat::HeapStats::get().total_blocks;
    work();
    dhat::HeapStats::get().total_blocks - before
}

fn layer(meter: &Meter) -> InferenceLayer {
    InferenceLayer::new(meter.clone()).endpoint(OPAQUE, Endpoint::new("opaque", Wire::opaque()))
}

/// An event with one choice.
fn event(choice: &str, index: usize) -> String {
    format!("data: {{\"id\":\"x\",\"choices\":[{{\"index\":{index},{choice}}}]}}\n\n")
}

fn leak(frames: Vec<String>) -> &'static [&'static str] {
    frames.into_iter().map(|frame| &*frame.leak()).collect::<Vec<_>>().leak()
}

/// Says its tokens one by one, and answers with something that tells nothing.
#[derive(Clone, Debug)]
struct Engine(u64);

impl Service<Request<()>> for Engine {
    type Response = Response<Scripted>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Scripted>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let meter = RequestMeter::of(&request);
        (0..self.0).for_each(|_| meter.add_generated_tokens(1));
        Scripts(whole(COMPLETIONS, &["{}"])).call(request)
    }
}
