//! How a Prometheus exporter is set up.

use std::{io, net::TcpListener};

use metrics_exporter_prometheus::PrometheusBuilder as RecorderBuilder;
use tokio::net::{ToSocketAddrs, lookup_host};

use super::{
    Prometheus,
    page::Page,
    token::{Token, TokenError},
};
use crate::{
    names::{Naming, source::PROCESS},
    process::Process,
    record::Meter,
};

/// Sets up a [`Prometheus`] exporter. See the [module docs](crate::exporter) for the ladder.
///
/// ```
/// use infermeter::{Meter, exporter::Prometheus, names::Naming};
///
/// # fn main() -> std::io::Result<()> {
/// let exporter = Prometheus::builder()
///     .meter(Meter::new().model("tiny-words"))
///     .naming(Naming::neutral())
///     .build()?; // serves nothing
/// assert!(exporter.render().contains(r#"llm_request_total{model_name="tiny-words"} 0"#));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PrometheusBuilder {
    meter: Meter,
    naming: Naming,
    has_process: bool,
    has_messages: bool,
    token: Option<Result<Token, TokenError>>,
}

// === impl PrometheusBuilder ===

impl Default for PrometheusBuilder {
    fn default() -> Self {
        let (meter, naming) = (Meter::default(), Naming::default());
        Self { meter, naming, has_process: true, has_messages: false, token: None }
    }
}

impl PrometheusBuilder {
    /// Publishes this meter: make one by [`Meter::builder`] for static labels and buckets of your
    /// own. Default: a fresh one.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = meter;
        self
    }

    /// Names the families in another way. Default: [`Naming::vllm`].
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.naming = naming;
        self
    }

    /// Whether to watch the process that the exporter runs in, as the source `process`: its
    /// memory, processor time and file descriptors. Default: `true`.
    ///
    /// Say `false` where another process serves the model, and watch that one. Elsewhere than on
    /// Linux there is nothing to watch.
    #[must_use]
    pub fn process(mut self, watch: bool) -> Self {
        self.has_process = watch;
        self
    }

    /// Shows on `/requests` what errors of requests say, too. Engines repeat prompts there. Default:
    /// only their type, code and parameter.
    #[must_use]
    pub fn failure_messages(mut self, show: bool) -> Self {
        self.has_messages = show;
        self
    }

    /// Asks every scrape for this bearer token, which it brings as `Authorization: Bearer <token>`:
    /// `authorization: { credentials_file: … }` in the configuration of Prometheus. Without it, or
    /// with another, the answer is 401.
    ///
    /// `/healthz` and `/readyz` are answered without one, for probes have none, and so are files for
    /// browsers, which have no data in them. Default: nothing is
    /// asked for.
    ///
    /// A token is one or more visible ASCII characters. Whether this is one is said where the
    /// exporter is made: [`serve`](Self::serve), [`serve_on`](Self::serve_on) and
    /// [`build`](Self::build) fail by [`InvalidInput`](io::ErrorKind::InvalidInput) if it is empty, or
    /// was read from a file with the end of the line.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token::parse(&token.into()));
        self
    }

    /// Binds an address and serves the page there, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, which is then named, no thread be started, or the
    /// [token](Self::token) is none.
    pub async fn serve(self, address: impl ToSocketAddrs) -> io::Result<Prometheus> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
        for address in lookup_host(address).await? {
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => return self.serve_on(listener.into_std()?),
                Err(error) => {
                    let allowed = "allowed is an address of this machine with a free port";
                    let told =
                        format!("metrics on {address}: {error}; {allowed}, port 0 picks one");
                    failed = io::Error::new(error.kind(), told);
                }
            }
        }
        Err(failed)
    }

    /// Serves the page on a listener that is bound already, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the listener cannot be used, no thread be started, or the [token](Self::token) is none.
    pub fn serve_on(self, listener: TcpListener) -> io::Result<Prometheus> {
        self.build()?.serve_on(listener)
    }

    /// Makes the exporter without a server.
    ///
    /// One thread is started in any case: it samples the sources, and keeps what the `metrics`
    /// macros record from piling up between scrapes.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started, or the [token](Self::token) is none.
    pub fn build(self) -> io::Result<Prometheus> {
        let Self { meter, naming, has_process, has_messages, token } = self;
        let token = token.transpose()?;
        let recorder = meter.labels().iter().fold(RecorderBuilder::new(), |builder, label| {
            builder.add_global_label(label.key(), label.value())
        });
        let recorder = recorder.build_recorder();
        meter.keep_requests();
        let page = Page::new(meter.clone(), naming, has_messages, recorder.handle());
        let is_watched = meter.sources().iter().any(|source| &*source.name == PROCESS);
        if let Some(process) = (has_process && !is_watched).then(Process::own).flatten() {
            meter.watch(PROCESS, process);
        }
        Prometheus::start(meter, page, token, recorder)
    }
}
