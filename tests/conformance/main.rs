//! Every format, over all answers that are recorded of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod faults;
#[path = "../support/mod.rs"]
mod support;

use std::{
    panic::catch_unwind,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use http::StatusCode;
use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::conformance::{Sample, check, check_bytes},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use support::recording::Recording;

#[test]
fn every_format_holds_over_its_recordings() {
    let all = Recording::all();
    assert!(all.iter().any(|recording| recording.wire_name() == "openai"));
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Relaxed)) {
                    // NB: the panic hook tells of each.
                    let checked = catch_unwind(|| check(&one.wire(), &[sample(one)]));
                    failed.fetch_add(usize::from(checked.is_err()), Relaxed);
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "recordings that do not hold");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// In short what tests/fuzz does at length.
    #[test]
    fn every_format_reads_its_recordings_with_other_bytes_in_them(
        recording in select(Recording::all()),
        changes in vec((any::<Index>(), any::<u8>()), 1..20),
        sizes in vec(0..300_usize, 1..4),
    ) {
        let mut body = recording.body();
        for (at, byte) in changes {
            // NB: there are answers without a body.
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        check_bytes(&recording.wire(), &recording.header_map(), &body, &sizes);
    }
}

fn sample(recording: &Recording) -> Sample {
    let entry = &recording.entry;
    let status = StatusCode::from_u16(entry.status).unwrap();
    let mut sample = Sample::new(&entry.file, "text/event-stream", recording.body())
        .head(status, recording.header_map())
        .ends(match outcome(&entry.end) {
            // Of a connection that broke off, the suite sees the bytes and then a proper end.
            Outcome::Failure(FailureReason::StreamError) if breaks_off(recording) => {
                Outcome::Failure(FailureReason::Truncated)
            }
            outcome => outcome,
        });
    if let Some(prompt) = entry.tells.prompt {
        sample = sample.prompt(prompt);
    }
    if let Some(completion) = entry.tells.completion {
        let source = entry.tells.source.as_deref();
        let source = TokenSource::ALL.iter().find(|known| Some(known.label()) == source);
        sample = sample.completion(completion, *source.unwrap_or(&TokenSource::Unknown));
    }
    if let Some(cached) = entry.tells.cached {
        sample = sample.cached(cached);
    }
    if let Some(most) = entry.tells.prompt_at_most {
        sample = sample.prompt_at_most(most);
    }
    if let Some(reasoning) = entry.tells.reasoning {
        sample = sample.reasoning(reasoning);
    }
    sample
}

fn breaks_off(recording: &Recording) -> bool {
    !recording.held(recording.raw.len()).complete
}

/// Reads `outcome/reason`.
fn outcome(label: &str) -> Outcome {
    let successes = FinishReason::ALL.iter().copied().map(Outcome::Success);
    let failures = FailureReason::ALL.iter().copied().map(Outcome::Failure);
    let aborted = Phase::ALL.iter().copied().map(Outcome::Aborted);
    let mut all = successes.chain(failures).chain(aborted);
    let is_it = |outcome: &Outcome| format!("{}/{}", outcome.label(), outcome.reason()) == label;
    all.find(is_it).unwrap_or_else(|| panic!("no outcome {label}"))
}
