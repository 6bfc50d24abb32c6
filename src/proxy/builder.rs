//! How a proxy is set up.

use std::{error, fmt, sync::Arc, time::Duration};

use http::HeaderName;
use rustls::ClientConfig;

use super::{
    Proxy, Upstream,
    asking::{Asking, InjectUsage},
    connections::Limits,
    failures,
    forward::Shared,
    models::Known,
    pool::tls,
    route::Route,
    routes::Routes,
};
use crate::{
    admission::AdmissionLayer,
    engines::EngineKind,
    layer::{Endpoint, InferenceLayer, Start},
    record::{Meter, MeterError},
};

/// Sets up a [`Proxy`].
///
/// ```
/// use std::time::Duration;
///
/// use infermeter::{Meter, proxy::Proxy};
///
/// let proxy = Proxy::builder("http://127.0.0.1:8000")
///     .meter(Meter::new())
///     .model("tiny-words")
///     .first_byte_timeout(Duration::from_secs(60))
///     .build()
///     .unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ProxyBuilder {
    upstreams: Result<Vec<Upstream>, ProxyError>,
    meter: Meter,
    endpoints: Vec<(String, Endpoint)>,
    tenant_header: Option<String>,
    admission: Option<AdmissionLayer>,
    inject: InjectUsage,
    exact_aborts: bool,
    failure_messages: bool,
    connect_timeout: Duration,
    first_byte_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    max_request_body: Option<u64>,
    upstream_ca: Option<Vec<u8>>,
    drain_timeout: Duration,
}

/// A proxy that cannot be; the message says what is wrong and what is allowed.
///
/// ```
/// use infermeter::proxy::{Proxy, ProxyError};
///
/// let error = Proxy::builder("127.0.0.1:8000").build().unwrap_err();
/// assert!(matches!(error, ProxyError::Upstream(..)));
/// assert!(error.to_string().starts_with(r#"the upstream "127.0.0.1:8000": it is not a"#));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProxyError {
    /// Upstreams cannot have their labels.
    Labels(MeterError),
    /// There is no upstream.
    NoUpstream,
    /// Two upstreams have this model.
    SameModel(String),
    /// Two upstreams have this name.
    SameName(String),
    /// The URL of an upstream cannot be used.
    Upstream(String, String),
    /// The certificates cannot be used.
    UpstreamCa(String),
    /// The name of an upstream cannot be one.
    UpstreamName(String),
    /// The variant of an upstream cannot be one.
    UpstreamVariant(String),
    /// The name of a header cannot be one.
    TenantHeader(String),
}

const NAMES: &str = "allowed are up to 64 letters, digits, _, . and -, and not none";

// === impl ProxyBuilder ===

impl ProxyBuilder {
    pub(super) fn new(upstreams: Result<Vec<Upstream>, ProxyError>) -> Self {
        Self {
            upstreams,
            meter: Meter::new(),
            endpoints: Vec::new(),
            tenant_header: None,
            admission: None,
            inject: InjectUsage::default(),
            exact_aborts: false,
            failure_messages: false,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: None,
            idle_timeout: None,
            max_request_body: None,
            upstream_ca: None,
            drain_timeout: Duration::from_secs(120),
        }
    }

