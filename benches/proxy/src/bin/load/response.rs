//! An answer as it comes: its head, then its body.

use infermeter_proxy_bench::{framing::Framing, mark::Mark};

use crate::{
    content::{Content, Expected},
    failure::Failure,
};

/// More than any proxy adds.
const HEADERS: usize = 64;

/// One answer.
pub(crate) struct Response {
    /// As much of the head as has come.
    head: Vec<u8>,
    /// Once the head is there.
    framing: Option<Framing>,
    content: Content,
    /// Whether the connection can be used again.
    pub(crate) keeps_connection: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Read,
    Leave,
    Complete,
}

// === impl Response ===

impl Response {
    pub(crate) fn new(expected: Expected) -> Self {
        let content = Content::new(expected);
        Self { head: Vec::new(), framing: None, content, keeps_connection: true }
    }

    pub(crate) fn chunks(&self) -> u32 {
        self.content.chunks()
    }

    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut chunk: impl FnMut(Mark),
    ) -> Result<Next, Failure> {
        if self.framing.is_some() {
            return self.body(bytes, &mut chunk);
        }
        self.head.extend_from_slice(bytes);
        let head = std::mem::take(&mut self.head);
        match self.read_head(&head)? {
            Some(length) => self.body(&head[length..], &mut chunk),
            None => {
                self.head = head;
                Ok(Next::Read)
            }
        }
    }

    /// The connection has ended.
    pub(crate) fn closed(&mut self, mut chunk: impl FnMut(Mark)) -> Result<Next, Failure> {
        self.keeps_connection = false;
        match &self.framing {
            Some(framing) if framing.ends_with_connection() => {
                self.content.end(&mut chunk)?;
                Ok(Next::Complete)
            }
            _ => Err(Failure::Closed),
        }
    }

    fn body(&mut self, bytes: &[u8], chunk: &mut impl FnMut(Mark)) -> Result<Next, Failure> {
        let Self { framing: Some(framing), content, .. } = self else {
            return Ok(Next::Read);
        };
        let mut fed = Ok(());
        let used = framing.feed(bytes, |payload| {
            if fed.is_ok() {
                fed = content.feed(payload, chunk);
            }
        })?;
        fed?;
        if content.is_cut() {
            return Ok(Next::Leave);
        }
        if !framing.is_done() {
            return Ok(Next::Read);
        }
        if used < bytes.len() {
            return Err(Failure::Shape("something after the answer"));
        }
        content.end(chunk)?;
        Ok(Next::Complete)
    }

    /// The length of the head; `None` where it is not all there.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(bytes).map_err(|_| Failure::Malformed)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        match head.code {
            Some(200) => {}
            other => return Err(Failure::Status(other.unwrap_or_default())),
        }
        let framing = Framing::of(head.headers, Framing::until_close())?;
        let closes = head.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("connection")
                && header.value.eq_ignore_ascii_case(b"close")
        });
        self.keeps_connection = !closes && head.version == Some(1);
        self.framing = Some(framing);
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected =
        Expected { chunks: 1, is_chat: false, has_usage: false, is_stream: true, cut_at: None };
    const BODY: &str = "data: {\" #0000001@0000000000000000005\"}\n\ndata: [DONE]\n\n";

    fn read(text: &str, closed: bool) -> (Result<Next, Failure>, bool) {
        let mut response = Response::new(EXPECTED);
        let mut last = Ok(Next::Read);
        for byte in text.as_bytes().chunks(1) {
            last = response.feed(byte, drop);
            if last != Ok(Next::Read) {
                break;
            }
        }
        if closed && last == Ok(Next::Read) {
            last = response.closed(drop);
        }
        (last, response.keeps_connection)
    }

    #[test]
    fn an_answer_ends_as_its_head_says() {
        let length = BODY.len();
        for (head, closed, expected) in [
            (format!("1.1 200 OK\r\ncontent-length: {length}"), false, (Ok(Next::Complete), true)),
            ("1.1 200 OK\r\nx: y".to_owned(), true, (Ok(Next::Complete), false)),
            (
                format!("1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}"),
                false,
                (Ok(Next::Complete), false),
            ),
            (
                format!("1.1 200 OK\r\ncontent-length: {}", length + 1),
                true,
                (Err(Failure::Closed), false),
            ),
            ("1.1 502 Bad Gateway".to_owned(), false, (Err(Failure::Status(502)), true)),
            (
                "1.1 200 OK\r\ntransfer-encoding: chunked".to_owned(),
                true,
                (Err(Failure::Malformed), true),
            ),
        ] {
            assert_eq!(read(&format!("HTTP/{head}\r\n\r\n{BODY}"), closed), expected, "{head}");
        }
    }
}
