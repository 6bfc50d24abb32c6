//! gRPC calls of a real `tonic` service, over real sockets: `grpc-status` decides how a call ended,
//! tokens come from the service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::{
    convert::Infallible,
    future::{pending, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BufMut};
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response, uri::PathAndQuery};
use infermeter::{
    InferenceLayer, Meter, RequestMeter,
    outcome::{FailureReason, FinishReason},
};
use support::scrape::Scrape;
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Status,
    body::Body,
    client,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{self, NamedService, ServerStreamingService, UnaryService},
    transport::{Channel, Endpoint, Server},
};
use tower::Service;

/// The name of the call says what the service does.
const SERVICE: &str = "words.Words";

const WORDS: [&str; 3] = ["to", " the", " sea"];

// === unary ===

#[tokio::test]
async fn a_unary_call_that_is_ok() {
    let server = start().await;
    assert_eq!(server.unary("answer").await.unwrap(), "to the sea");
    assert_eq!(server.ended().await, "success stop 200");
    assert_eq!(server.tokens(), [4, 3]);
}

#[tokio::test]
async fn a_unary_call_of_which_the_service_says_nothing() {
    let server = start().await;
    assert_eq!(server.unary("silent").await.unwrap(), "to the sea");
    assert_eq!(server.ended().await, "success other 200");
    assert_eq!(server.tokens(), [0, 0]);
    let unknown = [("source", "unknown")];
    assert_eq!(server.scrape().sum("infermeter_token_accounting_total", &unknown), 1);
}

/// Its status is in the head, and there is no body.
#[tokio::test]
async fn a_unary_call_with_trailers_only() {
    let server = start().await;
    assert_eq!(server.unary("refuse").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(server.ended().await, "failure stream_error 200");
}

/// The service knows more than the status tells.
#[tokio::test]
async fn a_unary_call_whose_service_says_why_it_fails() {
    let server = start().await;
    assert_eq!(server.unary("full").await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(server.ended().await, "failure rate_limited 200");
}

#[tokio::test]
async fn a_call_that_nobody_serves() {
    let server = start().await;
    assert_eq!(server.unary("unheard").await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(server.ended().await, "failure stream_error 200");
}

#[tokio::test]
async fn a_unary_call_that_its_client_cancels() {
    let server = start().await;
    {
        let mut call = Box::pin(server.unary("hang"));
        tokio::select! {
            _ = &mut call => unreachable!("it hangs"),
            () = server.reached.notified() => {}
        }
    }
    assert_eq!(server.ended().await, "aborted prefill none");
}

#[tokio::test]
async fn a_unary_call_whose_deadline_is_over() {
    let server = start().await;
    let error = server.call_within("hang", Duration::from_millis(50)).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()), "{error}");
    let end = server.ended().await;
    // Whichever side's clock is first.
    assert!(["aborted prefill none", "failure stream_error 200"].contains(&&*end), "{end}");
}

// === streams of the server ===

#[tokio::test]
async fn a_stream_that_is_ok() {
    let server = start().await;
    let mut answer = server.stream("words").await.unwrap();
    let mut words = Vec::new();
    while let Some(word) = answer.next().await {
        words.push(word.unwrap());
    }
    assert_eq!(words, WORDS);
    assert_eq!(server.ended().await, "success stop 200");
    assert_eq!(server.tokens(), [4, 3]);
    let scrape = server.scrape();
    assert_eq!(scrape.sum("vllm:time_to_first_token_seconds_count", &[]), 1);
    assert_eq!(scrape.sum("vllm:request_generation_tokens_sum", &[]), 3);
}

#[tokio::test]
async fn a_stream_with_an_error_in_its_trailers() {
    let server = start().await;
    let mut answer = server.stream("words-then-error").await.unwrap();
    for word in WORDS {
        assert_eq!(answer.next().await.unwrap().unwrap(), word);
    }
    assert_eq!(answer.next().await.unwrap().unwrap_err().code(), Code::Internal);
    assert_eq!(server.ended().await, "failure stream_error 200");
    assert_eq!(server.tokens(), [4, 3], "what was generated is counted all the same");
}

#[tokio::test]
async fn a_stream_with_trailers_only() {
    let server = start().await;
    assert_eq!(server.stream("refuse").await.err().unwrap().code(), Code::InvalidArgument);
    assert_eq!(server.ended().await, "failure stream_error 200");
    assert_eq!(server.tokens(), [0, 0]);
}

#[tokio::test]
async fn a_stream_that_its_client_cancels() {
    let server = start().await;
    let mut answer = server.stream("words-then-hang").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), WORDS[0]);
    server.reached.notified().await; // all words are sent
    drop(answer);
    assert_eq!(server.ended().await, "aborted decode 200");
    assert_eq!(server.tokens(), [4, 3]);
}

#[tokio::test]
async fn many_calls_on_one_connection() {
    let server = start().await;
    for _ in 0..20 {
        let (one, other) = tokio::join!(server.unary("answer"), server.unary("refuse"));
        assert!(one.is_ok() && other.is_err());
    }
    server.ended_all(40).await;
    let count = |outcome| server.scrape().sum("infermeter_requests_total", &[("outcome", outcome)]);
    assert_eq!([count("success"), count("failure"), count("aborted")], [20, 20, 0]);
    assert_eq!(server.tokens(), [80, 60]);
}

// === the service ===

#[derive(Clone)]
struct Words {
    reached: Arc<Notify>,
}

impl NamedService for Words {
    const NAME: &'static str = SERVICE;
}

