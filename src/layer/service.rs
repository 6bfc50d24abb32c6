//! The service that the layer makes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

use super::{
    ResponseBody, ResponseFuture,
    endpoint::Measured,
    future::Open,
    layer::{Config, LabelFrom, Start},
    path::full_path,
};
use crate::record::{Asked, ModelId, Record, RequestMeter, TenantId};

/// Measures the requests of the service inside. See the [module docs](crate::layer).
///
/// ```
/// use infermeter::{InferenceLayer, Meter, layer::InferenceService, names, record::*};
/// use tower::{Layer, ServiceExt};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let meter = Meter::new();
/// let service: InferenceService<_> = InferenceLayer::new(meter.clone()).layer(words);
/// let request = http::Request::post("/v1/completions").body(()).unwrap();
/// service.oneshot(request).await.unwrap();
/// assert_eq!(meter.collect().series(&names::REQUEST_TOTAL)[0].value, Value::Counter(1));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct InferenceService<S> {
    inner: S,
    config: Arc<Config>,
}

/// What a request is counted under, and what is kept of it beside that.
struct Labels {
    model: ModelId,
    tenant: Option<TenantId>,
    asked: Option<Arc<Asked>>,
}

// === impl InferenceService ===

impl<S> InferenceService<S> {
    pub(super) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for InferenceService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    /// Always ready: a request that has to wait for the service inside is seen waiting.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let open = match self.measured(&request) {
            Some(measured) => {
                let (model, tenant, asked);
                if self.config.asks_requests || self.config.meter.keeps_requests() {
                    (request, Labels { model, tenant, asked }) = self.labels(request);
                } else {
                    (model, tenant, asked) = (self.config.default_model(), None, None);
                }
                let shared = Arc::clone(self.config.meter.shared());
                let start = self.config.start;
                let start_is_told = start == Start::Told;
                let record =
                    Record::open(shared, &measured.series, model, tenant, asked, start_is_told);
                request.extensions_mut().insert(RequestMeter::new(Arc::clone(&record)));
                Open::measured(record, measured.wire.clone(), start)
            }
            None => Open::unmeasured(),
        };
        ResponseFuture::new(self.inner.clone(), request, open)
    }
}

impl<S> InferenceService<S> {
    /// What a request is measured as; `None` if it passes by.
    fn measured<B>(&self, request: &Request<B>) -> Option<&Measured> {
        let Config { meter, endpoints, .. } = &*self.config;
        let path = full_path(request);
        let measured = endpoints.find(request.method(), path, request.headers())?;
        // NB: another layer of the same meter, on an outer router for instance, has it already.
        let outer = request.extensions().get::<RequestMeter>();
        let is_measured = outer.is_some_and(|outer| outer.is_open_in(meter.shared()));
        (!is_measured && !meter.is_disabled()).then_some(measured)
    }

    /// The labels at arrival, by what the user says.
    fn labels<B>(&self, request: Request<B>) -> (Request<B>, Labels) {
        let Config { meter, model_from, tenant_from, on_end, .. } = &*self.config;
        let (parts, body) = request.into_parts();
        // The panic hook has told of it.
        let ask = |from: &LabelFrom| catch_unwind(AssertUnwindSafe(|| from(&parts))).ok().flatten();
        let model = model_from.as_ref().and_then(ask);
        let model = model.map_or_else(|| self.config.default_model(), |name| meter.model_id(&name));
        let tenant = tenant_from.as_ref().map(|from| meter.tenant_id(ask(from).as_deref()));
        let asked = Asked::new(on_end, meter.keeps_requests(), &parts.headers);
        (Request::from_parts(parts, body), Labels { model, tenant, asked })
    }
}
