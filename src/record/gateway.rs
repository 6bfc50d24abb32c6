//! What the proxy says about a request.

use super::RequestMeter;

impl RequestMeter {
    /// The client has gone away: the request is aborted, whatever comes of it.
    pub(crate) fn client_left(&self) {
        if let Some(record) = &self.0 {
            record.state().said.client_left = true;
        }
    }
}
