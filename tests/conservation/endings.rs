//! Every way in which a request can end: what the service does, what the client does, and how it
//! has to be counted.

use std::{future::pending, panic::resume_unwind};

use axum::body::Body;
use http::{Response, header};
use infermeter::{
    RequestMeter,
    outcome::{FailureReason, FinishReason},
};
use tokio::sync::mpsc;

use super::support::frames::{Script, Step};

/// One way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    serve: Serve,
    pub(crate) client: Client,
    /// Outcome, reason, code.
    pub(crate) counted: (&'static str, &'static str, &'static str),
    pub(crate) tokens: Tokens,
}

/// What the service does.
#[derive(Clone, Copy, Debug)]
enum Serve {
    /// Answers with a stream of these events, and what comes after them.
    Stream(&'static [&'static str], After),
    /// Answers with a status and a JSON document.
    Json(u16, &'static str),
    /// Says something by its handle, then the same as the other.
    Said(fn(&RequestMeter), &'static Self),
    Error,
    Panic,
    Never,
}

/// What comes after the last event.
#[derive(Clone, Copy, Debug)]
enum After {
    End,
    Error,
    Panic,
    Nothing,
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Client {
    /// Reads to the end, whatever that is.
    Reads,
    /// Leaves once the service works on it.
    LeavesBeforeHead,
    /// Leaves when it has read so many bytes of the body.
    LeavesAfter(usize),
}

/// Prompt tokens, generated tokens, and where the latter came from; of a 2xx.
pub(crate) type Tokens = (u64, u64, Option<&'static str>);

/// Tells a client that its request is being worked on, and gives it the handle.
pub(crate) type Working = mpsc::UnboundedSender<RequestMeter>;

const A: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
const B: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":null}]}\n\n";
const RUNNING: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"c d e\",\"finish_reason\":null}],\
     \"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5}}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
const LENGTH: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}],\
     \"timings\":{\"prompt_n\":4,\"cache_n\":3,\"predicted_n\":6}}\n\n";
const ABORT: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"abort\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":3}}\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"it died\",\"code\":500}}\n\n";
const PING: &str = ": ping\n\n";
const DONE: &str = "data: [DONE]\n\n";

const ANSWER: &str = r#"{"choices":[{"index":0,"text":"a b","finish_reason":"length"}],
    "usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
const BUSY: &str = r#"{"error":{"message":"no","code":null}}"#;
const TOO_LONG: &str = r#"{"error":{"message":"no","code":"context_length_exceeded"}}"#;

/// What `LENGTH` tells.
pub(crate) const CACHED: u64 = 3;

const NOT_2XX: Tokens = (0, 0, None);
const NONE: Tokens = (0, 0, Some("unknown"));

const FULL: Serve = Serve::Stream(&[A, B, STOP, USAGE, DONE], After::End);

