//! The recordings in `tests/data`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use infermeter::wire::Wire;
use serde::Deserialize;

/// One recorded response, and what it is known to be.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) entry: Entry,
    /// As it was on the wire.
    pub(crate) raw: Vec<u8>,
    /// Where the body begins.
    pub(crate) head_length: usize,
    framing: Framing,
    crlf: bool,
}

/// A line of `index.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) file: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    kind: Kind,
    #[serde(rename = "true")]
    pub(crate) truth: Counts,
    pub(crate) tells: Tells,
    pub(crate) end: String,
    /// The constructor of `Wire`, where the path does not tell.
    wire: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Server-sent events.
    Stream,
    /// Lines of JSON.
    Lines,
    /// One document.
    Whole,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    pub(crate) prompt: Option<u64>,
    pub(crate) completion: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tells {
    pub(crate) prompt: Option<u64>,
    pub(crate) completion: Option<u64>,
    pub(crate) source: Option<String>,
    /// Looked at where they are said.
    pub(crate) cached: Option<u64>,
    /// What a part of the bytes tells of the prompt, where the engine estimates it first.
    pub(crate) prompt_at_most: Option<u64>,
    pub(crate) reasoning: Option<u64>,
}

/// How a path ends, and the format of the answers there; the first that fits.
const PATHS: [(&str, &str); 14] = [
    ("/chat/completions", "openai"),
    ("/completions", "openai"),
    ("/responses", "responses"),
    ("/messages", "anthropic"),
    ("/embeddings", "prompt_only"),
    ("/rerank", "prompt_only"),
    ("/score", "prompt_only"),
    ("/classify", "prompt_only"),
    ("/pooling", "prompt_only"),
    ("/completion", "llamacpp"),
    ("/api/chat", "ollama"),
    ("/api/generate", "ollama"),
    ("/generate", "generate"),
    ("/generate_stream", "generate"),
];

/// How a client knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Chunked,
    Length(usize),
    Close,
}

/// What the beginning of a response holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The body so far; `None` where not even the head is whole.
    pub(crate) body: Option<Vec<u8>>,
    /// Whether a client takes it for the whole body.
    pub(crate) complete: bool,
}

// === impl Recording ===

impl Recording {
    /// What `index.json` lists, and those in each folder: each of them is by another hand.
    pub(crate) fn all() -> Vec<Self> {
        let inside =
            |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let folders = inside(&data("")).filter(|path| path.is_dir());
        let mut indices: Vec<PathBuf> = folders.flat_map(|folder| inside(&folder)).collect();
        indices.retain(|path| path.extension().is_some_and(|end| end == "json"));
        indices.sort();
        indices.insert(0, data("index.json"));
        indices.iter().flat_map(|index| Self::listed(index)).collect()
    }

    pub(crate) fn openai() -> Vec<Self> {
        Self::all().into_iter().filter(|recording| recording.wire_name() == "openai").collect()
    }

    /// Those that the index of one folder lists.
    pub(crate) fn of(folder: &str) -> Vec<Self> {
        Self::listed(&data(folder).join("index.json"))
    }

    pub(crate) fn named(file: &str) -> Self {
        Self::all().into_iter().find(|recording| recording.entry.file == file).unwrap()
    }

    fn listed(index: &Path) -> Vec<Self> {
        let folder = index.parent().unwrap();
        let entries: Result<Vec<Entry>, _> = serde_json::from_slice(&fs::read(index).unwrap());
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", index.display()));
        let read = |mut entry: Entry| {
            let inside = folder.join(&entry.file);
            let path = if inside.exists() { inside } else { data(&entry.file) };
            entry.file = path.strip_prefix(data("")).unwrap().to_str().unwrap().to_owned();
            let raw = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Self::new(entry, raw)
        };
        entries.into_iter().map(read).collect()
    }

    fn new(entry: Entry, raw: Vec<u8>) -> Self {
        let head_length = find(&raw, b"\r\n\r\n").unwrap() + 4;
        let mut recording = Self { entry, raw, head_length, framing: Framing::Close, crlf: false };
        let header = |name| {
            let value = recording.headers().find(|(n, _)| n == name)?.1;
            Some(value.to_str().unwrap().to_owned())
        };
        recording.framing = match (header("transfer-encoding"), header("content-length")) {
            (Some(_), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().unwrap()),
            (None, None) => Framing::Close,
        };
        recording
    }

