//! Errors, in the shape that clients of OpenAI understand.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Error {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The field that is wrong.
    pub(crate) param: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
}

// === impl Error ===

impl Error {
    /// A request that cannot be understood.
    pub(crate) fn invalid(param: impl Into<Option<&'static str>>, message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message, param: param.into(), code: None }
    }

    /// A field that is something else than what is allowed.
    pub(crate) fn field(param: &'static str, value: &Value, allowed: &str) -> Self {
        let mut value = value.to_string();
        if value.chars().count() > 60 {
            value = value.chars().take(60).chain(['…']).collect();
        }
        Self::invalid(param, format!("{param} is {value}; allowed is {allowed}"))
    }

    /// A fault of the service.
    pub(crate) fn fault(message: &str) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, message: message.to_owned(), param: None, code: None }
    }

    pub(crate) fn json(&self) -> String {
        let Self { status, message, param, code } = self;
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let error = json!({ "message": message, "type": kind, "param": param, "code": code });
        json!({ "error": error }).to_string()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        (self.status, json, self.json()).into_response()
    }
}
