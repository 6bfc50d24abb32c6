//! Which requests are plain, and what they say. No I/O.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use httparse::{Header, ParserConfig, Status};

/// A head that has come as a whole and leaves nothing to be asked.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    /// In bytes.
    pub(super) length: usize,
    /// That of the body behind it.
    pub(super) body: u64,
}

/// More than a client of an inference service sends; hyper takes as many as it does.
const MOST_HEADERS: usize = 64;

/// What the way to the upstream adds.
const ADDED_HEADERS: usize = 8;

/// The head at the beginning of these bytes, if it is plain: HTTP/1.1, a path, a host, `GET` without
/// a body or `POST` with one whose length is told once, and nothing that changes how it is framed or
/// what becomes of the connection.
///
/// `None` is no verdict: hyper gets the bytes and finds out what is wrong with them, if anything.
pub(super) fn read(bytes: &Bytes) -> Option<Head> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut head, bytes, &mut headers);
    let Ok(Status::Complete(length)) = parsed else { return None };
    let method = match head.method? {
        "POST" => Method::POST,
        "GET" => Method::GET,
        _ => return None,
    };
    let target = head.path.filter(|path| path.starts_with('/') && head.version == Some(1))?;

    let mut map = HeaderMap::with_capacity(head.headers.len() + ADDED_HEADERS);
    let (mut hosts, mut body) = (0, None);
    for Header { name, value } in &*head.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        match name {
            header::CONTENT_LENGTH if body.is_none() => body = Some(length_of(value)?),
            header::HOST => hosts += 1,
            header::CONNECTION if value.eq_ignore_ascii_case(b"keep-alive") => {}
            header::CONTENT_LENGTH
            | header::CONNECTION
            | header::EXPECT
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE => return None,
            _ => {}
        }
        map.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(value)).ok()?);
    }
    if hosts != 1 || (method == Method::POST) != body.is_some() {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()?;
    *request.headers_mut() = map;
    Some(Head { request, length, body: body.unwrap_or_default() })
}

/// Digits, and no more of them than hyper takes.
fn length_of(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok();
    length.filter(|length| *length <= u64::MAX - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = "POST /v1/x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";

    fn read_all(text: &str) -> Option<Head> {
        read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_plain_one() {
        let bytes = format!("{POST}{{}}POST");
        let Head { request, length, body } = read_all(&bytes).unwrap();
        assert_eq!((length, body), (POST.len(), 2));
        assert_eq!(
            (request.method(), request.uri().to_string()),
            (&Method::POST, "/v1/x?y".into())
        );
        assert_eq!(request.version(), http::Version::HTTP_11);
        assert_eq!(request.headers()[header::HOST], "a");

        let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Keep-Alive\r\nx: 1\r\nx: 2\r\n\r\n";
        let Head { request, body, .. } = read_all(get).unwrap();
        assert_eq!(body, 0);
        let values: Vec<_> = request.headers().get_all("x").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn whatever_leaves_a_question_is_not_plain() {
        for part in 0..POST.len() {
            assert!(read_all(&POST[..part]).is_none(), "{part} bytes");
        }
        let with = |line: &str| POST.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
        let many = "x: y\r\n".repeat(MOST_HEADERS) + "x: y";
        for line in [
            "Content-Length: 2",
            "Content-Length: 3",
            "Host: a",
            "Connection: close",
            "Connection: keep-alive, x",
            "Expect: 100-continue",
            "TE: trailers",
            "Trailer: x",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Upgrade: websocket",
            "no colon",
            " folded",
            "x : y",
            "x: \0",
            &many,
        ] {
            assert!(read_all(&with(line)).is_none(), "{line}");
        }
        for (this, that) in [
            ("POST", "post"),
            ("POST", "HEAD"),
            ("POST", "GET"),
            ("POST", "CONNECT"),
            ("/v1/x?y", "http://a/"),
            ("/v1/x?y", "*"),
            ("/v1/x?y", "/a b"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("HTTP/1.1", "HTTP/2.0"),
            ("Host: a\r\n", ""),
            ("Content-Length: 2\r\n", ""),
            ("Length: 2", "Length:"),
            ("Length: 2", "Length: +2"),
            ("Length: 2", "Length: 2, 2"),
            ("Length: 2", "Length: 99999999999999999999"),
            ("Length: 2", "Length: 18446744073709551614"),
        ] {
            let changed = POST.replace(this, that);
            assert!(read_all(&changed).is_none(), "{changed}");
        }
        assert!(read_all("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_none());
    }
}