    /// What the answer is written in: by its path as the layer has it, or as its entry says.
    pub(crate) fn wire(&self) -> Wire {
        match self.wire_name() {
            "anthropic" => Wire::anthropic(),
            "gemini" => Wire::gemini(),
            "generate" => Wire::generate(),
            "llamacpp" => Wire::llamacpp(),
            "ollama" => Wire::ollama(),
            "openai" => Wire::openai(),
            "prompt_only" => Wire::prompt_only(),
            "responses" => Wire::responses(),
            "sglang" => Wire::sglang(),
            "tgi" => Wire::tgi(),
            "triton" => Wire::triton(),
            name => panic!("{}: no format {name}", self.entry.file),
        }
    }

    /// Its format, by the name of the constructor.
    pub(crate) fn wire_name(&self) -> &str {
        let Entry { wire, path, file, .. } = &self.entry;
        if let Some(wire) = wire {
            return wire;
        }
        let known = |(end, name): &(&str, &'static str)| path.ends_with(end).then_some(*name);
        let Some(name) = PATHS.iter().find_map(known) else { panic!("{file}: say \"wire\"") };
        name
    }

    /// Whether it is a stream of server-sent events.
    pub(crate) fn is_stream(&self) -> bool {
        self.entry.kind == Kind::Stream
    }

    /// Whether it is one document.
    pub(crate) fn is_whole(&self) -> bool {
        self.entry.kind == Kind::Whole
    }

    /// Whether its body has CRLF at the end of each line.
    pub(crate) fn has_crlf(&self) -> bool {
        self.crlf
    }

    /// The same events with CRLF at the end of each line.
    pub(crate) fn crlf(&self) -> Self {
        let replace = |bytes: &[u8]| {
            let mut replaced = Vec::with_capacity(bytes.len() + 64);
            for byte in bytes {
                if *byte == b'\n' {
                    replaced.push(b'\r');
                }
                replaced.push(*byte);
            }
            replaced
        };
        let (head, body) = self.raw.split_at(self.head_length);
        let mut raw = head.to_vec();
        match self.framing {
            Framing::Close => raw.extend(replace(body)),
            Framing::Length(_) => {
                let body = replace(body);
                let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
                let (before, after) = head.split_once("content-length:").unwrap();
                let after = after.split_once("\r\n").unwrap().1;
                raw = format!("{before}content-length: {}\r\n{after}", body.len()).into_bytes();
                raw.extend(body);
            }
            Framing::Chunked => {
                let (chunks, complete) = chunks(body);
                for chunk in chunks {
                    let chunk = replace(&chunk);
                    raw.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    raw.extend(chunk);
                    raw.extend(b"\r\n");
                }
                if complete {
                    raw.extend(b"0\r\n\r\n");
                }
            }
        }
        Self { crlf: true, ..Self::new(self.entry.clone(), raw) }
    }

    /// What a client has once it got `cut` bytes and then the end of the connection.
    pub(crate) fn held(&self, cut: usize) -> Held {
        let Some(body) = self.raw[..cut].get(self.head_length..) else {
            return Held { body: None, complete: false };
        };
        let (body, complete) = match self.framing {
            Framing::Close => (body.to_vec(), true),
            Framing::Length(length) => (body.to_vec(), body.len() == length),
            Framing::Chunked => unchunk(body),
        };
        Held { body: Some(body), complete }
    }

    /// The whole body.
    pub(crate) fn body(&self) -> Vec<u8> {
        self.held(self.raw.len()).body.unwrap()
    }

    /// The response with a body of your own.
    pub(crate) fn response<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.entry.status).unwrap();
        for (name, value) in self.headers() {
            if !["transfer-encoding", "connection", "keep-alive"].contains(&name.as_str()) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    /// The headers that are about the answer, and not about the connection.
    pub(crate) fn header_map(&self) -> HeaderMap {
        self.response(()).into_parts().0.headers
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let head = std::str::from_utf8(&self.raw[..self.head_length]).unwrap();
        head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value.trim()).unwrap())
        })
    }
}

/// Takes the chunk-size lines out; says whether the last chunk was there.
pub(crate) fn unchunk(bytes: &[u8]) -> (Vec<u8>, bool) {
    let (chunks, complete) = chunks(bytes);
    (chunks.concat(), complete)
}

fn chunks(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    while let Some(line) = find(bytes, b"\r\n") {
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        bytes = &bytes[line + 2..];
        if size == 0 {
            return (chunks, bytes == b"\r\n");
        }
        chunks.push(bytes[..size.min(bytes.len())].to_vec());
        bytes = bytes.get(size + 2..).unwrap_or_default();
    }
    (chunks, false)
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn data(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}
