//! Watches a response body go by, and says what it was.
//!
//! [`ObservedBody`] passes every frame on untouched and reads its bytes on the way: server-sent
//! events, lines of JSON, or one whole JSON answer, cut wherever the network cut them. When the
//! body ends, in whatever way ([`BodyEnd`] names them all), it gives one [`Summary`]: outcome,
//! token counts and where they came from, the moments of the first and the last token.
//!
//! It needs no layer and no metrics:
//!
//! ```
//! use http_body_util::{BodyExt, Full};
//! use infermeter::{outcome::Outcome, stream::{ObservedBody, Summary}, wire::Wire};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let answer = r#"{"choices":[{"index":0,"text":"one two","finish_reason":"stop"}],
//!     "usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
//! let (bill, billed) = std::sync::mpsc::channel();
//! let body = Full::<bytes::Bytes>::from(answer);
//! let body = ObservedBody::new(body, Wire::openai(), move |summary: Summary| {
//!     bill.send(summary).ok();
//! });
//!
//! assert_eq!(body.collect().await.unwrap().to_bytes(), answer);
//! let summary = billed.recv().unwrap();
//! assert_eq!(summary.usage.completion, Some(2));
//! assert!(matches!(summary.outcome, Outcome::Success(_)));
//! # }
//! ```

mod body;
#[cfg(feature = "test-util")]
pub mod conformance;
mod head;
mod lines;
mod partial;
mod reader;
mod sse;
mod summary;
mod template;
mod timing;
mod watch;
mod whole;

pub use self::{
    body::{ObservedBody, Observer, OnEnd},
    summary::{BodyEnd, Summary},
};
pub(crate) use self::{head::is_grpc, timing::per_gap};