    /// Measures into this meter. Default: a fresh one, which nothing publishes.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = meter;
        self
    }

    /// Measures one more path, or reads a known path in another way; see
    /// [`InferenceLayer::endpoint`].
    #[must_use]
    pub fn endpoint(mut self, path: impl Into<String>, endpoint: Endpoint) -> Self {
        self.endpoints.push((path.into(), endpoint));
        self
    }

    /// Names a model that the upstream serves, of several the first one; a request that names none is
    /// for the model named first.
    ///
    /// Without any, the upstream is asked for them (`/v1/models`, every 30 s). Only what is named
    /// here or there becomes a label; any other name is `other`. Where neither tells, all requests
    /// have the meter's own label.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        if let Ok([first, ..]) = self.upstreams.as_deref_mut() {
            first.models.push(name.into());
        }
        self
    }

    /// Says which engine the upstream is, of several the first one, which decides what
    /// [`inject_usage`](Self::inject_usage) asks of it. Default: what `/v1/models` shows.
    #[must_use]
    pub fn engine(mut self, kind: EngineKind) -> Self {
        if let Ok([first, ..]) = self.upstreams.as_deref_mut() {
            first.engine = Some(kind);
        }
        self
    }

    /// Counts requests and tokens by the tenant that this request header names. Default: none.
    ///
    /// Clients can send any header: use one that a gateway in front sets, and strips where a client
    /// did.
    #[must_use]
    pub fn tenant_header(mut self, name: impl Into<String>) -> Self {
        self.tenant_header = Some(name.into());
        self
    }

    /// Lets so many measured requests run at once; all others pass by. Make it with the meter of
    /// the proxy. Default: the upstream queues for itself.
    #[must_use]
    pub fn admission(mut self, layer: AdmissionLayer) -> Self {
        self.admission = Some(layer.only_measured());
        self
    }

    /// Whether engines are asked for the usage of a stream whose client did not ask.
    ///
    /// The proxy then adds `stream_options.include_usage` to the request, and takes the usage out
    /// of the answer again: the client sees what it would have seen. Default: [`InjectUsage::Auto`].
    #[must_use]
    pub fn inject_usage(mut self, inject: InjectUsage) -> Self {
        self.inject = inject;
        self
    }

    /// Asks engines that know it (vLLM, SGLang) for a running usage in every chunk of a stream, and
    /// takes it out again, so that the tokens of a stream that its client leaves are exact too.
    /// Default: `false`.
    #[must_use]
    pub fn exact_aborts(mut self, exact: bool) -> Self {
        self.exact_aborts = exact;
        self
    }

    /// Puts what errors say for people into the log too (`error_message`). Default: `false`.
    ///
    /// Each request that has failed is an event of its own, of the level `WARN` and the target
    /// `infermeter::request`. It has no prompts in it; but messages may, as engines repeat in them
    /// what they cannot read.
    #[must_use]
    pub fn failure_messages(mut self, wanted: bool) -> Self {
        self.failure_messages = wanted;
        self
    }

    /// How long a connection to the upstream may take to be made, TLS included. Default: 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long the upstream may take until the first byte of its answer's body: 504 before the
    /// head, and a broken-off answer after it. Default: no limit.
    #[must_use]
    pub fn first_byte_timeout(mut self, limit: Duration) -> Self {
        self.first_byte_timeout = Some(limit);
        self
    }

    /// How long an answer may pause once it has begun; comments, as keep-alives are, count neither
    /// as a beginning nor as a sign of life. It is broken off then. Default: no limit.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// How many bytes the body of a request may have; 413 beyond. Default: no limit.
    #[must_use]
    pub fn max_request_body(mut self, bytes: u64) -> Self {
        self.max_request_body = Some(bytes);
        self
    }

    /// Trusts these certificates (PEM) for an `https` upstream, and no others. Default: those that
    /// browsers trust.
    #[must_use]
    pub fn upstream_ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.upstream_ca = Some(pem.into());
        self
    }

    /// How long requests may still take once the proxy is to stop. Default: 120 s.
    #[must_use]
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// Makes the proxy.
    ///
    /// # Errors
    ///
    /// The first thing that could not be used.
    pub fn build(self) -> Result<Proxy, ProxyError> {
        let upstreams = self.upstreams.clone()?;
        distinct(&upstreams)?;
        let tls = self.tls().map_err(ProxyError::UpstreamCa)?;
        let are_named = upstreams.iter().any(|upstream| upstream.name.is_some());
        if are_named {
            self.meter.has_room_for_upstreams().map_err(ProxyError::Labels)?;
        }
        let routes = upstreams.iter().enumerate();
        let routes = routes.map(|(at, upstream)| Route::new(at, upstream, &self.meter)).collect();
        let routes = Routes::new(routes).ok_or(ProxyError::NoUpstream)?;
        // Of several, the right one is known once the request was read.
        let only = (!routes.are_several()).then(|| routes.first());
        let meter = only.map_or(&self.meter, |route| &route.meter).clone();
        let layer = self.layer(&meter, only.map(|route| route.known.clone()))?;
        let shared = Shared {
            routes,
            layer,
            asking: Asking { inject: self.inject, exact_aborts: self.exact_aborts },
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            max_request_body: self.max_request_body,
            limits: Limits::default(),
        };
        Ok(Proxy {
            shared: Arc::new(shared),
            meter,
            admission: self.admission,
            tls,
            connect_timeout: self.connect_timeout,
            drain_timeout: self.drain_timeout,
        })
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        self.upstream_ca.as_deref().map_or_else(tls::usual, tls::trusting)
    }

    fn layer(&self, meter: &Meter, known: Option<Known>) -> Result<InferenceLayer, ProxyError> {
        // NB: how long a request waits inside of the engine, the engine alone knows.
        let messages = self.failure_messages;
        let layer = InferenceLayer::new(meter.clone())
            .start(Start::Told)
            .on_end(move |ended| failures::log(ended, messages));
        let layer = match known {
            Some(known) => layer.model_from(move |_| known.get().label(None).map(str::to_owned)),
            None => layer,
        };
        let layer = self
            .endpoints
            .iter()
            .fold(layer, |layer, (path, endpoint)| layer.endpoint(path, endpoint.clone()));
        let Some(name) = &self.tenant_header else { return Ok(layer) };
        let name: HeaderName = name.parse().map_err(|_| ProxyError::TenantHeader(name.clone()))?;
        Ok(layer.tenant_from(move |head| Some(head.headers.get(&name)?.to_str().ok()?.to_owned())))
    }
}

/// No name and no model is there twice.
fn distinct(upstreams: &[Upstream]) -> Result<(), ProxyError> {
    let (mut names, mut models) = (Vec::new(), Vec::new());
    for Upstream { name, models: own, .. } in upstreams {
        if names.contains(&name) {
            return Err(ProxyError::SameName(name.clone().unwrap_or_default()));
        }
        if let Some(model) = own.iter().find(|model| models.contains(model)) {
            return Err(ProxyError::SameModel(model.clone()));
        }
        names.push(name);
        models.extend(own);
    }
    Ok(())
}

// === impl ProxyError ===

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(url, error) => write!(f, "the upstream {url:?}: {error}"),
            Self::Labels(error) => error.fmt(f),
            Self::NoUpstream => f.write_str("there is no upstream; allowed is one at least"),
            Self::SameModel(model) => {
                write!(f, "two upstreams have the model {model:?}; allowed is one for each model")
            }
            Self::SameName(name) => {
                write!(f, "two upstreams have the name {name:?}; allowed are different ones")
            }
            Self::UpstreamName(name) => {
                write!(f, "{name:?} is no name of an upstream; {NAMES}")
            }
            Self::UpstreamVariant(name) => {
                write!(f, "{name:?} is no name of a variant; {NAMES}")
            }
            Self::UpstreamCa(error) => write!(f, "the certificates of the upstream: {error}"),
            Self::TenantHeader(name) => write!(
                f,
                "the tenant header {name:?} is no name of a header; allowed are letters, digits \
                 and hyphens, such as x-tenant"
            ),
        }
    }
}

impl error::Error for ProxyError {}
