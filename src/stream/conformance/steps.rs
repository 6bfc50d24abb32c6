//! The properties, each with its name.

use bytes::Bytes;
use http::header;

use super::{
    Sample,
    run::{Ending, Run, Told},
    text::{Kind, filled, first, frames, other_line_ends, other_numbers, places},
};
use crate::{
    outcome::{FailureReason, Outcome, TokenSource, Unread},
    stream::{BodyEnd, partial::MAX_EVENT, whole::MAX_WHOLE},
    wire::{Finish, MOST_TOKENS, Usage, Wire},
};

/// A sample and the property that is looked at.
pub(super) struct Case<'a> {
    pub(super) wire: &'a Wire,
    pub(super) sample: &'a Sample,
    /// What the sample is when it comes in one piece.
    pub(super) whole: &'a Run,
    pub(super) property: &'static str,
}

type Step = fn(&Case<'_>);

/// In an order in which the first that fails says most.
pub(super) const STEPS: [(&str, Step); 15] = [
    ("the whole body tells what is expected", whole),
    ("a body in two frames tells the same", two_frames),
    ("a body byte by byte tells the same, and never more", byte_by_byte),
    ("a frame may hold any number of bytes and of events", any_frames),
    ("an empty frame changes nothing", empty_frames),
    ("other line ends change nothing", line_ends),
    ("what stands between events changes nothing", fillers),
    ("a body whose content type is not said is read as what it is", unsaid),
    ("a body that is cut is no success and tells no more", cut),
    ("a client that leaves is an abort, unless the end was there", dropped),
    ("a body that breaks is a failure", broken),
    ("how a body ends changes nothing else", endings),
    ("bytes that are no answer do no harm", nonsense),
    ("numbers that no request can have are not told", numbers),
    ("what has no end is not kept", endless),
];

// === impl Case ===

impl Case<'_> {
    fn run(&self, frames: impl IntoIterator<Item = Bytes>, ending: Ending) -> Run {
        let run = Run::of(self.wire, self.sample, frames, ending);
        self.holds(!run.falls(), "what was told so far falls", &run);
        run
    }

    fn body(&self) -> &Bytes {
        &self.sample.body
    }

    fn kind(&self) -> Kind {
        Kind::of(self.sample, self.whole)
    }

    #[track_caller]
    fn holds(&self, holds: bool, what: &str, run: &Run) {
        let Self { sample, property, .. } = self;
        assert!(holds, "{}: {property}: {what}: {run:?}", sample.name);
    }

    /// Nothing that counts is another than where the body came in one piece.
    #[track_caller]
    fn same(&self, run: &Run, what: &str) {
        let Self { sample, property, whole, .. } = self;
        assert_eq!(run.told, whole.told, "{}: {property}: {what}", sample.name);
    }

    /// No count is above that of the whole body.
    #[track_caller]
    fn within(&self, run: &Run, what: &str) {
        let Usage { prompt, cached, completion, reasoning } = self.whole.told.usage;
        let prompt = prompt.max(self.sample.most_prompt);
        let is_within = |usage: &Usage| {
            [
                (usage.prompt, prompt),
                (usage.cached, cached),
                (usage.completion, completion),
                (usage.reasoning, reasoning),
            ]
            .iter()
            .all(|(part, whole)| part.unwrap_or(0) <= whole.unwrap_or(0))
        };
        self.holds(is_within(&run.told.usage), &format!("{what}: more than the whole"), run);
        let so_far = run.so_far.iter().all(is_within);
        self.holds(so_far, &format!("{what}: more so far than the whole"), run);
    }

    /// What an answer ends as that fails by itself, whatever becomes of its body.
    fn fails(&self, told: &Told) -> bool {
        !self.sample.status.is_success()
            || told.facts.error.is_some()
            || told.facts.finish == Some(Finish::Abort)
    }
}

