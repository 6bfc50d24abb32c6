//! The path of a request as the client sent it.

use axum::extract::OriginalUri;
use http::Request;

/// NB: inside of `Router::nest` the request's own path has lost the part that was matched. What
/// does not end in the request's own path is of another request: that of a gateway, whose client
/// the layer is around.
pub(super) fn full_path<B>(request: &Request<B>) -> &str {
    let own = request.uri().path();
    match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) if uri.path().ends_with(own) => uri.path(),
        _ => own,
    }
}
