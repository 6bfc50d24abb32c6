//! The body of an answer, whichever way it comes.

use http_body_util::Either;
use hyper::body::Incoming;

use super::direct::Exchange;

/// What an upstream sends; `B` is the body of the request, of which some may still be on its way.
pub(crate) type Received<B> = Either<Box<Exchange<B>>, Incoming>;