fn whole(case: &Case<'_>) {
    let (Sample { ends, usage, source, .. }, Told { facts, .. }) = (case.sample, &case.whole.told);
    case.holds(case.whole.told.outcome == *ends, &format!("it ends as {ends:?}"), case.whole);
    case.holds(
        facts.usage.prompt == usage.prompt && facts.usage.completion == usage.completion,
        &format!("it tells {:?} + {:?}", usage.prompt, usage.completion),
        case.whole,
    );
    let told = facts.source.unwrap_or(TokenSource::Unknown);
    case.holds(told == *source, &format!("by {source:?}"), case.whole);
    let Usage { prompt, cached, completion, reasoning } = facts.usage;
    for (part, told) in [(usage.cached, cached), (usage.reasoning, reasoning)] {
        case.holds(
            part.is_none() || part == told,
            &format!("it tells {part:?} as a part"),
            case.whole,
        );
    }
    case.holds(cached.unwrap_or(0) <= prompt.unwrap_or(u64::MAX), "cached: a part", case.whole);
    let is_part = reasoning.unwrap_or(0) <= completion.unwrap_or(u64::MAX);
    case.holds(is_part, "reasoning: a part", case.whole);
    case.holds(facts.source.is_some() == completion.is_some(), "a count has a source", case.whole);
    if let (Some(longest), Some(completion)) = (facts.longest, completion) {
        case.holds(longest.tokens <= completion, "the longest choice is a part", case.whole);
    }
    case.within(case.whole, "itself");
}

fn two_frames(case: &Case<'_>) {
    for at in places(case.body(), case.kind()) {
        let frames = [case.body().slice(..at), case.body().slice(at..)];
        let run = case.run(frames, Ending::Eof);
        case.same(&run, &format!("cut at {at}"));
        case.within(&run, &format!("cut at {at}"));
    }
}

fn byte_by_byte(case: &Case<'_>) {
    let run = case.run(bytes(case.body(), 1), Ending::Eof);
    case.same(&run, "byte by byte");
    case.within(&run, "byte by byte");
}

fn any_frames(case: &Case<'_>) {
    for size in [2, 3, 7, 64, 1000, 4096] {
        let run = case.run(bytes(case.body(), size), Ending::Eof);
        case.same(&run, &format!("{size} bytes at a time"));
    }
    let pieces = case.kind().pieces(case.body());
    for count in [1, 2, 3] {
        let frames = pieces.chunks(count).map(|pieces| pieces.concat().into());
        let run = case.run(frames, Ending::Eof);
        case.same(&run, &format!("{count} events at a time"));
        case.within(&run, &format!("{count} events at a time"));
    }
}

fn empty_frames(case: &Case<'_>) {
    for size in [1, 16] {
        let frames = bytes(case.body(), size).flat_map(|frame| [Bytes::new(), frame, Bytes::new()]);
        case.same(&case.run(frames, Ending::Eof), &format!("{size} bytes at a time"));
    }
}

fn line_ends(case: &Case<'_>) {
    if !matches!(case.kind(), Kind::Events | Kind::Lines) {
        return;
    }
    let other = other_line_ends(case.body());
    case.same(&case.run([other.clone()], Ending::Eof), "in one piece");
    case.same(&case.run(bytes(&other, 1), Ending::Eof), "byte by byte");
    for piece in [1, 2] {
        let frames = case.kind().pieces(&other);
        let frames = frames.chunks(piece).map(|pieces| pieces.concat().into());
        case.same(&case.run(frames, Ending::Eof), &format!("{piece} events at a time"));
    }
}

fn fillers(case: &Case<'_>) {
    let (kind, pieces) = (case.kind(), case.kind().pieces(case.body()));
    for filler in kind.fillers() {
        let body = filled(&pieces, filler);
        let what = format!("\"{}\"", filler.escape_ascii());
        case.same(&case.run([body.clone()], Ending::Eof), &what);
        case.same(&case.run(bytes(&body, 1), Ending::Eof), &format!("{what}, byte by byte"));
    }
}

