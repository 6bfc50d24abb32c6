use super::*;

const ROLE: &str = "data: {\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3,\"x\":0}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

const CHAT: Expected =
    Expected { chunks: 3, is_chat: true, has_usage: true, is_stream: true, cut_at: None };

fn chunk(number: u32) -> String {
    let reason = if number == 3 { "\"length\"" } else { "null" };
    format!("data: {{\"content\":\" #{number:07}@{:019}\",\"finish_reason\":{reason}}}\n\n", 5)
}

fn chat() -> String {
    [ROLE, &chunk(1), &chunk(2), &chunk(3), USAGE, DONE].concat()
}

/// The marks that were seen, and how it ended.
fn read(expected: Expected, text: &str, size: usize) -> (u32, Result<(), Failure>) {
    let (mut content, mut marks) = (Content::new(expected), 0);
    let mut count = |mark: Mark| {
        assert_eq!(mark.stamp, 5);
        marks += 1;
    };
    let fed = text.as_bytes().chunks(size).try_for_each(|piece| content.feed(piece, &mut count));
    let ended = fed.and_then(|()| if content.is_cut() { Ok(()) } else { content.end(&mut count) });
    (marks, ended)
}

#[test]
fn a_good_stream_is_good_in_pieces_of_every_size() {
    let text = chat();
    for size in 1..=text.len() {
        assert_eq!(read(CHAT, &text, size), (3, Ok(())), "{size}");
    }
    let expected = Expected { is_chat: false, has_usage: false, ..CHAT };
    let text = [&chunk(1), &chunk(2), &chunk(3), DONE].concat();
    assert_eq!(read(expected, &text, 7), (3, Ok(())));
}

#[test]
fn a_stream_that_is_cut_has_no_more_chunks() {
    let expected = Expected { cut_at: Some(2), ..CHAT };
    assert_eq!(read(expected, &chat(), 10_000), (2, Ok(())));
}

#[test]
fn whatever_is_wrong_is_found() {
    let (one, two, three) = (&*chunk(1), &*chunk(2), &*chunk(3));
    for (what, parts, failure) in [
        ("lost", &[ROLE, one, three, USAGE, DONE][..], Failure::Sequence),
        ("twice", &[ROLE, one, one, two, three, USAGE, DONE], Failure::Sequence),
        ("turned round", &[ROLE, two, one, three, USAGE, DONE], Failure::Sequence),
        ("too many", &[ROLE, one, two, three, &chunk(4), USAGE, DONE], Failure::Sequence),
        ("no role", &[one, two, three, USAGE, DONE], Failure::Sequence),
        ("no usage", &[ROLE, one, two, three, DONE], Failure::Sequence),
        ("early usage", &[ROLE, one, two, USAGE, three, DONE], Failure::Sequence),
        ("early end", &[ROLE, one, two, USAGE, DONE], Failure::Sequence),
        ("no end", &[ROLE, one, two, three, USAGE], Failure::Shape("no [DONE]")),
        ("more", &[&chat(), "data"], Failure::Shape("something after [DONE]")),
        ("end twice", &[&chat(), DONE], Failure::Sequence),
        ("half", &[ROLE, &one[..20]], Failure::Shape("no [DONE]")),
        ("torn", &[ROLE, &one[..20], "\n\n"], Failure::Shape("an event that was not sent")),
        ("other", &["event: x\n\n"], Failure::Shape("a line without data")),
        ("lines", &["data: {\n}\n\n"], Failure::Shape("an event of two lines")),
    ] {
        assert_eq!(read(CHAT, &parts.concat(), 64).1, Err(failure), "{what}");
    }
}

#[test]
fn a_whole_answer_is_all_there() {
    let expected = Expected { is_stream: false, ..CHAT };
    let text = format!("{{{},\"completion_tokens\":3,\"x\":0}}", chunk(3).trim_end());
    assert_eq!(read(expected, &text, 9), (1, Ok(())));
    let torn = &text[..text.len() - 1];
    assert_eq!(read(expected, torn, 9).1, Err(Failure::Shape("not the whole answer")));
}
