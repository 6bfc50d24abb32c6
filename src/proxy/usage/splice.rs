//! Adds to a request that its stream tells token counts.

use bytes::Bytes;

use super::{
    Hide,
    request::{Options, Request, Switch},
};

/// Which token counts the answer shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Wanted {
    /// The final ones.
    Final,
    /// Those so far on every event, too: a stream that is cut short tells exactly what it had.
    Running,
}

/// A request that was added to.
#[derive(Debug)]
pub(in crate::proxy) struct Spliced {
    /// The new body: parts of the old one and what lies between them.
    pub(in crate::proxy) pieces: Vec<Bytes>,
    /// What to take out of the answer.
    pub(in crate::proxy) hide: Hide,
}

/// What is to be inserted at a place, or to replace what is there.
type Edit = (std::ops::Range<usize>, &'static str);

/// `None` where nothing is to be added, or nothing can be: then the body is to be sent as it is.
///
/// Not where a running usage is asked for without the final one: vLLM sends neither then and SGLang
/// does send the running one, so that what the client would have seen is not known.
pub(in crate::proxy) fn splice(
    body: &Bytes,
    request: &Request<'_>,
    wanted: Wanted,
) -> Option<Spliced> {
    if request.stream != Some(true) {
        return None;
    }
    let is_running = wanted == Wanted::Running;
    let (edits, hide): (Vec<Edit>, Hide) = match &request.options {
        Options::Missing => {
            let at = request.inside;
            let text = match wanted {
                Wanted::Final => r#""stream_options":{"include_usage":true},"#,
                Wanted::Running => {
                    r#""stream_options":{"include_usage":true,"continuous_usage_stats":true},"#
                }
            };
            (vec![(at..at, text)], Hide { event: true, members: is_running })
        }
        Options::Null(place) => {
            let text = match wanted {
                Wanted::Final => r#"{"include_usage":true}"#,
                Wanted::Running => r#"{"include_usage":true,"continuous_usage_stats":true}"#,
            };
            (vec![(place.clone(), text)], Hide { event: true, members: is_running })
        }
        Options::Object {
            include: Switch::Missing | Switch::Off(_), running: Switch::On, ..
        }
        | Options::Odd => return None,
        Options::Object { inside, is_empty, include, running } => {
            let hide = Hide {
                event: *include != Switch::On,
                members: is_running && *running != Switch::On,
            };
            let adds_include = *include == Switch::Missing;
            let adds_running = is_running && *running == Switch::Missing;
            let text = match (adds_include, adds_running, is_empty) {
                (false, false, _) => None,
                (true, false, true) => Some(r#""include_usage":true"#),
                (true, false, false) => Some(r#""include_usage":true,"#),
                (true, true, true) => Some(r#""include_usage":true,"continuous_usage_stats":true"#),
                (true, true, false) => {
                    Some(r#""include_usage":true,"continuous_usage_stats":true,"#)
                }
                // NB: there is a member, include_usage.
                (false, true, _) => Some(r#""continuous_usage_stats":true,"#),
            };
            let mut edits: Vec<Edit> = Vec::from_iter(text.map(|text| (*inside..*inside, text)));
            let switches = [Some(include), is_running.then_some(running)];
            edits.extend(switches.into_iter().flatten().filter_map(|switch| match switch {
                Switch::Off(place) => Some((place.clone(), "true")),
                Switch::Missing | Switch::On => None,
            }));
            (edits, hide)
        }
    };
    (!edits.is_empty()).then(|| Spliced { pieces: apply(body, edits), hide })
}

fn apply(body: &Bytes, mut edits: Vec<Edit>) -> Vec<Bytes> {
    edits.sort_by_key(|(place, _)| place.start);
    let (mut pieces, mut at) = (Vec::with_capacity(2 * edits.len() + 1), 0);
    for (place, text) in edits {
        pieces.push(body.slice(at..place.start));
        pieces.push(Bytes::from_static(text.as_bytes()));
        at = place.end;
    }
    pieces.push(body.slice(at..));
    pieces
}
