//! What the proxy asks a format.

use super::{Kind, Wire};

impl Wire {
    /// The name of one of ours.
    pub(crate) const fn name(&self) -> Option<&'static str> {
        match self.0 {
            Kind::BuiltIn(name, _) => Some(name),
            Kind::Opaque | Kind::Custom(_) => None,
        }
    }
}
