//! What all upstreams together are asked for by its path: their models.

use std::{borrow::Cow, collections::HashSet};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header, request::Parts};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{body::Answer, models::Listing, routes::Routes};

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Cow<'a, RawValue>>,
}

/// What is said of a model that was configured and of which its upstream says nothing.
#[derive(Serialize)]
struct Made<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

const PATH: &str = "/v1/models";

/// Whether a request is for the list of all models.
pub(super) fn is_for_list(head: &Parts) -> bool {
    is_reading(head) && head.uri.path() == PATH
}

/// The model that a request is about which has no body: that of `GET /v1/models/{model}`.
pub(super) fn model_in_path(head: &Parts) -> Option<String> {
    let model = head.uri.path().strip_prefix(PATH)?.strip_prefix('/')?;
    is_reading(head).then(|| decoded(model))
}

fn is_reading(head: &Parts) -> bool {
    head.method == Method::GET || head.method == Method::HEAD
}

/// NB: names have slashes in them, which some clients write as `%2F`.
fn decoded(path: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let [byte, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        bytes.push(escaped.map_or(*byte, |(high, low)| 16 * high + low));
        rest = if escaped.is_some() { &rest[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

// === impl Routes ===

impl Routes {
    /// The models of all, each once and as its upstream has last told of it. Waits for nobody.
    pub(super) fn list(&self) -> Response<Answer> {
        let listings: Vec<_> = self.iter().map(|route| route.known.get()).collect();
        let (mut data, mut seen) = (Vec::new(), HashSet::new());
        for (route, listing) in self.iter().zip(&listings) {
            let Listing { models, entries, .. } = &**listing;
            // NB: what goes to another one is told by that one.
            let is_own = |model: &str| self.find(model) == Some(route.at);
            for entry in entries.iter().filter(|entry| is_own(&entry.model)) {
                if seen.insert(&entry.model) {
                    data.push(Cow::Borrowed(&*entry.json));
                }
            }
            let configured = models.iter().filter(|_| route.known.has_models());
            for model in configured.filter(|model| is_own(model)) {
                if seen.insert(model) {
                    let (object, owned_by) = ("model", route.name());
                    let made = to_raw_value(&Made { id: model, object, created: 0, owned_by });
                    data.extend(made.ok().map(Cow::Owned));
                }
            }
        }
        let body = serde_json::to_vec(&List { object: "list", data }).unwrap_or_default();
        let mut answer = Response::new(Answer::own(Bytes::from(body)));
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_in_paths() {
        let named = |method: &str, path: &str| {
            let request = http::Request::builder().method(method).uri(path);
            model_in_path(&request.body(()).unwrap().into_parts().0)
        };
        for (path, model) in [
            ("/v1/models/m", Some("m")),
            ("/v1/models/me/m%2fn?x=1", Some("me/m/n")),
            ("/v1/models/%E2%82%AC%2", Some("€%2")),
            ("/v1/models/%+f%zz%", Some("%+f%zz%")),
            ("/v1/models/", Some("")),
            ("/v1/models", None),
            ("/v1/modelsx", None),
            ("/models/m", None),
        ] {
            assert_eq!(named("GET", path).as_deref(), model, "{path}");
            assert_eq!(named("DELETE", path), None);
        }
    }
}
