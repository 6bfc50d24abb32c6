//! Generated streams in the shape of OpenAI's, well formed and not.

use std::num::NonZero;

use proptest::{collection::vec, option, prelude::*, sample::select};

/// The lines of an event, without their ends; the empty line after it is not in it.
pub(crate) type Event = Vec<String>;

/// How the lines of a stream end.
#[derive(Clone, Debug)]
pub(crate) struct LineEnds(Vec<&'static str>);

/// Sizes of the frames that a stream is cut into, used in turn; 0 is an empty frame.
#[derive(Clone, Debug)]
pub(crate) struct Chunking(Vec<usize>);

// === impl LineEnds ===

impl LineEnds {
    /// NB: mixed ones may join two events, where LF follows CR.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let mixed = vec(select(vec!["\n", "\r\n", "\r"]), 2..5).prop_map(Self);
        prop_oneof![4 => Self::uniform(), 1 => mixed]
    }

    pub(crate) fn uniform() -> impl Strategy<Value = Self> {
        select(vec!["\n", "\r\n", "\r"]).prop_map(|end| Self(vec![end]))
    }

    /// The bytes of a stream. `open` leaves the last event without its empty line.
    pub(crate) fn write(&self, events: &[Event], open: bool) -> Vec<u8> {
        let mut ends = self.0.iter().cycle();
        let mut text = String::new();
        for event in events {
            for line in event.iter().map(String::as_str).chain([""]) {
                text += line;
                text += ends.next().unwrap();
            }
        }
        if open {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        text.into_bytes()
    }
}

// === impl Chunking ===

impl Chunking {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        Self::of(1)
    }

    /// With empty frames in between.
    pub(crate) fn with_empty() -> impl Strategy<Value = Self> {
        Self::of(0)
    }

    fn of(least: usize) -> impl Strategy<Value = Self> {
        let sizes = prop_oneof![Just(vec![least, 1]), vec(least..4, 1..8), vec(least..300, 1..20),];
        let advances = |sizes: &Vec<usize>| sizes.iter().any(|size| *size > 0);
        sizes.prop_filter("it has to come to an end", advances).prop_map(Self)
    }

    pub(crate) fn every(size: NonZero<usize>) -> Self {
        Self(vec![size.get()])
    }

    pub(crate) fn cut(&self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for size in self.0.iter().cycle() {
            let (frame, rest) = bytes.split_at((*size).min(bytes.len()));
            frames.push(frame.to_vec());
            bytes = rest;
            if bytes.is_empty() {
                break;
            }
        }
        frames
    }
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    // Some streams are whole, with an end marker; most are anything.
    let done = prop_oneof![Just(Some(data("[DONE]".into()))), Just(None)];
    (vec(event(), 0..25), done).prop_map(|(mut events, done)| {
        events.extend(done);
        events
    })
}

/// A stream of one choice in events of one shape, as engines send it, and how many of them have
/// content. The texts are such that a reader who does not take JSON seriously is led astray.
pub(crate) fn plain_stream() -> impl Strategy<Value = (Vec<Event>, u64)> {
    let texts = vec(prop_oneof![3 => text(), 1 => look_alike()], 0..30);
    let shape = select(vec![
        "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":TEXT},\"finish_reason\":null}]}",
        "{\"choices\":[{\"delta\":{\"reasoning\":TEXT},\"index\":0}],\"usage\":null}",
        "{\"choices\": [{\"finish_reason\": null, \"delta\": {\"role\": \"assistant\", \"content\": TEXT}}]}",
    ]);
    (texts, shape).prop_map(|(texts, shape)| {
        let mut events: Vec<Event> = Vec::new();
        for text in &texts {
            events.push(data(shape.replace("TEXT", &serde_json::to_string(text).unwrap())));
        }
        events.push(data("[DONE]".into()));
        (events, texts.iter().filter(|text| !text.is_empty()).count() as u64)
    })
}

