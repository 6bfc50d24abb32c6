//! What of a head goes on, and what is between two neighbours only.

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version, header,
    request::Parts,
    uri::{Authority, Scheme},
};

/// Only between two neighbours, by RFC 9110 section 7.6.1 and by custom; `upgrade` and `te` have
/// rules of their own.
static HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const VIA: HeaderValue = HeaderValue::from_static("1.1 infermeter");

/// What is wrong with the head of a request, though hyper takes it: it has two meanings, or one that
/// cannot be passed on.
pub(super) fn flaw(head: &Parts) -> Option<&'static str> {
    let hosts = head.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Some("allowed is one Host");
    }
    (!is_plainly_framed(&head.headers)).then_some("allowed is no Transfer-Encoding but chunked")
}

/// Makes the head of an answer one for the client; `None` where it cannot be passed on.
pub(super) fn for_client(headers: &mut HeaderMap) -> Option<()> {
    if !is_plainly_framed(headers) {
        return None;
    }
    // Chunks count for more. NB: hyper would send the length with the chunks' bytes.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    drop_hop_by_hop(headers);
    Some(())
}

/// NB: another coding than chunks would be forgotten here, and chunks of chunks be taken for chunks.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(is_chunked) && codings.next().is_none()
}

/// Takes out what is meant for a neighbour only, and what `Connection` names.
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // NB: most have nothing of it, and looking up each of them costs more.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Makes the head of a request one for the upstream.
pub(super) fn for_upstream(head: &mut Parts, client: Option<&HeaderValue>) {
    let Parts { uri, version, headers, .. } = head;
    if *version == Version::HTTP_2 {
        join_cookies(headers);
    }
    let takes_trailers = takes_trailers(headers);
    drop_hop_by_hop(headers);
    // NB: answered here, by whoever reads the body.
    headers.remove(header::EXPECT);
    headers.remove(header::TE);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    headers.append(header::VIA, VIA);
    if let Some(client) = client {
        // NB: what was there stays; whom of it to trust is known to who deployed this.
        headers.append(&FORWARDED_FOR, client.clone());
    }
    // NB: a target that names a host counts for more, and HTTP/2 has nothing else.
    let host = headers.remove(header::HOST);
    if let Some(host) = uri.authority().and_then(host_of).or(host) {
        headers.entry(&FORWARDED_HOST).or_insert(host);
    }
    headers.entry(&FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
}

/// HTTP/2 may have a cookie in each of several headers; before it, there is one with all of them.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// Without the name of a user.
fn host_of(authority: &Authority) -> Option<HeaderValue> {
    authority.as_str().rsplit('@').next()?.parse().ok()
}

/// Which protocol a client wants to change to, where that can be passed on.
///
/// NB: not `h2c`. HTTP/2 is spoken on this hop and not promised for the next one; passed on, it would
/// carry requests past everything here.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let names_it = |value: &HeaderValue| {
        let mut names = value.to_str().unwrap_or_default().split(',');
        names.any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    };
    let protocol = headers.get(header::UPGRADE)?;
    let is_h2c = protocol.to_str().unwrap_or_default().to_ascii_lowercase().contains("h2c");
    let is_asked = headers.get_all(header::CONNECTION).iter().any(names_it);
    (is_asked && !is_h2c).then(|| protocol.clone())
}

/// Names what is meant for the upstream alone: that trailers are taken, and the protocol to change to.
///
/// NB: over TLS it may be HTTP/2 that is spoken, where nothing is named so, and hyper takes out all
/// that is; a change of the protocol is asked for over HTTP/1.1 only.
pub(super) fn set_connection(headers: &mut HeaderMap, to: &Uri, protocol: Option<HeaderValue>) {
    let is_http1 = to.scheme() == Some(&Scheme::HTTP) || protocol.is_some();
    let names = match (headers.contains_key(header::TE) && is_http1, protocol) {
        (false, None) => return,
        (true, None) => "te",
        (names_te, Some(protocol)) => {
            headers.insert(header::UPGRADE, protocol);
            if names_te { "te, upgrade" } else { "upgrade" }
        }
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(names));
}

/// Agrees to another protocol.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TE).iter();
    values.any(|value| {
        let mut codings = value.to_str().unwrap_or_default().split(',');
        codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        headers.iter().map(parsed).collect()
    }

    #[test]
    fn what_is_between_neighbours_stays_there() {
        let headers = map(&[
            ("connection", "close, X-Mine"),
            ("connection", "x-other"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("x-third", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, Trailers"),
            ("expect", "100-continue"),
            ("host", "shop.example"),
            ("x-forwarded-for", "10.0.0.1"),
        ]);
        let client = HeaderValue::from_static("127.0.0.1");
        let headers = sent_on("/", headers, Some(&client));
        let expected = map(&[
            ("x-third", "3"),
            ("te", "trailers"),
            ("via", "1.1 infermeter"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "http"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn what_a_proxy_further_out_said_stays() {
        let said = [("x-forwarded-host", "a"), ("x-forwarded-proto", "https")];
        let mut headers = map(&said);
        headers.insert(header::HOST, "b".parse().unwrap());
        let mut headers = sent_on("/", headers, None);
        headers.remove(header::VIA);
        assert_eq!(headers, map(&said));
    }

    #[test]
    fn the_target_says_the_host_and_cookies_are_one() {
        let cookies = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("host", "b")]);
        let headers = sent_on("http://me@a:80/", cookies.clone(), None);
        assert_eq!(headers[&FORWARDED_HOST], "a:80");
        assert_eq!(headers.get_all(header::COOKIE).iter().count(), 2);

        let mut request = head("https://a/", cookies);
        request.version = Version::HTTP_2;
        for_upstream(&mut request, None);
        let cookies: Vec<_> = request.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    fn head(uri: &str, headers: HeaderMap) -> Parts {
        let (mut head, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        head.headers = headers;
        head
    }

    fn sent_on(uri: &str, headers: HeaderMap, client: Option<&HeaderValue>) -> HeaderMap {
        let mut head = head(uri, headers);
        for_upstream(&mut head, client);
        head.headers
    }

    #[test]
    fn what_is_for_the_upstream_alone_is_named() {
        let named = |to: &str, takes_trailers: bool, protocol: Option<&str>| {
            let mut headers = HeaderMap::new();
            if takes_trailers {
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
            }
            let protocol = protocol.map(|protocol| protocol.parse().unwrap());
            set_connection(&mut headers, &to.parse().unwrap(), protocol);
            headers.get(header::CONNECTION).map(|names| names.to_str().unwrap().to_owned())
        };
        for (to, takes_trailers, protocol, names) in [
            ("http://h", false, None, None),
            ("http://h", true, None, Some("te")),
            ("https://h", true, None, None),
            ("http://h", false, Some("websocket"), Some("upgrade")),
            ("https://h", true, Some("websocket"), Some("te, upgrade")),
        ] {
            assert_eq!(named(to, takes_trailers, protocol).as_deref(), names, "{to} {protocol:?}");
        }
    }

    #[test]
    fn upgrades_but_not_to_http2() {
        let asks = |connection, protocol| {
            upgrade(&map(&[("connection", connection), ("upgrade", protocol)]))
        };
        assert_eq!(asks("keep-alive, Upgrade", "websocket").unwrap(), "websocket");
        assert_eq!(asks("keep-alive", "websocket"), None);
        assert_eq!(asks("Upgrade, HTTP2-Settings", "h2c"), None);
        assert_eq!(asks("Upgrade", "websocket, H2C"), None);
        assert_eq!(upgrade(&map(&[("connection", "upgrade")])), None);
    }
}