fn unsaid(case: &Case<'_>) {
    let kind = case.kind();
    let Some(format) = case.wire.format().filter(|_| kind != Kind::Unread) else { return };
    let begins_as_json = matches!(first(case.body()), Some(b'{' | b'['));
    let is_told_apart = match kind {
        Kind::Events => !begins_as_json,
        Kind::Lines => begins_as_json && format.streams_lines(),
        _ => begins_as_json && !format.streams_lines(),
    };
    if is_told_apart {
        let mut sample = case.sample.clone();
        sample.headers.remove(header::CONTENT_TYPE);
        let run = Run::of(case.wire, &sample, [case.body().clone()], Ending::Eof);
        case.same(&run, "in one piece");
        let run = Run::of(case.wire, &sample, bytes(case.body(), 1), Ending::Eof);
        case.same(&run, "byte by byte");
    }
}

fn cut(case: &Case<'_>) {
    for at in places(case.body(), case.kind()) {
        let (run, what) =
            (case.run([case.body().slice(..at)], Ending::Eof), format!("cut at {at}"));
        case.within(&run, &what);
        let may_succeed = run.told.facts.done || !run.has_end_marker || !run.had_events;
        let succeeds = matches!(run.told.outcome, Outcome::Success(_));
        case.holds(may_succeed || !succeeds, &format!("{what}: a success"), &run);
    }
    if case.kind() == Kind::Whole && !case.body().is_empty() {
        let mut sample = case.sample.clone();
        sample.headers.insert(header::CONTENT_LENGTH, case.body().len().into());
        let half = case.body().slice(..case.body().len() / 2);
        let run = Run::of(case.wire, &sample, [half], Ending::Eof);
        let is_failure = matches!(run.told.outcome, Outcome::Failure(_));
        case.holds(is_failure || !case.sample.status.is_success(), "half of its length", &run);
    }
}

fn dropped(case: &Case<'_>) {
    let mut was_done = false;
    for at in places(case.body(), case.kind()).into_iter().chain([case.body().len()]) {
        let run = case.run([case.body().slice(..at)], Ending::Dropped);
        let (Told { outcome, facts, .. }, what) = (&run.told, format!("dropped at {at}"));
        case.within(&run, &what);
        let is_right = match outcome {
            Outcome::Failure(_) => case.fails(&run.told),
            Outcome::Success(_) => facts.done && !case.fails(&run.told),
            Outcome::Aborted(_) => !facts.done && !case.fails(&run.told),
        };
        case.holds(is_right && run.end == BodyEnd::Dropped, &what, &run);
        case.holds(facts.done || !was_done, &format!("{what}: the end is taken back"), &run);
        if was_done {
            // What tells nothing any more may still tell how it went.
            let progress = &case.whole.told.progress;
            case.holds(run.told.progress == *progress, &format!("{what}: over before"), &run);
        }
        was_done = facts.done;
    }
}

fn broken(case: &Case<'_>) {
    for at in places(case.body(), case.kind()) {
        let run = case.run([case.body().slice(..at)], Ending::Error);
        let what = format!("broken at {at}");
        case.within(&run, &what);
        let is_right = match run.told.outcome {
            Outcome::Failure(FailureReason::StreamError) => case.sample.status.as_u16() < 400,
            Outcome::Failure(_) => case.sample.status.as_u16() >= 400,
            _ => false,
        };
        case.holds(is_right, &what, &run);
    }
}

fn endings(case: &Case<'_>) {
    let may_say_its_length = case.kind() != Kind::Unread && !case.body().is_empty();
    for (ending, end) in [
        (Ending::Trailers, BodyEnd::Trailers { grpc: None }),
        (Ending::Announced, BodyEnd::EndStream),
        (Ending::Length, BodyEnd::ContentLength),
    ] {
        for size in [case.body().len().max(1), 5] {
            let run = case.run(bytes(case.body(), size), ending);
            let what = format!("{ending:?}, {size} bytes at a time");
            case.same(&run, &what);
            case.holds(!may_say_its_length || run.end == end, &what, &run);
        }
    }
}

/// 10 000 levels is what a parser that calls itself does not survive.
const DEEP: usize = 10_000;

