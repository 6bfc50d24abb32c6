//! The connections to an upstream, as the proxy uses them.

use super::body::RequestBody;
pub(super) use crate::upstream::{Address, SendError, Why, causes, scratch, tls, writing};

pub(super) type Pool = crate::upstream::Upstream<RequestBody>;
pub(super) type Received = crate::upstream::Received<RequestBody>;
