//! Asks an upstream now and then what it serves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{sleep, timeout};

use super::{
    body::RequestBody,
    engine::Engine,
    forward::Shared,
    models::{Entry, Listing},
    pool::Pool,
};
use crate::engines::Models;

/// While the upstream says what it serves.
const EVERY: Duration = Duration::from_secs(30);

/// While it does not.
const AGAIN: Duration = Duration::from_secs(1);

const LIMIT: Duration = Duration::from_secs(5);

const LONGEST: usize = 1024 * 1024;

/// The same models, as they are written.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// Keeps what is known of an upstream up to date, for ever.
pub(super) async fn keep(shared: Arc<Shared>, at: usize, pool: Pool) {
    let route = shared.routes.get(at);
    let Some(uri) = route.address.uri(&Uri::from_static("/v1/models")) else { return };
    // NB: one of all clones of a proxy asks. When it ends, and its runtime with it, the next one does.
    let _turn = route.listing.lock().await;
    loop {
        let said = timeout(LIMIT, ask(&pool, &uri)).await.ok().flatten();
        let pause = if said.is_some() { EVERY } else { AGAIN };
        if let Some(listing) = said.and_then(|said| route.known.update(said)) {
            let (name, Listing { models, engine, .. }) = (route.name.0.as_deref(), &*listing);
            tracing::info!(upstream = name, ?engine, ?models, "upstream");
            // Their series exist from here on.
            models.iter().for_each(|model| drop(route.meter.model(model)));
            shared.routes.warn_of_hidden();
        }
        sleep(pause).await;
    }
}

async fn ask(pool: &Pool, uri: &Uri) -> Option<Listing> {
    let request = Request::get(uri).header(header::ACCEPT, "application/json");
    let answer = pool.send(request.body(RequestBody::default()).ok()?).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
    read(&body, &parts.headers)
}

fn read(body: &Bytes, headers: &HeaderMap) -> Option<Listing> {
    let said = Listing { has_answered: true, ..Listing::default() };
    if body.is_empty() {
        // NB: so mlx-lm does, which fails after the head where the machine has no cache of models.
        let engine = Engine::of_no_model(headers);
        return (engine != Engine::Unknown).then_some(Listing { engine, ..said });
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
    let written = serde_json::from_slice::<Written<'_>>(body).ok()?.data;
    let entries = data.iter().zip(written);
    let entries =
        entries.map(|(model, json)| Entry { model: (&*model.id).into(), json: json.to_owned() });
    Some(Listing { models, engine, entries: entries.collect(), ..said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_lists_nothing() {
        let mut headers = HeaderMap::new();
        assert!(read(&Bytes::new(), &headers).is_none());
        headers.insert(header::SERVER, "BaseHTTP/0.6 Python/3.11.7".parse().unwrap());
        let listing = read(&Bytes::new(), &headers).unwrap();
        assert_eq!((listing.models.len(), listing.engine), (0, Engine::MlxLm));
    }

    #[test]
    fn models_and_their_owner() {
        let body = Bytes::from_static(
            br#"{"models":[],"object":"list","data":[{"id":"tiny","aliases":["tiny","small"],
            "owned_by":"llamacpp"},{"id":"\u0074wo",  "owned_by":null}]}"#,
        );
        let listing = read(&body, &HeaderMap::new()).unwrap();
        assert_eq!(listing.engine, Engine::LlamaCpp);
        assert_eq!(
            listing.models.iter().map(|m| &**m).collect::<Vec<_>>(),
            ["tiny", "small", "two"]
        );
        let [_, two] = &listing.entries[..] else { panic!("{listing:?}") };
        assert_eq!(
            (&*two.model, two.json.get()),
            ("two", r#"{"id":"\u0074wo",  "owned_by":null}"#)
        );
        for none in
            ["", "[]", r#"{"data":[]}"#, r#"{"data":[{"id":7}]}"#, r#"{"detail":"Not Found"}"#]
        {
            let listing = read(&Bytes::from_static(none.as_bytes()), &HeaderMap::new());
            assert!(listing.is_none(), "{none}");
        }
    }
}
