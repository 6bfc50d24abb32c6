//! What a request says of itself, and what the engine is asked for on top.

use bytes::Bytes;

use super::{
    engine::{Api, Usage},
    models::Listing,
    usage::{Request, Spliced, Wanted, splice},
};
use crate::{record::RequestMeter, wire::Wire};

/// Whether engines are asked for the usage of streams whose clients did not ask.
///
/// ```
/// use infermeter::proxy::{InjectUsage, Proxy};
///
/// assert_eq!(InjectUsage::default(), InjectUsage::Auto);
/// let builder = Proxy::builder("http://127.0.0.1:8000").inject_usage(InjectUsage::Never);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InjectUsage {
    /// Where the engine is known to need it: it tells no counts otherwise.
    #[default]
    Auto,
    /// Of every engine.
    Always,
    /// Never: the tokens of such streams are counted by their events, which is an estimate.
    Never,
}

#[derive(Debug)]
pub(super) struct Asking {
    pub(super) inject: InjectUsage,
    pub(super) exact_aborts: bool,
}

// === impl Asking ===

impl Asking {
    /// Tells `meter` what a request says, and what has to be sent to the upstream that `listing` is
    /// of in place of `body`, if anything.
    pub(super) fn ask(
        &self,
        body: &Bytes,
        request: &Request<'_>,
        wire: Option<&Wire>,
        listing: &Listing,
        meter: &RequestMeter,
    ) -> Option<Spliced> {
        if let Some(tokens) = request.max_tokens {
            meter.max_tokens(tokens);
        }
        if let Some(choices) = request.n {
            meter.choices(choices);
        }

        let api = Api::of(wire?)?;
        let usage = match (self.inject, listing.engine.usage(api)) {
            (InjectUsage::Never, _) | (InjectUsage::Auto, Usage::Unasked) => return None,
            (InjectUsage::Always, Usage::Unasked) => Usage::AtTheEnd,
            (_, usage) => usage,
        };
        let runs = self.exact_aborts && listing.engine.runs_usage();
        let wanted = if runs { Wanted::Running } else { Wanted::Final };
        let mut spliced = splice(body, request, wanted)?;
        spliced.hide.members |= usage == Usage::AtTheEndAfterZeros;
        Some(spliced)
    }
}