fn nonsense(case: &Case<'_>) {
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(DEEP), "]".repeat(DEEP)).into_bytes();
    let open = deep[..DEEP].to_vec();
    let texts: [&[u8]; 8] =
        [b"\xff\xfe{\xc3", b"{\"x\":\"\xff\"}", b"{", b"null", b"\"\"", b"-1e999", &open, &deep];
    let kind = case.kind();
    // NB: what its head tells is told without a body too.
    let nothing = case.run([], Ending::Eof).told.usage;
    let pieces = kind.pieces(case.body());
    let halves: Vec<Bytes> =
        pieces.chunks(pieces.len().div_ceil(2).max(1)).map(|half| half.concat().into()).collect();
    for text in texts {
        let what = format!("\"{}\"", text[..text.len().min(20)].escape_ascii());
        if kind == Kind::Whole {
            let run = case.run([Bytes::copy_from_slice(text)], Ending::Eof);
            case.holds(run.told.usage == nothing, &format!("{what} counts"), &run);
        } else if matches!(kind, Kind::Events | Kind::Lines) {
            let pieces = if text.len() < 100 { &pieces } else { &halves };
            let body = filled(pieces, &kind.event(text));
            case.same(&case.run([body.clone()], Ending::Eof), &what);
            case.same(&case.run(bytes(&body, 97), Ending::Eof), &format!("{what}, in frames"));
        }
    }
}

fn numbers(case: &Case<'_>) {
    // One more than 32 and than 64 bits hold, less than nothing, more than a float holds.
    for number in ["4294967296", "18446744073709551615", "18446744073709551616", "-1", "1e400"] {
        let body = other_numbers(case.body(), number);
        let run = Run::of(case.wire, case.sample, [body.clone()], Ending::Eof);
        let cut = Run::of(case.wire, case.sample, bytes(&body, 13), Ending::Eof);
        case.holds(run.told == cut.told, &format!("{number}: cut it is another"), &cut);
        plausible(&cut, body.len());
    }
}

fn endless(case: &Case<'_>) {
    let kind = case.kind();
    let long = Bytes::from(vec![b'x'; 64 * 1024]);
    if matches!(kind, Kind::Events | Kind::Lines) {
        // Too long by far, and over some day: what follows is read again.
        let start: &[u8] = if kind == Kind::Events { b"data: " } else { b"" };
        let frames = [Bytes::from_static(start)].into_iter();
        let frames = frames.chain(vec![long; MAX_EVENT / (64 * 1024) + 1]);
        let frames = frames.chain([Bytes::from_static(b"\n\n"), case.body().clone()]);
        let mut run = case.run(frames, Ending::Eof);
        if !run.told.facts.done {
            let is_unread = run.told.unread == Some(Unread::TooLong);
            case.holds(is_unread, "what is too long may have been the end", &run);
            let Told { outcome, unread, .. } = case.whole.told;
            (run.told.outcome, run.told.unread) = (outcome, unread);
        }
        case.same(&run, "before the first event");
    } else if kind == Kind::Whole {
        let blanks = vec![Bytes::from(vec![b' '; 64 * 1024]); MAX_WHOLE / (64 * 1024)];
        let frames = [case.body().clone()].into_iter().chain(blanks);
        let run = case.run(frames, Ending::Eof);
        case.holds(run.told.unread == Some(Unread::TooLong), "too long is not read", &run);
        let head = case.run([], Ending::Eof).told.usage;
        case.holds(run.told.usage == head, "and tells what its head does", &run);
    }
}

/// What any bytes may tell.
pub(super) fn plausible(run: &Run, length: usize) {
    let Told { usage, facts, progress, .. } = &run.told;
    let told = [usage.prompt, usage.cached, usage.completion, usage.reasoning];
    let so_far = run.so_far.iter().flat_map(|usage| [usage.prompt, usage.completion]);
    let is_believable = told.into_iter().chain(so_far).flatten().all(|n| n <= MOST_TOKENS);
    assert!(is_believable, "more than a request can have: {run:?}");
    // NB: no token is told apart from the next by less than a byte.
    assert!(progress.len() <= length, "more events than bytes: {run:?}");
    let counted = usage.completion.filter(|_| facts.source == Some(TokenSource::Counted));
    assert!(counted.unwrap_or(0) <= length as u64, "more counted than there are bytes: {run:?}");
}

/// A body in frames of this size.
fn bytes(body: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    frames(body, &[size]).collect::<Vec<_>>().into_iter()
}
