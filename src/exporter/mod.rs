//! Publishes the numbers: to Prometheus, on a port of its own, or through a recorder of yours.
//!
//! # Ways out
//!
//! | | |
//! | --- | --- |
//! | `Prometheus` | a page and its server, of which a scrape is one consistent view (feature `prometheus`) |
//! | [`Bridge`] | any recorder of the `metrics` crate, given what is new every second |
//! | [`Exporter`](crate::record::Exporter) | your own |
//!
//! # Prometheus
//!
//! A ladder; each step down hands you one more duty:
//!
//! 1. [`Prometheus::serve`] binds an address and does all the rest.
//! 2. [`Prometheus::builder`] takes a meter of your own (static labels, buckets), another naming,
//!    or a listener that is bound already, to port 0 for instance.
//! 3. [`PrometheusBuilder::build`] serves nothing: mount [`Prometheus::router`] into a server of
//!    your own, or [`render`](Prometheus::render) the page yourself.
//!
//! The page holds every family of the [catalogue](crate::names), those of the process included, and
//! after them what your code records through the macros of the `metrics` crate, once
//! [`Prometheus::install_recorder`] was called, but for names that are on the page already. The
//! server has a thread of its own, so that a busy service does not starve a scrape, nor a scrape the
//! service.
//!
//! | path | answer |
//! | --- | --- |
//! | `/metrics` | the page, text format 0.0.4, gzip where accepted |
//! | `/requests` | requests that have ended: those that failed last, the slowest, the longest; `/failures`: only the first |
//! | `/` | a live page for people (feature `dashboard`) |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | `{"status":"ok","model_name":…}`, or 503 after [`Prometheus::set_ready`]`(false)` |
//!
//! # Single requests
//!
//! `/requests` answers "which request was it?": 256 of each kind, as JSON, and as a table to a
//! browser. `?kind=failed|slow|long` asks for one kind, `&model=` for one model. Each tells when it
//! ended and how, its ids, where its time went, its tokens, and what engine and GPUs stood at; never
//! its prompt, nor what headers it had besides `x-request-id` and `traceparent`. What an error says is
//! told only with [`PrometheusBuilder::failure_messages`]. For a page of your own, there is
//! [`Meter::kept_requests`](crate::Meter::kept_requests).
//!
//! # A port that others can reach
//!
//! With [`PrometheusBuilder::token`] the page is for those who bring it; the two probes stay open, and
//! so do files that have no data in them, which ask for the token in a browser.
//! What one client can take of the server has limits, with a token or without:
//!
//! | | |
//! | --- | --- |
//! | connections | 64 at once; who comes next waits, and those that had an answer and are idle make room |
//! | head of a request | 16 KiB, 64 fields (431), 5 seconds |
//! | body of a request | is not read |
//! | answer | 10 seconds until it is out |
//! | between requests | 75 seconds |
//!
//! It speaks HTTP/1.1 without TLS: for a network that is not yours, put a proxy in front that does.
//!
//! ```
//! use infermeter::{Meter, exporter::Prometheus};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let meter = Meter::builder().label("variant", "thinking").build()?.model("tiny-words");
//! let exporter = Prometheus::builder().meter(meter).serve("127.0.0.1:0").await?;
//! println!("curl http://{}/metrics", exporter.local_addr().unwrap());
//!
//! let page = exporter.render();
//! assert!(page.contains(r#"vllm:request_total{model_name="tiny-words",variant="thinking"} 0"#));
//! exporter.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod bridge;
#[cfg(feature = "prometheus")]
mod builder;
#[cfg(feature = "prometheus")]
mod endpoints;
#[cfg(feature = "prometheus")]
mod others;
#[cfg(feature = "prometheus")]
mod page;
#[cfg(feature = "prometheus")]
mod people;
#[cfg(feature = "prometheus")]
mod prometheus;
#[cfg(feature = "prometheus")]
mod scrapes;
#[cfg(feature = "prometheus")]
mod server;
#[cfg(feature = "prometheus")]
mod text;
#[cfg(feature = "prometheus")]
mod token;
#[cfg(feature = "prometheus")]
mod upkeep;
#[cfg(feature = "prometheus")]
mod users;

pub use self::bridge::{Bridge, BridgeBuilder};
#[cfg(feature = "prometheus")]
pub use self::{builder::PrometheusBuilder, prometheus::Prometheus};
