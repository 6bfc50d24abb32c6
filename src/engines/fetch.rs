//! Asks an engine, within limits.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected, Empty, LengthLimitError, Limited};
use tokio::time::timeout;

use super::page::{LONGEST, PageError};
use crate::upstream::{Address, Upstream, tls};

/// How long an answer may take, from the request to its last byte.
///
/// NB: engines answer beside their work, and one under load takes seconds for it.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Who asks for what.
#[derive(Clone, Debug)]
pub(super) struct Client {
    upstream: Upstream<Empty<Bytes>>,
    root: Address,
    page: Uri,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FetchError {
    /// It says that there is none.
    Status(StatusCode),
    /// None came, or one that is none.
    Failed(String),
}

/// Behind the path of an engine, its page is here.
const PAGE: &str = "/metrics";

// === impl Client ===

impl Client {
    /// The URL of an engine, or of its page; the error says what is wrong and what is allowed.
    pub(super) fn at(url: &str) -> Result<Self, String> {
        let address = Address::new(url)?;
        let (root, page) = match address.base().strip_suffix(PAGE) {
            Some(base) => (address.with_base(base), address.exact()),
            None if address.base().is_empty() => {
                (address.clone(), address.uri(&Uri::from_static(PAGE)))
            }
            // A page at a place of its own; all else is where it always is.
            None => (address.with_base(""), address.exact()),
        };
        let page = page.ok_or_else(|| format!("{url:?} is no URL of a page"))?;
        let upstream = Upstream::new(&tls::usual()?, LIMIT);
        Ok(Self { upstream, root, page })
    }

    /// The same, where these certificates (PEM) alone are trusted.
    pub(super) fn trusting(self, pem: &[u8]) -> Result<Self, String> {
        Ok(Self { upstream: Upstream::new(&tls::trusting(pem)?, LIMIT), ..self })
    }

    pub(super) const fn page(&self) -> &Uri {
        &self.page
    }

    pub(super) async fn fetch_page(&self) -> Result<Bytes, FetchError> {
        // NB: whoever is asked for more may answer in a format that is not the one read here.
        self.fetch(&self.page, "text/plain; version=0.0.4").await
    }

    /// Something else that the engine may answer.
    pub(super) async fn fetch_json(&self, path: &'static str) -> Result<Bytes, FetchError> {
        let uri = self.root.uri(&Uri::from_static(path));
        let uri = uri.ok_or_else(|| FetchError::Failed(format!("{path} is no path")))?;
        self.fetch(&uri, "application/json").await
    }

    async fn fetch(&self, uri: &Uri, accept: &str) -> Result<Bytes, FetchError> {
        let request = Request::get(uri).header(header::ACCEPT, accept);
        let request =
            request.body(Empty::new()).map_err(|error| FetchError::Failed(error.to_string()))?;
        let answer = async {
            let answer = self.upstream.send(request).await;
            let answer = answer.map_err(|error| FetchError::Failed(error.cause()))?;
            if !answer.status().is_success() {
                return Err(FetchError::Status(answer.status()));
            }
            let body = Limited::new(answer.into_body(), LONGEST).collect().await;
            body.map(Collected::to_bytes).map_err(|error| match error.is::<LengthLimitError>() {
                true => FetchError::Failed(PageError::TooLong.to_string()),
                false => FetchError::Failed(error.to_string()),
            })
        };
        let late = |_| Err(FetchError::Failed(format!("no answer within {LIMIT:?}")));
        timeout(LIMIT, answer).await.unwrap_or_else(late)
    }
}

// === impl FetchError ===

impl FetchError {
    /// Whether it was asked for something that it does not have, and is well.
    pub(super) fn is_absent(&self) -> bool {
        // NB: 501 is what llama.cpp answers without `--metrics`.
        let is_no = |status: &StatusCode| {
            status.is_client_error() || *status == StatusCode::NOT_IMPLEMENTED
        };
        matches!(self, Self::Status(status) if is_no(status))
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Failed(why) => f.write_str(why),
        }
    }
}
