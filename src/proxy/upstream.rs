//! What is said of a service that the proxy stands in front of.

use super::{ProxyError, pool::Address};
use crate::{engines::EngineKind, upstream::without_user};

/// One of several services behind a proxy; see [`Proxy::routing`](super::Proxy::routing).
///
/// ```
/// use infermeter::proxy::Upstream;
///
/// # fn main() -> Result<(), infermeter::proxy::ProxyError> {
/// let thinking = Upstream::new("thinking", "http://127.0.0.1:8000")?.model("qwen3-thinking");
/// # drop(thinking);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `None` where there is no other.
    pub(super) name: Option<String>,
    pub(super) address: Address,
    pub(super) models: Vec<String>,
    pub(super) engine: Option<EngineKind>,
    pub(super) variant: Option<String>,
}

/// How long a name may be, in characters.
const LONGEST_NAME: usize = 64;

// === impl Upstream ===

impl Upstream {
    /// A service at this URL, under a name that no other has: at most 64 letters, digits, `_`, `.`
    /// and `-`, and not `none`.
    ///
    /// # Errors
    ///
    /// The name or the URL cannot be used.
    pub fn new(name: impl Into<String>, url: impl AsRef<str>) -> Result<Self, ProxyError> {
        let name = name.into();
        if !is_name(&name) {
            return Err(ProxyError::UpstreamName(name));
        }
        Ok(Self { name: Some(name), ..Self::only(url.as_ref())? })
    }

    /// One that needs no name.
    pub(super) fn only(url: &str) -> Result<Self, ProxyError> {
        let address = Address::new(url);
        let address = address.map_err(|error| ProxyError::Upstream(without_user(url), error))?;
        Ok(Self { name: None, address, models: Vec::new(), engine: None, variant: None })
    }

    /// Names a model that it serves; given once, only the models that are named are sent to it.
    ///
    /// Without any, it is asked for them (`/v1/models`, every 30 s), aliases and LoRA adapters
    /// included.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.models.push(name.into());
        self
    }

    /// Says which engine it is, as [`ProxyBuilder::engine`](super::ProxyBuilder::engine) does.
    #[must_use]
    pub fn engine(mut self, kind: EngineKind) -> Self {
        self.engine = Some(kind);
        self
    }

    /// Which variant of a service it is, to compare it with others; the rules are those of a name.
    /// Default: none.
    ///
    /// # Errors
    ///
    /// It cannot be one.
    pub fn variant(self, variant: impl Into<String>) -> Result<Self, ProxyError> {
        let variant = variant.into();
        if !is_name(&variant) {
            return Err(ProxyError::UpstreamVariant(variant));
        }
        Ok(Self { variant: Some(variant), ..self })
    }
}

/// Whether it can be the name of an upstream or of a variant.
fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    // NB: `none` is the label of requests that no upstream has got.
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_allowed) && name != "none"
}
