//! What the clients of the load ask for, and how they behave.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    engine::{Lengths, hash, text},
    fault::Fault,
    openai::{CONTEXT, MODELS},
};

/// One request, and how long its client stays.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) path: &'static str,
    pub(crate) body: String,
    pub(crate) tenant: &'static str,
    pub(crate) fault: Option<Fault>,
    pub(crate) stay: Stay,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stay {
    ToTheEnd,
    /// Leaves if there is nothing after so long.
    Impatient(Duration),
    /// Leaves after so many frames of the answer; 0 is before the first word.
    Frames(usize),
}

const TENANTS: [&str; 3] = ["team-search", "team-support", "team-batch"];

const QUESTIONS: Lengths = Lengths { median: 40.0, spread: 0.8, least: 4, most: 500 };

/// The rules that many chats begin with, so that the prefix cache has something to know.
const RULES: u64 = 3;

const CHAT: &str = "/v1/chat/completions";

const COMPLETION: &str = "/v1/completions";

// === impl Visit ===

impl Visit {
    /// What comes next: most of it is right, some of it is not.
    pub(crate) fn next(random: &mut fastrand::Rng) -> Self {
        let is_chat = random.u8(..10) < 7;
        let (path, mut body) = if is_chat { chat(random) } else { completion(random) };
        body["model"] = MODELS[[0, 0, 0, 1, 2][random.usize(..5)]].name.into();
        let (mut fault, mut stay) = (None, Stay::ToTheEnd);
        match random.u8(..100) {
            0..12 => {} // not streamed
            12..14 => body["n"] = 2.into(),
            14..40 => body["stream"] = true.into(), // nobody asks for its usage
            dice => {
                body["stream"] = true.into();
                body["stream_options"] = json!({ "include_usage": true });
                match dice {
                    40..46 => body["n"] = 2.into(),
                    46..60 => body["max_tokens"] = random.u64(1..80).into(),
                    80..90 => body["reasoning_effort"] = "high".into(),
                    60..63 => stay = Stay::Frames(0),
                    63..67 => stay = Stay::Frames(random.usize(2..20)),
                    67..72 => stay = Stay::Impatient(Duration::from_millis(random.u64(5..500))),
                    72..75 => fault = Some(Fault::ALL[random.usize(..4)]),
                    75..80 => return Self::wrong(random),
                    _ => {}
                }
            }
        }
        let tenant = TENANTS[random.usize(..TENANTS.len())];
        Self { path, body: body.to_string(), tenant, fault, stay }
    }

    /// A request that is refused.
    fn wrong(random: &mut fastrand::Rng) -> Self {
        let body = match random.u8(..5) {
            0 => "{\"prompt\": ".to_owned(),
            1 => json!({ "prompt": "" }).to_string(),
            2 => json!({ "prompt": "a word", "max_tokens": "many" }).to_string(),
            3 => json!({ "prompt": "a word", "model": "demo-41b" }).to_string(),
            _ => json!({ "prompt": text(random.u64(..), CONTEXT) }).to_string(),
        };
        let tenant = TENANTS[random.usize(..TENANTS.len())];
        Self { path: COMPLETION, body, tenant, fault: None, stay: Stay::ToTheEnd }
    }
}

fn chat(random: &mut fastrand::Rng) -> (&'static str, Value) {
    let question = text(random.u64(..), QUESTIONS.draw(random));
    let mut messages = vec![json!({ "role": "user", "content": question })];
    if random.u8(..4) < 3 {
        let rules = random.u64(..RULES);
        let length = 40 + 24 * rules as usize;
        let rules = text(hash(("rules", rules)), length);
        messages.insert(0, json!({ "role": "system", "content": rules }));
    }
    (CHAT, json!({ "messages": messages }))
}

fn completion(random: &mut fastrand::Rng) -> (&'static str, Value) {
    (COMPLETION, json!({ "prompt": text(random.u64(..), QUESTIONS.draw(random)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::openai::{Kind, Request};

    #[test]
    fn there_is_something_of_everything() {
        let mut random = fastrand::Rng::with_seed(5);
        let visits: Vec<Visit> = (0..2000).map(|_| Visit::next(&mut random)).collect();
        let read = |visit: &Visit| {
            let kind = if visit.path == CHAT { Kind::Chat } else { Kind::Completion };
            Request::read(kind, visit.body.as_bytes()).and_then(|r| r.room().map(|_| r))
        };
        let (right, wrong): (Vec<_>, Vec<_>) =
            visits.iter().map(read).partition(|request| request.is_ok());
        assert!((50..150).contains(&wrong.len()), "{} are wrong", wrong.len());
        let codes = wrong.iter().filter_map(|request| request.as_ref().err()?.code);
        assert!(codes.clone().any(|code| code == "context_length_exceeded"));
        assert!(codes.clone().any(|code| code == "model_not_found"));
        let right: Vec<&Request> = right.iter().flatten().collect();
        let some = |what: &dyn Fn(&Request) -> bool| {
            assert!(right.iter().filter(|request| what(request)).count() > 20);
        };
        some(&|request| !request.stream);
        some(&|request| request.stream && !request.include_usage);
        some(&|request| request.n == 2);
        some(&|request| request.effort > 0);
        some(&|request| request.kind == Kind::Completion && request.include_usage);
        some(&|request| request.model.adapter.is_some());
        for fault in Fault::ALL {
            assert!(visits.iter().any(|visit| visit.fault == Some(fault)), "{fault:?}");
        }
        assert!(visits.iter().any(|visit| visit.stay == Stay::Frames(0)));
        assert!(visits.iter().any(|visit| matches!(visit.stay, Stay::Impatient(_))));
    }
}
