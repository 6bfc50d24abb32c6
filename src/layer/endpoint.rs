//! Which requests are measured.

use std::sync::Arc;

use http::{HeaderMap, Method, header};

use crate::{
    record::{EndpointSeries, Meter},
    stream::is_grpc,
    wire::Wire,
};

/// A kind of request that is measured: its label, and what its answers are written in.
///
/// The measured set is POST to `chat/completions`, `completions`, `responses`, `messages`,
/// `embeddings`, `rerank`, `score`, `classify`, `pooling`, `generate`, `generate_stream`,
/// `completion`, `api/chat` and `api/generate`, at the root or below a mount that ends in a version
/// (`/v1`, `/openai/v1`), and every gRPC call, of which only the end is observed: there the service
/// can tell the rest by [`RequestMeter`](crate::RequestMeter).
///
/// ```
/// use infermeter::{InferenceLayer, Meter, layer::Endpoint, wire::Wire};
///
/// let words = Endpoint::new("words", Wire::openai());
/// assert_eq!(words.label(), "words");
/// let layer = InferenceLayer::new(Meter::new()).endpoint("/my/words", words);
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    label: Arc<str>,
    wire: Wire,
}

/// The endpoints of a layer, by path.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    /// Paths as they were given.
    configured: Vec<(String, Measured)>,
    /// Paths below a mount.
    known: Vec<(&'static str, Measured)>,
    grpc: Measured,
    /// Every other POST, where that is wanted.
    other: Option<Measured>,
}

/// An endpoint with its series.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) series: Arc<EndpointSeries>,
    pub(super) wire: Wire,
}

/// Path below the mount, label, and what the answers are written in; the usual ones first.
const KNOWN: [(&str, &str, Wire); 14] = [
    ("chat/completions", "chat_completions", Wire::openai()),
    ("completions", "completions", Wire::completions()),
    ("responses", "responses", Wire::responses()),
    ("messages", "messages", Wire::anthropic()),
    ("embeddings", "embeddings", Wire::prompt_only()),
    ("rerank", "rerank", Wire::prompt_only()),
    ("score", "score", Wire::prompt_only()),
    ("classify", "classify", Wire::prompt_only()),
    ("pooling", "pooling", Wire::prompt_only()),
    ("generate", "generate", Wire::generate()),
    ("generate_stream", "generate_stream", Wire::generate()),
    ("completion", "completion", Wire::llamacpp()),
    ("api/chat", "api_chat", Wire::ollama()),
    ("api/generate", "api_generate", Wire::ollama()),
];

const GRPC: &str = "grpc";

const OTHER: &str = "other";

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint with a label of your own: a fixed name, never a path that a client sent.
    pub fn new(label: impl Into<Arc<str>>, wire: Wire) -> Self {
        Self { label: label.into(), wire }
    }

    /// The `endpoint` label.
    pub fn label(&self) -> &str {
        &self.label
    }

    fn measured(&self, meter: &Meter) -> Measured {
        Measured { series: meter.endpoint(&self.label), wire: self.wire.clone() }
    }
}

// === impl Endpoints ===

impl Endpoints {
    pub(super) fn new(meter: &Meter) -> Self {
        let measured = |(path, label, wire)| (path, Endpoint::new(label, wire).measured(meter));
        Self {
            configured: Vec::new(),
            known: KNOWN.into_iter().map(measured).collect(),
            grpc: Endpoint::new(GRPC, Wire::opaque()).measured(meter),
            other: None,
        }
    }

    pub(super) fn add(&mut self, path: &str, endpoint: &Endpoint, meter: &Meter) {
        let path = match path.trim_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        };
        self.configured.retain(|(known, _)| *known != path);
        self.configured.push((path, endpoint.measured(meter)));
    }

    pub(super) fn add_other(&mut self, meter: &Meter) {
        self.other = Some(Endpoint::new(OTHER, Wire::openai()).measured(meter));
    }

    /// What a request is measured as; `None` if it passes by.
    pub(super) fn find(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<&Measured> {
        if method != Method::POST {
            return None;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let configured = self.configured.iter().find(|(known, _)| known == path);
        if let Some((_, measured)) = configured {
            return Some(measured);
        }
        // Most paths begin so, and need no search for the mount.
        let below_v1 = path.strip_prefix("/v1/").and_then(|below| self.known(below));
        if let Some(measured) = below_v1.or_else(|| self.known(below_mount(path))) {
            return Some(measured);
        }
        let content_type = headers.get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|value| is_grpc(value.as_bytes()));
        if is_grpc { Some(&self.grpc) } else { self.other.as_ref() }
    }

    fn known(&self, below: &str) -> Option<&Measured> {
        let (_, measured) = self.known.iter().find(|(known, _)| *known == below)?;
        Some(measured)
    }
}

/// What follows the last version in a path: `chat/completions` of `/openai/v1/chat/completions`.
fn below_mount(path: &str) -> &str {
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    let mut below = rest;
    while let Some(slash) = rest.bytes().position(|byte| byte == b'/') {
        let after = &rest[slash + 1..];
        if is_version(&rest[..slash]) {
            below = after;
        }
        rest = after;
    }
    below
}

/// `v1`, `v2`, `v1beta`.
fn is_version(segment: &str) -> bool {
    let mut rest = segment.bytes();
    rest.next() == Some(b'v') && rest.next().is_some_and(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(endpoints: &Endpoints, method: Method, path: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if path.contains("Grpc") {
            headers.insert(header::CONTENT_TYPE, "application/grpc+proto".parse().unwrap());
        }
        let measured = endpoints.find(&method, path, &headers)?;
        Some(measured.series.label().to_owned())
    }

    #[test]
    fn the_measured_set() {
        let meter = Meter::new();
        let mut endpoints = Endpoints::new(&meter);
        endpoints.add("my/words/", &Endpoint::new("words", Wire::openai()), &meter);
        endpoints.add("/my.Grpc/Call", &Endpoint::new("twice", Wire::opaque()), &meter);
        endpoints.add("/my.Grpc/Call", &Endpoint::new("mine", Wire::opaque()), &meter);
        for (path, expected) in [
            ("/v1/chat/completions", Some("chat_completions")),
            ("/chat/completions", Some("chat_completions")),
            ("/openai/v1/chat/completions/", Some("chat_completions")),
            ("/v1beta/completions", Some("completions")),
            ("/v1/completions", Some("completions")),
            ("/api/chat", Some("api_chat")),
            ("/api/generate", Some("api_generate")),
            ("/generate", Some("generate")),
            ("/v2/rerank", Some("rerank")),
            ("/my/words", Some("words")),
            ("/pkg.Grpc/Call", Some("grpc")),
            ("/my.Grpc/Call", Some("mine")),
            ("/v1/models", None),
            ("/x/completions", None),
            ("/v1/", None),
            ("/v1", None),
            ("/", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(label(&endpoints, Method::POST, path).as_deref(), expected, "{path}");
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert_eq!(label(&endpoints, method, path), None, "{path}");
            }
        }
        endpoints.add("/", &Endpoint::new("root", Wire::opaque()), &meter);
        assert_eq!(label(&endpoints, Method::POST, "/").as_deref(), Some("root"));
        endpoints.add_other(&meter);
        assert_eq!(label(&endpoints, Method::POST, "/anything").as_deref(), Some("other"));
        assert_eq!(label(&endpoints, Method::HEAD, "/anything"), None);
    }
}