impl Service<Request<Body>> for Words {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call =
            Call { name: request.uri().path().to_owned(), reached: Arc::clone(&self.reached) };
        Box::pin(async move {
            let mut grpc = server::Grpc::new(Text);
            let is_stream = request.uri().path().contains("/stream-");
            if is_stream {
                return Ok(grpc.server_streaming(call, request).await);
            }
            Ok(grpc.unary(call, request).await)
        })
    }
}

struct Call {
    name: String,
    reached: Arc<Notify>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;
type WordStream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl UnaryService<String> for Call {
    type Response = String;
    type Future = Boxed<String>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let meter = RequestMeter::from_extensions(request.extensions());
        let answer = || Ok(tonic::Response::new(WORDS.concat()));
        match self.name.rsplit('/').next().unwrap() {
            "answer" => {
                said(&meter, &request);
                meter.generated_tokens(3);
                meter.finished(FinishReason::Stop);
                Box::pin(ready(answer()))
            }
            "silent" => Box::pin(ready(answer())),
            "refuse" => Box::pin(ready(Err(Status::invalid_argument("not such words")))),
            "full" => {
                meter.fail(FailureReason::RateLimited);
                Box::pin(ready(Err(Status::resource_exhausted("come again"))))
            }
            "hang" => {
                self.reached.notify_one();
                Box::pin(pending())
            }
            other => Box::pin(ready(Err(Status::unimplemented(other.to_owned())))),
        }
    }
}

impl ServerStreamingService<String> for Call {
    type Response = String;
    type ResponseStream = WordStream;
    type Future = Boxed<WordStream>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let meter = RequestMeter::from_extensions(request.extensions());
        let end: WordStream = match self.name.rsplit("/stream-").next().unwrap() {
            "words" => Box::pin(stream::empty()),
            "words-then-error" => Box::pin(stream::iter([Err(Status::internal("lost"))])),
            "words-then-hang" => {
                let reached = Arc::clone(&self.reached);
                Box::pin(stream::once(async move {
                    reached.notify_one();
                    pending().await
                }))
            }
            _ => return Box::pin(ready(Err(Status::invalid_argument("not such words")))),
        };
        said(&meter, &request);
        let is_ok = self.name.ends_with("words");
        let words = stream::iter(WORDS).map(move |word| {
            meter.first_token();
            meter.add_generated_tokens(1);
            if is_ok && word == WORDS[2] {
                meter.finished(FinishReason::Stop);
            }
            Ok(word.to_owned())
        });
        Box::pin(ready(Ok(tonic::Response::new(Box::pin(words.chain(end)) as WordStream))))
    }
}

/// The prompt is what the client sent.
fn said(meter: &RequestMeter, request: &tonic::Request<String>) {
    meter.prompt_tokens(request.get_ref().split(' ').count() as u64);
}

// === both ends ===

struct Running {
    meter: Meter,
    channel: Channel,
    reached: Arc<Notify>,
}

/// A server with the layer on, and a client that is connected to it.
async fn start() -> Running {
    let meter = Meter::new().model("tiny");
    let reached = Arc::new(Notify::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(InferenceLayer::new(meter.clone()))
        .add_service(Words { reached: Arc::clone(&reached) })
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(async { server.await.unwrap() });
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect().await.unwrap();
    Running { meter, channel, reached }
}

impl Running {
    async fn unary(&self, call: &str) -> Result<String, Status> {
        self.request(call, tonic::Request::new(PROMPT.to_owned())).await
    }

    async fn call_within(&self, call: &str, limit: Duration) -> Result<String, Status> {
        let mut request = tonic::Request::new(PROMPT.to_owned());
        request.set_timeout(limit);
        self.request(call, request).await
    }

    async fn request(&self, call: &str, request: tonic::Request<String>) -> Result<String, Status> {
        let mut client = client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        Ok(client.unary(request, path(call), Text).await?.into_inner())
    }

    async fn stream(&self, call: &str) -> Result<tonic::Streaming<String>, Status> {
        let mut client = client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let request = tonic::Request::new(PROMPT.to_owned());
        let path = path(&format!("stream-{call}"));
        Ok(client.server_streaming(request, path, Text).await?.into_inner())
    }

    fn scrape(&self) -> Scrape {
        let scrape = Scrape::of(&self.meter);
        scrape.assert_identities();
        scrape
    }

    /// The server may see the end a moment later than the client.
    async fn ended_all(&self, count: u64) {
        while self.scrape().sum("infermeter_requests_total", &[]) < count {
            tokio::task::yield_now().await;
        }
    }

    /// How the one call ended.
    async fn ended(&self) -> String {
        self.ended_all(1).await;
        let scrape = self.scrape();
        let value = |label| scrape.values("infermeter_requests_total", label).concat();
        assert_eq!(value("endpoint"), "grpc");
        format!("{} {} {}", value("outcome"), value("reason"), value("code"))
    }

    /// Prompt and generated.
    fn tokens(&self) -> [u64; 2] {
        let scrape = self.scrape();
        ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"]
            .map(|name| scrape.sum(name, &[]))
    }
}

/// Four tokens.
const PROMPT: &str = "where does it go";

fn path(call: &str) -> PathAndQuery {
    format!("/{SERVICE}/{call}").parse().unwrap()
}

/// A message is a text: no schema, and no code made from one.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, read: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = read.copy_to_bytes(read.remaining());
        Ok(Some(String::from_utf8(bytes.into()).unwrap()))
    }
}
