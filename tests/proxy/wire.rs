//! One side of a connection, byte by byte.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// How long anything may take: far more than it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) socket: S,
    buffer: Vec<u8>,
}

/// A request or an answer. Text is a character for each byte.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

// === impl Wire ===

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// Closes it so that the other side gets an error.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) const fn new(socket: S) -> Self {
        Self { socket, buffer: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(PATIENCE, self.socket.write_all(bytes.as_ref())).await.expect("a write waits")?;
        self.socket.flush().await
    }

    /// Reads until this has come, which is part of what is given.
    pub(crate) async fn until(&mut self, end: &str) -> io::Result<String> {
        loop {
            let found = self.buffer.windows(end.len()).position(|part| part == end.as_bytes());
            if let Some(at) = found {
                return Ok(text(self.buffer.drain(..at + end.len()).as_slice()));
            }
            self.fill().await?;
        }
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// All until the end, and whether that was a proper one.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let error = loop {
            if let Err(error) = self.fill().await {
                break error;
            }
        };
        (std::mem::take(&mut self.buffer), error.kind() == io::ErrorKind::UnexpectedEof)
    }

    /// The first line and the headers.
    pub(crate) async fn head(&mut self) -> io::Result<Message> {
        let head = self.until("\r\n\r\n").await?;
        let (start, headers) = head.split_once("\r\n").unwrap();
        Ok(Message { start: start.to_owned(), headers: fields(headers), ..Message::default() })
    }

    /// One chunk of a body; nothing is the last one.
    pub(crate) async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = self.until("\r\n").await?;
        let size = size.trim_end().split(';').next().unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("a size: {size:?}"));
        let chunk = self.exactly(size).await?;
        if size > 0 {
            assert_eq!(self.exactly(2).await?, b"\r\n");
        }
        Ok(chunk)
    }

    /// What comes behind the last chunk.
    pub(crate) async fn trailers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut trailers = String::new();
        while !trailers.ends_with("\r\n\r\n") && trailers != "\r\n" {
            trailers += &self.until("\r\n").await?;
        }
        Ok(fields(&trailers))
    }

    /// A whole request.
    pub(crate) async fn request(&mut self) -> io::Result<Message> {
        let head = self.head().await?;
        self.body_of(head, true).await
    }

    /// A whole answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Message> {
        let head = self.head().await?;
        match head.status() {
            100..200 | 204 | 304 => Ok(head),
            _ => self.body_of(head, false).await,
        }
    }

    async fn body_of(&mut self, mut message: Message, is_request: bool) -> io::Result<Message> {
        if message.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    break;
                }
                message.body.extend(chunk);
            }
            message.trailers = self.trailers().await?;
        } else if let Some(length) = message.header("content-length") {
            message.body = self.exactly(length.parse().unwrap()).await?;
        } else if !is_request {
            message.body = self.rest().await.0;
        }
        Ok(message)
    }

    async fn fill(&mut self) -> io::Result<()> {
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.buffer));
        match read.await.expect("nothing comes, and no end") {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

// === impl Message ===

impl Message {
    /// Of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.start[9..12].parse().unwrap()
    }

    /// The first value, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let all = self.headers.iter().filter(|(found, _)| found == name);
        all.map(|(_, value)| &**value).collect()
    }

    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    /// The stable code of an error in OpenAI's shape.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"));
        let error = &body["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

fn fields(lines: &str) -> Vec<(String, String)> {
    let lines = lines.split("\r\n").filter(|line| !line.is_empty());
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    lines.map(field).collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
