//! What the proxy asks a format.

use super::{
    ErrorDetails, Kind, Wire,
    details::{MESSAGE, WORD, bounded},
};

impl Wire {
    /// The name of one of ours.
    pub(crate) const fn name(&self) -> Option<&'static str> {
        match self.0 {
            Kind::BuiltIn(name, _) => Some(name),
            Kind::Opaque | Kind::Custom(_) => None,
        }
    }
}

impl ErrorDetails {
    /// Of an error that the proxy makes.
    pub(crate) fn told(r#type: &str, code: &str, message: &str) -> Self {
        Self {
            r#type: bounded(r#type, WORD),
            code: bounded(code, WORD),
            param: None,
            message: bounded(message, MESSAGE),
        }
    }
}
