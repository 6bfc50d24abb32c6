//! The bearer token that a scrape must bring.

use std::{fmt, hint::black_box, io, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::people;

/// What is answered without a token, beside files that have no data in them: probes have none. All
/// else needs one.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const ABSENT: &str = "This needs a bearer token: send the header `Authorization: Bearer TOKEN` \
                      (in Prometheus: `authorization: { credentials_file: … }`).\n";
const WRONG: &str = "The bearer token is not the one that is asked for here.\n";

/// Visible ASCII, and at least one. It shows in no output.
#[derive(Clone)]
pub(super) struct Token(Arc<str>);

/// Why a text is no token. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TokenError {
    Empty,
    /// The first character that is not allowed, counted from 1.
    Character(usize),
}

/// Answers 401 to whoever does not bring the token.
pub(super) async fn guard(State(token): State<Token>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) || people::is_file(&request) {
        return next.run(request).await;
    }
    let problem = match bearer(request.headers()) {
        Some(given) if token.is(given) => return next.run(request).await,
        Some(_) => WRONG,
        None => ABSENT,
    };
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], problem).into_response()
}

/// What a request has after `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let end = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

// === impl Token ===

impl Token {
    pub(super) fn parse(text: &str) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        match text.chars().position(|c| !c.is_ascii_graphic()) {
            Some(before) => Err(TokenError::Character(before + 1)),
            None => Ok(Self(text.into())),
        }
    }

    /// Takes as long however many characters are right, so that nobody finds them one by one. (It
    /// does show whether the length is.)
    fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differences = own.iter().zip(given).fold(0, |all, (own, given)| {
            // NB: not seen through by the optimizer, which could leave at the first difference.
            black_box(all | (own ^ given))
        });
        own.len() == given.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

// === impl TokenError ===

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the bearer token is empty")?,
            Self::Character(place) => write!(
                f,
                "character {place} of the bearer token is a space, a line end or another that a \
                 token cannot have"
            )?,
        }
        f.write_str("; allowed are one or more visible ASCII characters, `!` to `~`")
    }
}

impl From<TokenError> for io::Error {
    fn from(error: TokenError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_cannot_carry_is_no_token() {
        for (text, place) in [("a\n", 2), (" a", 1), ("a b", 2), ("é", 1), ("aé\u{7f}", 2)] {
            let error = Token::parse(text).unwrap_err();
            assert_eq!(error, TokenError::Character(place), "{text:?}");
            let error = io::Error::from(error);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("allowed"), "{error}");
        }
        assert_eq!(Token::parse("").unwrap_err(), TokenError::Empty);
        assert!(Token::parse("!abc-._~+/019==~").is_ok());
    }

    #[test]
    fn only_the_whole_token_is_right() {
        let token = Token::parse("secret").unwrap();
        assert!(token.is(b"secret"));
        for given in ["", "s", "secre", "secres", "xecret", "secrets", "SECRET", "secretsecret"] {
            assert!(!token.is(given.as_bytes()), "{given}");
        }
        assert_eq!(format!("{token:?}"), "Token(hidden)");
    }
}
