//! Recorded answers of real engines, whole and cut after every byte: what passes is what was sent,
//! and what is counted is what the bytes tell.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use infermeter::{
    Meter,
    layer::Endpoint,
    outcome::TokenSource,
    stream::{ObservedBody, Summary},
};

use support::{
    frames::{Script, Step, drain, poll},
    hop::{Case, Got, Hops},
    oracle::{Oracle, Told},
    recording::Recording,
    scrape::Scrape,
};

/// Requests on their way at the same time.
const AT_ONCE: usize = 16;

/// Of the cuts of an answer, every so many are made in the middle of a real connection, and fewer
/// with CRLF. All of them are made in memory.
const EVERY: usize = 7;
const EVERY_CRLF: usize = 29;

// === over sockets ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recording_passes_unchanged_and_is_counted_as_its_bytes_tell() {
    let hops = Hops::start().await;
    for recording in with_crlf(Recording::all()) {
        let length = recording.raw.len();
        let (got, scrape) = request(&hops, &recording, length).await;
        let Recording { entry, .. } = &recording;
        // Where the upstream breaks off, hyper resets the connection and may lose what it has not
        // sent yet. What was counted must be right all the same.
        let (sent, whole) = (&got.body[..], recording.body());
        let is_right = if got.complete { sent == &whole[..] } else { whole.starts_with(sent) };
        assert!(is_right, "{}", entry.file);
        assert_eq!(got.status, entry.status, "{}", entry.file);
        for (name, value) in &recording.header_map() {
            let header = format!("\r\n{name}: {}", value.to_str().unwrap()).to_ascii_lowercase();
            assert!(got.headers.contains(&header), "{} lacks {header:?}", got.headers);
        }

        let (outcome, reason) = entry.end.split_once('/').unwrap();
        assert_eq!(got.complete, outcome == "success" || recording.held(length).complete);
        assert_end(&scrape, &recording, outcome, reason, entry.status);
        let source = entry.tells.source.as_deref();
        assert_source(&scrape, source, &recording);
        let count = |name| scrape.sum(name, &[]);
        assert_eq!(count("vllm:prompt_tokens_total"), entry.tells.prompt.unwrap_or(0), "{entry:?}");
        let completion = entry.tells.completion.unwrap_or(0);
        assert_eq!(count("vllm:generation_tokens_total"), completion, "{entry:?}");
        assert_eq!(count("vllm:request_generation_tokens_sum"), completion, "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_anywhere_is_counted_once_and_within_what_it_held() {
    cut_connections(EVERY, EVERY_CRLF).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes in a debug build: .ci/run runs it, optimised"]
async fn a_connection_that_ends_after_any_byte_is_counted_once_and_within_what_it_held() {
    cut_connections(1, 1).await;
}

/// Of formats that the oracle does not know: what passes is what was sent, it ends once, and no count
/// is above that of the whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_early_is_no_success_and_tells_no_more_than_the_whole() {
    const CUTS: usize = 12;
    let hops = Hops::start().await;
    let all = Recording::all();
    for recording in all.iter().filter(|recording| recording.wire_name() != "openai") {
        let (length, head) = (recording.raw.len(), recording.head_length);
        let even = (1..CUTS).map(|cut| head + (length - head) * cut / CUTS);
        for cut in even.chain([head, length - 1]) {
            let (got, scrape) = request(&hops, recording, cut).await;
            let (entry, held) = (&recording.entry, recording.held(cut));
            let (body, case) = (held.body.unwrap(), format!("{} cut at {cut}", entry.file));
            assert!(body.starts_with(&got.body), "{case}");
            assert_eq!(got.complete, held.complete, "{case}");
            assert_eq!(scrape.sum("infermeter_requests_total", &[]), 1, "{case}");
            assert_eq!(scrape.in_flight(), 0, "{case}");
            if !held.complete {
                assert_eq!(scrape.sum("vllm:request_success_total", &[]), 0, "{case}");
            }
            for (name, most) in [
                ("vllm:prompt_tokens_total", entry.tells.prompt_at_most.or(entry.tells.prompt)),
                ("vllm:generation_tokens_total", entry.tells.completion),
            ] {
                assert!(scrape.sum(name, &[]) <= most.unwrap_or(0), "{case}: {name}");
            }
        }
    }
}

async fn cut_connections(every_lf: usize, every_crlf: usize) {
    let hops = Hops::start().await;
    let mut cuts = Vec::new();
    for (number, recording) in variants().into_iter().enumerate() {
        let (length, head) = (recording.raw.len(), recording.head_length);
        let every = if recording.has_crlf() { every_crlf } else { every_lf };
        let oracle = oracle(&recording);
        let recording = Arc::new((recording, oracle));
        let chosen = (0..=length).filter(|cut| {
            // The places where it matters most, and an even sample of the rest.
            let is_edge = [head - 1, head, head + 1].contains(cut) || *cut + 8 > length;
            is_edge || (cut + number) % every == 0
        });
        cuts.extend(chosen.map(|cut| (Arc::clone(&recording), cut)));
    }
    let (cuts, next) = (Arc::new(cuts), Arc::new(AtomicUsize::new(0)));
    let workers = (0..AT_ONCE).map(|_| {
        let (hops, cuts, next) = (hops.clone(), Arc::clone(&cuts), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some((what, cut)) = cuts.get(next.fetch_add(1, Relaxed)) {
                cut_connection(&hops, &what.0, &what.1, *cut).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

async fn cut_connection(hops: &Hops, recording: &Recording, oracle: &Oracle, cut: usize) {
    let (got, scrape) = request(hops, recording, cut).await;
    let (entry, held) = (&recording.entry, recording.held(cut));
    let Some(body) = held.body else {
        assert_eq!(got.status, 502, "{} cut at {cut}", entry.file);
        assert!(got.complete, "{} cut at {cut}", entry.file);
        return assert_end(&scrape, recording, "failure", "server_error", 502);
    };
    assert!(body.starts_with(&got.body), "{} cut at {cut}", entry.file);
    assert!(!held.complete || got.body == body, "{} cut at {cut}", entry.file);
    assert_eq!(got.complete, held.complete, "{} cut at {cut}", entry.file);

    let told = oracle.ended(body.len());
    let (whole_outcome, whole_reason) = entry.end.split_once('/').unwrap();
    let by_whole = held.complete && (told.done || !recording.is_stream());
    let (outcome, reason) = match entry.status {
        _ if by_whole => (whole_outcome, whole_reason),
        400 => ("failure", "invalid_request"),
        404 => ("failure", "not_found"),
        _ if told.broken || !held.complete => ("failure", "stream_error"),
        _ => ("failure", "truncated"),
    };
    assert_end(&scrape, recording, outcome, reason, entry.status);
    if recording.is_stream() {
        let completion = scrape.sum("vllm:generation_tokens_total", &[]);
        let held = told.at_least()..=told.at_most();
        assert!(held.contains(&completion), "{entry:?} cut at {cut}: {completion}");
        let prompt = scrape.sum("vllm:prompt_tokens_total", &[]);
        assert!(told.prompts.contains(&prompt) || prompt == 0, "{entry:?} cut at {cut}");
    }
}

/// Sends one request into a meter of its own.
async fn request(hops: &Hops, recording: &Recording, cut: usize) -> (Got, Scrape) {
    let meter = Meter::new().model("tiny");
    let answer = recording.raw.as_slice().into();
    let endpoint = match recording.wire_name() {
        "openai" => None,
        name => Some(Endpoint::new(name, recording.wire())),
    };
    let case = Case { meter: meter.clone(), answer, cut, endpoint };
    let got = hops.request(&recording.entry.path, case).await;
    // The client sees the end of the connection after the service has seen that of the body.
    let scrape = Scrape::of(&meter);
    scrape.assert_identities();
    (got, scrape)
}

// === in memory ===

#[test]
fn cut_after_every_byte_it_is_counted_within_what_it_held() {
    for recording in variants().iter().filter(|recording| recording.is_stream()) {
        let (body, oracle) = (Bytes::from(recording.body()), oracle(recording));
        // Where it differs from LF, all; of the rest some, since that has been looked at with LF.
        let is_near_line_end =
            |cut: usize| body[cut.saturating_sub(3)..body.len().min(cut + 3)].contains(&b'\n');
        let is_chosen = |cut| !recording.has_crlf() || is_near_line_end(cut) || cut % 5 == 0;
        for cut in (0..=body.len()).filter(|cut| is_chosen(*cut)) {
            for end in [End::Eof, End::Dropped, End::Error] {
                // To the parser an error is an end as any other.
                if end == End::Error && cut % 4 > 0 {
                    continue;
                }
                let summary = observe(recording, body.slice(..cut), end);
                let told = match end {
                    End::Dropped => oracle.so_far(cut),
                    End::Eof | End::Error => oracle.ended(cut),
                };
                let case = format!("{} cut at {cut}: {end:?}", recording.entry.file);
                let outcome = outcome(recording, &told, end);
                assert_eq!(summary.outcome.label(), outcome.0, "{case}");
                assert_eq!(summary.outcome.reason(), outcome.1, "{case}");
                assert_eq!(summary.bytes, cut as u64, "{case}");
                assert_counts(&summary, &told, &case);
            }
        }
    }
}

#[test]
fn a_whole_answer_that_is_cut_tells_nothing() {
    for recording in Recording::openai().iter().filter(|recording| recording.is_whole()) {
        let body = Bytes::from(recording.body());
        for cut in 0..body.len() {
            for end in [End::Error, End::Dropped] {
                let summary = observe(recording, body.slice(..cut), end);
                let case = format!("{} cut at {cut}: {end:?}", recording.entry.file);
                assert_eq!(summary.usage.completion.or(summary.usage.prompt), None, "{case}");
                let outcome = match (recording.entry.status, end) {
                    (200, End::Dropped) => "aborted",
                    _ => "failure",
                };
                assert_eq!(summary.outcome.label(), outcome, "{case}");
            }
        }
    }
}

#[test]
fn cached_and_reasoning_tokens_are_parts_of_the_others() {
    for (file, cached, reasoning) in [
        ("llamacpp/chat-stream-usage.http", Some(0), None),
        ("llamacpp/chat-stream-cached.http", Some(1), None),
        ("llamacpp/chat-stream-cached-usage.http", Some(7), None),
        ("mlx/chat-stream-longprompt.http", Some(2), None),
        ("vllm/03-chat-stream-include-usage.http", None, None),
        ("handmade/vllm-chat-reasoning.http", None, Some(5)),
        ("handmade/sglang-chat-error-then-done.http", None, Some(1)),
    ] {
        let recording = Recording::named(file);
        let usage = observe(&recording, recording.body().into(), End::Eof).usage;
        assert_eq!((usage.cached, usage.reasoning), (cached, reasoning), "{file}");
        assert_eq!(usage.prompt, recording.entry.tells.prompt, "{file}");
        assert_eq!(usage.completion, recording.entry.tells.completion, "{file}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Eof,
    Error,
    Dropped,
}

fn observe(recording: &Recording, bytes: Bytes, end: End) -> Summary {
    let summaries = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&summaries);
    let script = Script::data([bytes]);
    let script = match end {
        End::Eof => script,
        End::Error => script.then(Step::Error("cut")),
        End::Dropped => script.then(Step::Hang),
    };
    let response = recording.response(script);
    let response = ObservedBody::response(response, recording.wire(), move |summary| {
        told.lock().unwrap().push(summary);
    });
    let mut body = Box::pin(response.into_body());
    if end == End::Dropped {
        while poll(body.as_mut()).is_ready() {}
        drop(body);
    } else {
        assert_eq!(drain(body).error.is_some(), end == End::Error);
    }
    let mut summaries = std::mem::take(&mut *summaries.lock().unwrap());
    assert_eq!(summaries.len(), 1, "each body ends once");
    summaries.pop().unwrap()
}

/// How a stream has to end that was cut after what it told.
fn outcome(recording: &Recording, told: &Told, end: End) -> (&'static str, &'static str) {
    match end {
        _ if told.broken || end == End::Error => ("failure", "stream_error"),
        _ if told.done => match recording.entry.end.as_str() {
            "success/stop" => ("success", "stop"),
            "success/length" => ("success", "length"),
            "success/tool_calls" => ("success", "tool_calls"),
            "success/other" => ("success", "other"),
            end => panic!("no end of a stream: {end}"),
        },
        End::Dropped if told.at_least() > 0 => ("aborted", "decode"),
        End::Dropped => ("aborted", "prefill"),
        _ => ("failure", "truncated"),
    }
}

fn assert_counts(summary: &Summary, told: &Told, case: &str) {
    let (usage, source) = (summary.usage, summary.source);
    let completion = usage.completion.unwrap_or(0);
    assert!(completion <= told.at_most(), "{case}: {completion} of {told:?}");
    assert!(completion >= told.at_least(), "{case}: {completion} of {told:?}");
    assert!(usage.prompt.is_none_or(|n| told.prompts.contains(&n)), "{case}: {usage:?}");
    assert_eq!(usage.prompt > Some(0), told.prompts.iter().any(|n| *n > 0), "{case}: {usage:?}");
    assert_eq!(summary.first_token.is_some(), told.at_least() > 0, "{case}");
    let fits = match source {
        TokenSource::Usage => told.final_usage,
        TokenSource::ContinuousUsage => told.usage,
        TokenSource::EngineFrame => told.engine_counts,
        TokenSource::Counted => told.at_least() == completion && completion > 0,
        TokenSource::Unknown => completion == 0,
        _ => false,
    };
    assert!(fits, "{case}: {source:?} of {told:?}");
    assert_eq!(usage.completion.is_none(), source == TokenSource::Unknown, "{case}");
}

// === what both need ===

/// What the oracle knows, as it is, and every stream with CRLF too.
fn variants() -> Vec<Recording> {
    with_crlf(Recording::openai())
}

fn with_crlf(recordings: Vec<Recording>) -> Vec<Recording> {
    let streams = recordings.iter().filter(|recording| recording.is_stream());
    let crlf: Vec<_> = streams.map(Recording::crlf).collect();
    recordings.into_iter().chain(crlf).collect()
}

/// Knows nothing of a whole answer.
fn oracle(recording: &Recording) -> Oracle {
    if recording.is_stream() { Oracle::new(&recording.body()) } else { Oracle::new(b"") }
}

/// One request ended, in this way.
fn assert_end(scrape: &Scrape, recording: &Recording, outcome: &str, reason: &str, code: u16) {
    let endpoint = match recording.entry.path.as_str() {
        "/v1/completions" => "completions",
        _ if recording.wire_name() == "openai" => "chat_completions",
        _ => recording.wire_name(),
    };
    let labels = [
        ("model_name", "tiny"),
        ("endpoint", endpoint),
        ("outcome", outcome),
        ("reason", reason),
        ("code", &code.to_string()),
    ];
    let seen = scrape.counted("infermeter_requests_total");
    assert_eq!(scrape.sum("infermeter_requests_total", &labels), 1, "{labels:?} {seen:?}");
    assert_eq!(scrape.sum("infermeter_requests_total", &[]), 1, "{seen:?}");
    assert_eq!(scrape.sum("infermeter_requests_received_total", &[]), 1);
    assert_eq!(scrape.in_flight(), 0);
}

fn assert_source(scrape: &Scrape, source: Option<&str>, recording: &Recording) {
    let seen = scrape.counted("infermeter_token_accounting_total");
    let accounted = |source| scrape.sum("infermeter_token_accounting_total", &[("source", source)]);
    assert_eq!(source.map_or(0, accounted), u64::from(source.is_some()), "{recording:?} {seen:?}");
}
