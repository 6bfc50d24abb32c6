//! Where the upstream is, and what a request's target becomes there.

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// The address of an upstream: scheme, host, port, and what stands before every path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or with a `/` before it and none after.
    base: String,
}

const ALLOWED: &str = "allowed is http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH], such as \
                       http://127.0.0.1:8000";

// === impl Address ===

impl Address {
    /// Reads a URL; the error says what is wrong and what is allowed.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; {ALLOWED}");
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(wrong("it is not a whole URL"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(wrong(&format!("the scheme {scheme} is not known")));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("user names and passwords are not sent on"));
        }
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if authority.host().is_empty() || port == ":" {
            return Err(wrong("the host or the port is missing"));
        }
        if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(wrong("the port is not one from 1 to 65535"));
        }
        let target = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if url.contains(['?', '#']) {
            return Err(wrong("a query or fragment has no meaning here"));
        }
        let base = target.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, base })
    }

    /// What stands before every path: empty, or with a `/` before it and none after.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// What it is the address of, without anything behind it.
    pub(crate) fn exact(&self) -> Option<Uri> {
        let base = if self.base.is_empty() { "/" } else { &self.base };
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(base).build().ok()
    }

    /// The same host, with this before every path.
    pub(crate) fn with_base(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The same target on the upstream; `None` for one that has no path, as that of `OPTIONS *`.
    pub(crate) fn uri(&self, target: &Uri) -> Option<Uri> {
        let path_and_query = match target.path_and_query() {
            Some(target) if target.as_str().starts_with('/') => target.clone(),
            // A query right after the host: written out, it has a path.
            Some(target) if target.as_str().starts_with('?') => target.to_string().parse().ok()?,
            _ => return None,
        };
        let path_and_query = if self.base.is_empty() {
            path_and_query
        } else {
            format!("{}{path_and_query}", self.base).parse().ok()?
        };
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path_and_query).build().ok()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scheme, authority, base } = self;
        write!(f, "{scheme}://{authority}{base}")
    }
}

/// A URL as it can be told: errors are in logs, where no password belongs.
pub(crate) fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_stays_what_it_is() {
        let plain = Address::new("http://127.0.0.1:8000").unwrap();
        let below = Address::new("https://[::1]/engine/").unwrap();
        for (target, there, there_below) in [
            ("/v1/models", "/v1/models", "/engine/v1/models"),
            ("/", "/", "/engine/"),
            ("//a/%2e%2E/b?c=%20d&e", "//a/%2e%2E/b?c=%20d&e", "/engine//a/%2e%2E/b?c=%20d&e"),
            ("http://other/x", "/x", "/engine/x"),
            ("http://other?y", "/?y", "/engine/?y"),
        ] {
            let target = target.parse().unwrap();
            assert_eq!(
                plain.uri(&target).unwrap().to_string(),
                format!("http://127.0.0.1:8000{there}")
            );
            assert_eq!(
                below.uri(&target).unwrap().to_string(),
                format!("https://[::1]{there_below}")
            );
        }
        for none in ["*", "other:443"] {
            assert_eq!(plain.uri(&none.parse().unwrap()), None, "{none}");
        }
        assert_eq!(below.to_string(), "https://[::1]/engine");
    }

    #[test]
    fn what_is_no_address_says_what_is_allowed() {
        for (url, wrong) in [
            ("", "empty"),
            ("127.0.0.1:8000", "whole URL"),
            ("/v1", "whole URL"),
            ("ftp://host", "ftp is not known"),
            ("http://user:secret@host", "passwords"),
            ("http://host:0", "from 1 to 65535"),
            ("http://host:65536", "1 to 65535"),
            ("http://host:", "missing"),
            ("http://host/?key=1", "query"),
            ("http://ho st", "invalid"),
        ] {
            let error = Address::new(url).unwrap_err();
            assert!(error.contains(wrong) && error.contains(ALLOWED), "{url:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