fn look_alike() -> impl Strategy<Value = String> {
    select(vec![
        "\",\"finish_reason\":\"length\",\"x\":\"",
        "\"},\"finish_reason\":null}]}",
        "\\\"},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":99}}",
        "\\",
        "\\\\\"",
        "{\"error\":{\"message\":\"no\"}}",
        "\n\ndata: [DONE]\n\n",
    ])
    .prop_map(str::to_owned)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (content(), usage_field(), finish()).prop_map(|(choice, usage, finish)| {
            let choice = choice.replace("FINISH", &finish);
            data(format!("{{\"id\":\"x\",\"choices\":[{choice}]{usage}}}"))
        }),
        1 => (content(), content(), usage_field()).prop_map(|(a, b, usage)| {
            let choices = format!("{a},{b}").replace("FINISH", "null");
            data(format!("{{\"choices\":[{choices}]{usage}}}"))
        }),
        2 => (0..3_u8).prop_map(|index| data(format!(
            "{{\"choices\":[{{\"index\":{index},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\
             \"finish_reason\":null}}]}}"
        ))),
        2 => usage_field().prop_map(|usage| data(format!("{{\"choices\":[]{usage}}}"))),
        2 => Just(vec![": keep-alive 1/2".to_owned()]),
        1 => Just(vec!["event: ping".to_owned(), "data: {\"type\":\"ping\"}".to_owned()]),
        1 => Just(vec!["id: 7".to_owned(), "retry: 10".to_owned()]),
        1 => error(),
        1 => Just(data("[DONE]".into())),
        2 => garbage(),
    ]
}

/// A member of `choices`; its finish reason is to be filled in.
fn content() -> impl Strategy<Value = String> {
    let field = select(vec!["content", "reasoning", "reasoning_content", "text", "arguments"]);
    let more = prop_oneof![
        6 => Just(String::new()),
        1 => Just(",\"logprobs\":null".to_owned()),
        1 => (0..4_usize).prop_map(|n| {
            format!(",\"logprobs\":{{\"content\":[{}]}}", vec!["{\"token\":\"a\"}"; n].join(","))
        }),
        1 => (0..4_usize).prop_map(|n| format!(",\"token_ids\":[{}]", vec!["5"; n].join(","))),
    ];
    (0..3_u8, field, text(), more).prop_map(|(index, field, text, more)| {
        let text = serde_json::to_string(&text).unwrap();
        let content = match field {
            "text" => format!("\"text\":{text}"),
            "arguments" => format!(
                "\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":{text}}}}}]}}"
            ),
            field => format!("\"delta\":{{\"{field}\":{text}}}"),
        };
        format!("{{\"index\":{index},{content}{more},\"finish_reason\":FINISH}}")
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z ]{0,6}",
        1 => select(vec!["\"", "\\", "\\\"", "\n", "\r\n", "\u{e9}\u{1f600}", "data: x", "[DONE]"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ]
}

fn finish() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => Just("null"),
        1 => Just("\"stop\""),
        1 => Just("\"length\""),
        1 => Just("\"\""),
        1 => select(vec!["\"tool_calls\"", "\"abort\"", "\"error\"", "\"x\"", "7"]),
    ]
    .prop_map(str::to_owned)
}

/// What an event tells of token counts, as further fields.
fn usage_field() -> impl Strategy<Value = String> {
    let counts = (option::of(0..50_u64), 0..50_u64, 0..5_u64);
    prop_oneof![
        6 => Just(String::new()),
        1 => Just(",\"usage\":null".to_owned()),
        3 => counts.clone().prop_map(|(prompt, completion, details)| {
            let prompt = prompt.map_or(String::new(), |n| format!("\"prompt_tokens\":{n},"));
            format!(
                ",\"usage\":{{{prompt}\"completion_tokens\":{completion},\
                 \"prompt_tokens_details\":{{\"cached_tokens\":{details}}}}}"
            )
        }),
        1 => counts.prop_map(|(prompt, predicted, cached)| {
            let prompt = prompt.unwrap_or(1);
            format!(
                ",\"timings\":{{\"cache_n\":{cached},\"prompt_n\":{prompt},\
                 \"predicted_n\":{predicted}}}"
            )
        }),
    ]
}

fn error() -> impl Strategy<Value = Event> {
    select(vec![
        vec!["data: {\"error\":{\"message\":\"x\",\"code\":500}}".to_owned()],
        vec!["data: {\"error\":\"text\"}".to_owned()],
        vec!["data: {\"error\":null}".to_owned()],
        vec!["data: {\"error\":\"\"}".to_owned()],
        vec!["error: {\"code\":500}".to_owned()],
        vec!["event: error".to_owned(), "data: oh".to_owned()],
    ])
}

fn garbage() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(data("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"cut".into())),
        Just(data("{\"choices\":{},\"usage\":[1]}".into())),
        Just(data(
            "{\"choices\":[{\"index\":\"0\",\"text\":7}],\"usage\":{\"completion_tokens\":-1}}"
                .into()
        )),
        Just(vec!["data: {\"choices\":[".to_owned(), "data: ]}".to_owned()]),
        Just(vec!["data".to_owned(), "data:".to_owned(), "x".to_owned()]),
        "[^\r\n]{0,20}".prop_map(|line| vec![line]),
        "[^\r\n]{0,20}".prop_map(data),
    ]
}

fn data(data: String) -> Event {
    vec![format!("data: {data}")]
}
