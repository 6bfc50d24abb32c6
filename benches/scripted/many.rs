//! A meter of many models, and what its page is then.

use infermeter::{InferenceLayer, Meter};
use tower::Layer;

use super::{CHAT, Scripts, TINY_CHAT, request};

/// Of each upstream; more are not told apart.
pub(crate) const MODELS: usize = 64;

/// Upstreams that make a page of more than ten thousand histograms.
pub(crate) const UPSTREAMS: usize = 11;

/// So many upstreams, each with all models that it can have, and each model with a request.
pub(crate) fn meter(upstreams: usize) -> Meter {
    let meter = Meter::new();
    for upstream in 0..upstreams {
        let upstream = meter.upstream(&format!("upstream-{upstream:02}"), None);
        for model in 0..MODELS {
            let model = upstream.model(&format!("model-{model:02}"));
            request(&mut InferenceLayer::new(model).layer(Scripts(TINY_CHAT)), CHAT);
        }
    }
    meter
}

/// How many histograms a page has.
pub(crate) fn histograms(page: &str) -> usize {
    page.lines().filter(|line| line.contains("le=\"+Inf\"")).count()
}
