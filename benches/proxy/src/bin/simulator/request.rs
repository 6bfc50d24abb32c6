//! Reading requests off a connection.

use std::{borrow::Cow, io};

use bytes::{Buf, BytesMut};
use infermeter_proxy_bench::framing::Framing;
use serde::Deserialize;
use tokio::{io::AsyncReadExt, net::TcpStream};

/// More than any request of ours has.
const HEADERS: usize = 64;

/// A request that is all there.
pub(crate) struct Request {
    pub(crate) is_post: bool,
    pub(crate) path: String,
    /// Whether the connection ends with the answer.
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
}

/// What of a body matters here.
#[derive(Deserialize)]
pub(crate) struct Asked<'a> {
    #[serde(borrow)]
    pub(crate) model: Cow<'a, str>,
    #[serde(borrow, default)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    prompt: Cow<'a, str>,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

// === impl Asked ===

impl Asked<'_> {
    /// The last message, or the prompt.
    pub(crate) fn text(&self) -> &str {
        self.messages.last().map_or(&self.prompt, |message| &message.content)
    }

    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.include_usage
    }
}

// === impl Request ===

impl Request {
    /// The next one; `None` where the client has closed between two.
    pub(crate) async fn read(
        stream: &mut TcpStream,
        buffer: &mut BytesMut,
    ) -> io::Result<Option<Self>> {
        let (mut request, mut framing) = loop {
            if let Some(head) = Self::head(buffer)? {
                break head;
            }
            if stream.read_buf(buffer).await? == 0 {
                let is_between = buffer.is_empty();
                return if is_between {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        };
        loop {
            let used = framing.feed(buffer, |bytes| request.body.extend_from_slice(bytes));
            buffer.advance(used.map_err(io::Error::other)?);
            if framing.is_done() {
                return Ok(Some(request));
            }
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// `None` where it is not all there.
    fn head(buffer: &mut BytesMut) -> io::Result<Option<(Self, Framing)>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(buffer).map_err(io::Error::other)?
        else {
            return Ok(None);
        };
        let framing = Framing::of(head.headers, Framing::none()).map_err(io::Error::other)?;
        let request = Self {
            is_post: head.method == Some("POST"),
            path: head.path.unwrap_or_default().to_owned(),
            closes: head.version == Some(0)
                || head.headers.iter().any(|header| {
                    header.name.eq_ignore_ascii_case("connection")
                        && header.value.eq_ignore_ascii_case(b"close")
                }),
            body: Vec::new(),
        };
        buffer.advance(length);
        Ok(Some((request, framing)))
    }
}
