//! `RequestMeter` as an axum extractor.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::record::RequestMeter;

/// Never fails: without the layer the handle does nothing.
impl<S: Sync> FromRequestParts<S> for RequestMeter {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::from_extensions(&parts.extensions))
    }
}
