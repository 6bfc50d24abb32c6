//! The upstream, as the proxy asks it.

use super::body::RequestBody;
pub(super) use crate::upstream::{Address, SendError, Why, causes, tls};

pub(super) type Upstream = crate::upstream::Upstream<RequestBody>;
