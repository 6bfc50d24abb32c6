//! Asks the upstream now and then what it serves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use tokio::time::{sleep, timeout};

use super::{
    body::RequestBody,
    engine::Engine,
    models::{Known, Listing},
    upstream::{Address, Upstream},
};
use crate::{engines::Models, record::Meter};

/// While the upstream says what it serves.
const EVERY: Duration = Duration::from_secs(30);

/// While it does not.
const AGAIN: Duration = Duration::from_secs(1);

const LIMIT: Duration = Duration::from_secs(5);

const LONGEST: usize = 1024 * 1024;

/// Keeps `known` up to date, for ever.
pub(super) async fn keep(address: Address, upstream: Upstream, meter: Meter, known: Known) {
    let Some(uri) = address.uri(&Uri::from_static("/v1/models")) else { return };
    loop {
        let listed = timeout(LIMIT, ask(&upstream, &uri)).await.ok().flatten();
        let pause = if listed.is_some() { EVERY } else { AGAIN };
        if let Some(listing) = listed.and_then(|listing| known.update(listing)) {
            tracing::info!(engine = ?listing.engine, models = ?listing.models, "upstream");
            // Their series exist from here on.
            listing.models.iter().for_each(|model| drop(meter.model(model)));
        }
        sleep(pause).await;
    }
}

async fn ask(upstream: &Upstream, uri: &Uri) -> Option<Listing> {
    let request = Request::get(uri).header(header::ACCEPT, "application/json");
    let answer = upstream.send(request.body(RequestBody::default()).ok()?).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
    read(&body, &parts.headers)
}

fn read(body: &Bytes, headers: &HeaderMap) -> Option<Listing> {
    if body.is_empty() {
        // NB: so mlx-lm does, which fails after the head where the machine has no cache of models.
        let engine = Engine::of_no_model(headers);
        return (engine != Engine::Unknown).then(|| Listing { models: Vec::new(), engine });
    }
    let Models { data } = Models::read(body)?;
    let first = data.first()?;
    let engine = Engine::of(&first.id, first.owned_by.as_deref(), headers);
    let names = data.iter().flat_map(|model| {
        std::iter::once(&*model.id).chain(model.aliases.iter().map(String::as_str))
    });
    let mut models: Vec<Arc<str>> = Vec::new();
    for name in names {
        if !models.iter().any(|known| **known == *name) {
            models.push(name.into());
        }
    }
    Some(Listing { models, engine })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_lists_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&Bytes::new(), &headers), None);
        headers.insert(header::SERVER, "BaseHTTP/0.6 Python/3.11.7".parse().unwrap());
        let listing = read(&Bytes::new(), &headers);
        assert_eq!(listing, Some(Listing { models: Vec::new(), engine: Engine::MlxLm }));
    }

    #[test]
    fn models_and_their_owner() {
        let body = Bytes::from_static(
            br#"{"models":[],"object":"list","data":[{"id":"tiny","aliases":["tiny","small"],
            "owned_by":"llamacpp"},{"id":"\u0074wo","owned_by":null}]}"#,
        );
        let listing = read(&body, &HeaderMap::new()).unwrap();
        assert_eq!(listing.engine, Engine::LlamaCpp);
        assert_eq!(
            listing.models.iter().map(|m| &**m).collect::<Vec<_>>(),
            ["tiny", "small", "two"]
        );
        for none in
            ["", "[]", r#"{"data":[]}"#, r#"{"data":[{"id":7}]}"#, r#"{"detail":"Not Found"}"#]
        {
            assert_eq!(
                read(&Bytes::from_static(none.as_bytes()), &HeaderMap::new()),
                None,
                "{none}"
            );
        }
    }
}
