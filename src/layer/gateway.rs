//! What the proxy asks the layer.

use http::{HeaderMap, Method};

use super::InferenceLayer;
use crate::wire::Wire;

impl InferenceLayer {
    /// What the answer of a request is written in; `None` where it is not measured.
    pub(crate) fn wire_for(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<&Wire> {
        self.config.endpoints.find(method, path, headers).map(|measured| &measured.wire)
    }
}