impl Ending {
    pub(crate) const ALL: [Self; 32] = {
        use Client::{LeavesAfter, LeavesBeforeHead, Reads};
        use Serve::{Error, Json, Never, Panic, Said, Stream};
        const fn ending(
            serve: Serve,
            client: Client,
            counted: (&'static str, &'static str, &'static str),
            tokens: Tokens,
        ) -> Ending {
            Ending { serve, client, counted, tokens }
        }
        const STREAM_ERROR: (&str, &str, &str) = ("failure", "stream_error", "200");
        [
            // It goes well.
            ending(FULL, Reads, ("success", "stop", "200"), (11, 3, Some("usage"))),
            ending(
                Stream(&[PING, A, LENGTH, DONE], After::End),
                Reads,
                ("success", "length", "200"),
                (7, 6, Some("engine_frame")),
            ),
            ending(
                Stream(&[A, B, STOP, DONE], After::End),
                Reads,
                ("success", "stop", "200"),
                (0, 2, Some("counted")),
            ),
            ending(Json(200, ANSWER), Reads, ("success", "length", "200"), (7, 2, Some("usage"))),
            ending(Json(204, ""), Reads, ("success", "other", "204"), NONE),
            ending(Json(302, ""), Reads, ("success", "other", "302"), NOT_2XX),
            // It is refused.
            ending(Json(400, BUSY), Reads, ("failure", "invalid_request", "400"), NOT_2XX),
            ending(Json(400, TOO_LONG), Reads, ("failure", "context_length", "400"), NOT_2XX),
            ending(Json(401, BUSY), Reads, ("failure", "auth", "401"), NOT_2XX),
            ending(Json(404, BUSY), Reads, ("failure", "not_found", "404"), NOT_2XX),
            ending(Json(429, BUSY), Reads, ("failure", "rate_limited", "429"), NOT_2XX),
            ending(Json(500, BUSY), Reads, ("failure", "server_error", "500"), NOT_2XX),
            ending(Json(503, BUSY), Reads, ("failure", "overloaded", "503"), NOT_2XX),
            ending(Json(504, BUSY), Reads, ("failure", "timeout", "504"), NOT_2XX),
            // It breaks.
            ending(Error, Reads, ("failure", "server_error", "none"), NOT_2XX),
            ending(Panic, Reads, ("failure", "server_error", "none"), NOT_2XX),
            ending(
                Stream(&[A], After::Panic),
                Reads,
                ("failure", "server_error", "200"),
                (0, 1, Some("counted")),
            ),
            ending(Stream(&[A, B], After::Error), Reads, STREAM_ERROR, (0, 2, Some("counted"))),
            ending(
                Stream(&[A, ERROR, DONE], After::End),
                Reads,
                STREAM_ERROR,
                (0, 1, Some("counted")),
            ),
            ending(
                Stream(&[A, B, ABORT, USAGE, DONE], After::End),
                Reads,
                STREAM_ERROR,
                (11, 3, Some("usage")),
            ),
            ending(
                Stream(&[A, RUNNING], After::End),
                Reads,
                ("failure", "truncated", "200"),
                (11, 5, Some("continuous_usage")),
            ),
            ending(Stream(&[PING], After::End), Reads, ("failure", "truncated", "200"), NONE),
            // The client leaves.
            ending(Never, LeavesBeforeHead, ("aborted", "prefill", "none"), NOT_2XX),
            ending(
                Stream(&[PING], After::Nothing),
                LeavesAfter(PING.len()),
                ("aborted", "prefill", "200"),
                NONE,
            ),
            ending(
                Stream(&[A, B], After::Nothing),
                LeavesAfter(A.len() + B.len()),
                ("aborted", "decode", "200"),
                (0, 2, Some("counted")),
            ),
            ending(
                Stream(&[A, RUNNING], After::Nothing),
                LeavesAfter(A.len() + RUNNING.len()),
                ("aborted", "decode", "200"),
                (11, 5, Some("continuous_usage")),
            ),
            ending(
                Stream(&[A, B, STOP, USAGE, DONE], After::Nothing),
                LeavesAfter(A.len() + B.len() + STOP.len() + USAGE.len() + DONE.len()),
                ("success", "stop", "200"),
                (11, 3, Some("usage")),
            ),
            // The service says it by its handle.
            ending(
                Said(|meter| meter.finished(FinishReason::ToolCalls), &Stream(&[A], After::End)),
                Reads,
                ("success", "tool_calls", "200"),
                (0, 1, Some("counted")),
            ),
            ending(
                Said(
                    |meter| meter.finished(FinishReason::Length),
                    &Stream(&[A, B], After::Nothing),
                ),
                LeavesAfter(A.len() + B.len()),
                ("success", "length", "200"),
                (0, 2, Some("counted")),
            ),
            ending(
                Said(|meter| meter.fail(FailureReason::Timeout), &FULL),
                Reads,
                ("failure", "timeout", "200"),
                (11, 3, Some("usage")),
            ),
            ending(
                Said(
                    |meter| {
                        meter.prompt_tokens(9);
                        meter.add_generated_tokens(2);
                        meter.add_generated_tokens(2);
                    },
                    &FULL,
                ),
                Reads,
                ("success", "stop", "200"),
                (9, 4, Some("handle")),
            ),
            ending(
                Said(|meter| meter.generated_tokens(13), &Never),
                LeavesBeforeHead,
                ("aborted", "prefill", "none"),
                (0, 13, None),
            ),
        ]
    };

    /// Whether its outcome is the phase in which it was waiting for the service to start.
    pub(crate) fn ends_before_the_first_token(&self) -> bool {
        self.counted.1 == "prefill"
    }

    /// The service of this ending.
    pub(crate) async fn serve(
        &self,
        meter: &RequestMeter,
        working: &Working,
    ) -> Result<Response<Body>, &'static str> {
        self.serve.answer(meter, working).await
    }
}

// === impl Serve ===

impl Serve {
    async fn answer(
        self,
        meter: &RequestMeter,
        working: &Working,
    ) -> Result<Response<Body>, &'static str> {
        match self {
            Self::Said(say, then) => {
                say(meter);
                Box::pin(then.answer(meter, working)).await
            }
            Self::Stream(events, after) => {
                let script = Script::data(events.iter().copied());
                let script = match after {
                    After::End => script,
                    After::Error => script.then(Step::Error("it broke")),
                    After::Panic => script.then(Step::Panic),
                    After::Nothing => script.then(Step::Hang),
                };
                Ok(respond(200, "text/event-stream", Body::new(script)))
            }
            Self::Json(status, text) => Ok(respond(status, "application/json", text.into())),
            Self::Error => Err("the service is broken"),
            // Without a message: there are many.
            Self::Panic => resume_unwind(Box::new("the service panics")),
            Self::Never => {
                // A client that has left already has no use for it.
                working.send(meter.clone()).ok();
                pending().await
            }
        }
    }
}

fn respond(status: u16, kind: &str, body: Body) -> Response<Body> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    response.body(body).unwrap()
}
