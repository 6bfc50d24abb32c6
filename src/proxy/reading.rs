//! What a request asks for, and so which upstream it is for.

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use super::{
    body::RequestBody,
    forward::{Failed, Forward, Shared},
    merged,
    models::OTHER,
    route::Route,
    usage::{Request, Spliced},
};
use crate::record::RequestMeter;

/// How much of a request is read ahead to learn what it asks for; a longer one goes by unread.
const READ_AHEAD: u64 = 8 * 1024 * 1024;

/// What a request says of itself.
#[derive(Debug)]
pub(super) struct Read<'a> {
    /// What is asked of the engine on top.
    pub(super) spliced: Option<Spliced>,
    pub(super) route: &'a Route,
}

// === impl Forward ===

impl Forward {
    /// Reads what a request asks for, where that matters and it can be read.
    pub(super) async fn read(
        &self,
        parts: &Parts,
        body: &mut RequestBody,
        meter: &RequestMeter,
    ) -> Result<Read<'_>, Failed> {
        let Shared { layer, asking, routes, .. } = &*self.shared;
        let is_wanted = meter.is_measuring() || (routes.are_several() && is_json(parts));
        if is_wanted && !parts.headers.contains_key(header::CONTENT_ENCODING) {
            body.read_ahead(READ_AHEAD).await?;
        }
        let Some((whole, request)) =
            body.whole().and_then(|whole| Some((whole, Request::read(whole)?)))
        else {
            let named = merged::model_in_path(parts);
            let route = routes.for_model(named.as_deref())?;
            if routes.are_several() {
                route.gets(meter, route.known.get().label(None));
            }
            return Ok(Read { spliced: None, route });
        };
        // NB: an empty name is none; so vLLM takes it.
        let model = request.model.as_deref().filter(|model| !model.is_empty());
        let route = routes.for_model(model).inspect_err(|_| meter.model(OTHER))?;
        let listing = route.known.get();
        route.gets(meter, listing.label(model));
        let wire = layer.wire_for(&parts.method, parts.uri.path(), &parts.headers);
        let spliced = asking.ask(whole, &request, wire, &listing, meter);
        Ok(Read { spliced, route })
    }
}

/// Whether it says that it has a body in JSON.
fn is_json(parts: &Parts) -> bool {
    let has_body = parts.method == Method::POST || parts.method == Method::PUT;
    has_body && is_json_type(&parts.headers)
}

fn is_json_type(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    content_type.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}
