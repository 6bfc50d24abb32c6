//! What the fuzz targets share. An input begins with the sizes of its frames.

use http::{HeaderMap, HeaderValue, header};
use infermeter::{
    outcome::TokenSource,
    stream::conformance::check_bytes,
    wire::{Event, Facts, Progress, Usage, Varying, Wire, WireFormat},
};

/// Every format, in an order that must stay: the corpora name them by number.
pub const FORMATS: [fn() -> Wire; 12] = [
    Wire::openai,
    Wire::anthropic,
    Wire::gemini,
    Wire::generate,
    Wire::llamacpp,
    Wire::ollama,
    Wire::prompt_only,
    Wire::responses,
    Wire::sglang,
    Wire::tgi,
    Wire::triton,
    Wire::completions,
];

/// How a body says what it is, in the same way.
pub const KINDS: [&str; 4] = ["text/event-stream", "application/x-ndjson", "application/json", ""];

/// Takes every event for a token and adds up what is in it: what is framed wrongly, it tells.
#[derive(Default)]
struct Sum {
    events: u64,
    /// Of all bytes, by their places in the events.
    sum: u64,
}

impl WireFormat for Sum {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        self.events += 1;
        for byte in event.name.iter().chain(b"\0").chain(event.data) {
            self.sum = self.sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        content(Progress { choice: 0, tokens: self.sum % 1000 });
        None
    }

    fn whole(&mut self, body: &[u8]) {
        self.sum = body.iter().fold(0, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    }

    fn so_far(&self) -> Usage {
        let mut usage = Usage::default();
        usage.completion = Some(self.events);
        usage
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.usage.prompt = Some(self.sum % 1_000_000);
        facts.usage.completion = Some(self.events);
        facts.source = Some(TokenSource::Counted);
        facts
    }
}

/// Reads any bytes as a body with this content type; the first three are sizes of frames.
pub fn framed(kind: &str, input: &[u8]) {
    read(&Wire::custom(|| Box::new(Sum::default())), &[("content-type", kind)], input);
}

/// The same for a format and the head of an answer.
pub fn read(wire: &Wire, head: &[(&str, &str)], input: &[u8]) {
    let Some((sizes, body)) = input.split_first_chunk::<3>() else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in head {
        let name = header::HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            if !value.is_empty() {
                headers.append(name, value);
            }
        }
    }
    check_bytes(wire, &headers, body, &sizes.map(usize::from));
}
