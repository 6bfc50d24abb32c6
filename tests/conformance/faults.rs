//! The suite finds what a format does wrong: each property is shown to fail once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{HeaderMap, HeaderValue};
use infermeter::{
    outcome::{FinishReason, Outcome, TokenSource},
    stream::conformance::{Sample, check, check_bytes},
    wire::{ErrorKind, Event, Facts, Finish, Progress, Usage, Varying, Wire, WireFormat},
};

/// What is wrong with a format.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The final count is added to what was counted.
    Sums,
    /// It counts what was said to be one token as two.
    Varies,
    /// What was counted so far is forgotten with the final count.
    Falls,
    /// It tells more while it runs than at the end.
    Overshoots,
    /// It takes the first word for the end.
    EndsEarly,
    /// No fault: there are formats without an end marker.
    NeedsNoEnd,
    /// It panics at what is not UTF-8.
    Panics,
    /// It takes what it does not know for an error.
    TakesOffence,
    /// It tells more reasoning than there are tokens.
    Parts,
}

/// A stream of JSON texts, one a token, and a number at its end.
struct Words {
    fault: Fault,
    words: u64,
    told: Option<u64>,
    error: Option<ErrorKind>,
    done: bool,
}

impl WireFormat for Words {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let text = match std::str::from_utf8(event.data) {
            Err(error) if self.fault == Fault::Panics => panic!("{error}"),
            text => text.ok()?,
        };
        if text.len() > 2 && text.starts_with('"') && text.ends_with('"') {
            self.done |= self.fault == Fault::EndsEarly;
            let tokens = if self.fault == Fault::Varies { 2 } else { 1 };
            self.words += tokens;
            content(Progress { choice: 0, tokens });
            return Some(Varying { choice: 0, text });
        }
        if let Ok(told) = text.parse::<u64>() {
            let before = if self.fault == Fault::Sums { self.words } else { 0 };
            (self.told, self.done) = (Some(told + before), true);
        } else if self.fault == Fault::TakesOffence {
            self.error = Some(ErrorKind::Other);
        }
        None
    }

    fn again(&mut self, _choice: usize, events: u64) {
        self.words += events;
    }

    fn whole(&mut self, _body: &[u8]) {}

    fn so_far(&self) -> Usage {
        let mut usage = Usage::default();
        usage.completion = match self.fault {
            Fault::Falls if self.done => None,
            Fault::Overshoots => Some(self.words + 1),
            _ => Some(self.told.unwrap_or(self.words)),
        };
        usage
    }

    fn facts(&self) -> Facts {
        let counted = (self.words > 0).then_some((self.words, TokenSource::Counted));
        let told = self.told.map(|told| (told, TokenSource::Usage));
        let mut facts = Facts::default();
        (facts.usage.completion, facts.source) = told.or(counted).unzip();
        facts.usage.reasoning = (self.fault == Fault::Parts).then_some(99);
        facts.finish = self.done.then_some(Finish::Reason(FinishReason::Stop));
        (facts.error, facts.done) = (self.error, self.done);
        facts
    }

    fn has_end_marker(&self) -> bool {
        self.fault != Fault::NeedsNoEnd
    }
}

const BODY: &str = "data: \"Hello\"\n\ndata: \"you\"\n\ndata: \"there\"\n\ndata: 3\n\n";

fn words(fault: Fault) -> Wire {
    Wire::custom(move || Box::new(Words { fault, words: 0, told: None, error: None, done: false }))
}

/// The first property that does not hold.
fn broken(fault: Fault) -> Option<String> {
    let words = words(fault);
    let sample = Sample::new("three words", "text/event-stream", BODY)
        .ends(Outcome::Success(FinishReason::Stop))
        .completion(3, TokenSource::Usage);
    let panic = catch_unwind(AssertUnwindSafe(|| check(&words, &[sample]))).err()?;
    Some(panic.downcast_ref::<String>().unwrap().clone())
}

#[test]
fn what_a_format_does_wrong_is_found() {
    for no_fault in [Fault::None, Fault::NeedsNoEnd] {
        assert_eq!(broken(no_fault), None);
    }
    for (fault, property) in [
        (Fault::Sums, "the whole body tells what is expected"),
        (Fault::Parts, "reasoning: a part"),
        (Fault::Varies, "a body in two frames tells the same"),
        (Fault::Overshoots, "more so far than the whole"),
        (Fault::Falls, "what was told so far falls"),
        (Fault::EndsEarly, "a client that leaves is an abort"),
        (Fault::Panics, "the format panicked"),
        (Fault::TakesOffence, "bytes that are no answer do no harm"),
    ] {
        let message = broken(fault).unwrap_or_else(|| panic!("{fault:?} is not found"));
        assert!(message.contains("three words: "), "{message}");
        assert!(message.contains(property), "{fault:?}: {message}");
    }
}

#[test]
fn what_a_format_does_wrong_with_any_bytes_is_found() {
    let mut head = HeaderMap::new();
    head.insert("content-type", HeaderValue::from_static("text/event-stream"));
    let holds = |fault, body: &[u8]| {
        let check = || check_bytes(&words(fault), &head, body, &[7, 0]);
        catch_unwind(AssertUnwindSafe(check)).is_ok()
    };
    assert!(holds(Fault::None, BODY.as_bytes()) && holds(Fault::None, b"data: \xff\n\n"));
    assert!(!holds(Fault::Varies, BODY.as_bytes()), "another count in frames");
    assert!(!holds(Fault::Panics, b"data: \xff\n\n"), "a panic");
}

#[test]
fn what_is_expected_of_a_sample_is_looked_at() {
    let wire = Wire::openai();
    let body = r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let sample = || Sample::new("two tokens", "application/json", body);
    let right = || {
        sample()
            .ends(Outcome::Success(FinishReason::Stop))
            .prompt(3)
            .completion(2, TokenSource::Usage)
    };
    check(&wire, &[right()]);
    for wrong in [
        sample(),
        right().ends(Outcome::Success(FinishReason::Length)),
        right().prompt(4),
        right().cached(0),
        right().reasoning(0),
        right().completion(1, TokenSource::Usage),
        right().completion(2, TokenSource::Counted),
    ] {
        assert!(catch_unwind(|| check(&Wire::openai(), &[wrong])).is_err());
    }
}
