//! The reverse proxy: stands in front of an inference service, passes everything through, and
//! measures what goes by.
//!
//! For a service that cannot wear an [`InferenceLayer`](crate::InferenceLayer), vLLM for instance.
//! What is measured is a POST to an inference endpoint (see [`Endpoint`](crate::layer::Endpoint)),
//! from the arrival of its head until the last byte of its answer was taken, or its client has left.
//!
//! ```no_run
//! use infermeter::{Meter, exporter::Prometheus, proxy::Proxy};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let meter = Meter::new();
//! let proxy = Proxy::builder("http://127.0.0.1:8000").meter(meter.clone()).build()?;
//! let exporter = Prometheus::builder().meter(meter).process(false).serve("127.0.0.1:8001").await?;
//!
//! let listener = TcpListener::bind("127.0.0.1:8080").await?;
//! // Ends after the future, once those who are there have their answers, or two minutes later.
//! proxy.serve(listener, async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
//! exporter.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The binary's `infermeter proxy` is this with flags; `docs/proxy.md` has them, what happens to each
//! header, and every error.
//!
//! # What it does
//!
//! - It passes bodies on both ways as they come. A request is ended at the upstream as soon as its
//!   client has left.
//! - It reads the JSON of a measured request before it sends it on, up to 8 MiB, to learn which
//!   model is asked for, and how many choices and tokens.
//! - It has engines tell the token counts of a stream, where its client did not ask for them, and
//!   takes them out of the answer again: see [`InjectUsage`] and
//!   [`exact_aborts`](ProxyBuilder::exact_aborts).
//! - It asks the upstream which models it serves. Only their names become labels; see
//!   [`ProxyBuilder::model`].
//! - It makes an `X-Request-Id` where there is none, and adds `Via` and `X-Forwarded-*`.
//! - It tells errors of its own as OpenAI does, with a stable `code`.
//!
//! # What it never does
//!
//! - It does not change the status of an answer, nor a byte of the body that its client would have
//!   had from the upstream itself; `docs/proxy.md` tells the two cases in which it has to guess that.
//! - It does not hold anything back: of a stream whose usage is taken out, the event in which a
//!   choice ends waits for the next one, and no other.
//! - It does not send anything twice, unless nothing of it was sent.
//! - It does not fail a request because it could not read it.
//! - It does not balance: a model has one upstream.
//!
//! # Several upstreams
//!
//! [`Proxy::routing`] stands in front of several services, and sends each request to the one that has
//! the model which it names:
//!
//! ```no_run
//! use infermeter::proxy::{Proxy, Upstream};
//!
//! # fn main() -> Result<(), infermeter::proxy::ProxyError> {
//! let proxy = Proxy::routing([
//!     Upstream::new("instruct", "http://127.0.0.1:8001")?.model("qwen3-instruct"),
//!     // This one is asked for its models.
//!     Upstream::new("thinking", "http://127.0.0.1:8002")?.variant("thinking")?,
//! ])
//! .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! - The model is what the JSON of a measured request names, or of any other POST or PUT that says
//!   `application/json`, up to 8 MiB; or the end of `GET /v1/models/{model}`. A model that was named
//!   for an upstream is that upstream's; one that several list is the first one's.
//! - All else, and what cannot be read, is for the first upstream.
//! - `GET /v1/models` is answered here: all models of all upstreams, as last known.
//! - A model that no upstream has is a 404; while an upstream has never listed its models, a 503. One
//!   that is down costs its own requests, and no others.
//! - An [`AdmissionLayer`](crate::AdmissionLayer) stands before all of them: its limits are of all
//!   together.
//!
//! # In which order
//!
//! ```text
//! connection ─► request id ─► InferenceLayer ─► AdmissionLayer ─► read, ask for usage ─► upstream
//!     ◄─ take out usage ◄─ measured, as the upstream sent it ◄───────────────────────────────┘
//! ```
//!
//! An [`AdmissionLayer`](crate::AdmissionLayer) is there if one is [given](ProxyBuilder::admission).
//! The wait in it, and what the engine tells of its own queue, are queue time
//! ([`Start::Told`](crate::Start::Told)); of an engine that tells nothing there is none.
//!
//! What the engine tells on its own page stands beside that where
//! [`EngineMetrics`](crate::engines::EngineMetrics) is a source of the meter; its queue times then
//! stand in place of those of single requests:
//!
//! ```no_run
//! use infermeter::{engines::EngineMetrics, proxy::Proxy};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "http://127.0.0.1:8000";
//! let proxy = Proxy::builder(url).build()?;
//! let engine = EngineMetrics::at(url)?.merge(true).compare(true).watch(proxy.meter()).await;
//! tokio::spawn(engine.run());
//! # Ok(())
//! # }
//! ```
//!
//! # Several cores
//!
//! [`Proxy::serve`] works on the runtime that it is called on; one with several threads will do.
//! What costs least is a thread for each core with a runtime of its own, and a clone of the proxy
//! and the listener. All share the meter and the limits, but not the connections to the upstream.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{future::pending, io, net::TcpListener, thread};
//!
//! use infermeter::proxy::Proxy;
//! use tokio::runtime;
//!
//! let proxy = Proxy::builder("http://127.0.0.1:8000").build()?;
//! let listener = TcpListener::bind("127.0.0.1:8080")?;
//! listener.set_nonblocking(true)?;
//! let threads: Vec<_> = (0..thread::available_parallelism()?.get())
//!     .map(|_| {
//!         let (proxy, listener) = (proxy.clone(), listener.try_clone()?);
//!         let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
//!         Ok(thread::spawn(move || {
//!             runtime.block_on(async {
//!                 proxy.serve(tokio::net::TcpListener::from_std(listener)?, pending()).await;
//!                 io::Result::Ok(())
//!             })
//!         }))
//!     })
//!     .collect::<io::Result<_>>()?;
//! for thread in threads {
//!     thread.join().expect("nothing panics there")?;
//! }
//! # Ok(())
//! # }
//! ```

mod asking;
mod body;
mod builder;
mod connections;
mod cut;
mod drain;
mod engine;
mod failures;
mod forward;
mod front;
mod headers;
mod inbound;
mod listing;
mod merged;
mod models;
mod plain;
mod pool;
#[allow(clippy::module_inception)]
mod proxy;
mod reading;
mod refusal;
mod route;
mod routes;
mod socket;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;
mod usage;

pub use self::{
    asking::InjectUsage,
    builder::{ProxyBuilder, ProxyError},
    proxy::Proxy,
    upstream::Upstream,
};
