//! Recordings of a vLLM that was asked the same in three ways: what the proxy makes of an answer
//! that it asked more of is the answer that its client would have got.

use std::{collections::BTreeSet, fs, path::Path};

use super::{FINAL, MEMBERS, RUNNING, assert_left};

/// One choice ends before the other goes on.
const LACKING: [&str; 2] = ["vllm-chat-n2", "vllm-completions-n2"];

#[test]
fn what_is_left_is_what_would_have_come() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/usage");
    let names: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix("-plain.http").map(str::to_owned))
        .collect();
    assert!(names.len() >= 14, "{names:?}");
    let mut lacking = Vec::new();
    for name in &names {
        let read = |kind| body(&fs::read(folder.join(format!("{name}-{kind}.http"))).unwrap());
        let [plain, with_final, running] = ["plain", "final", "running"].map(read);
        assert!(plain != with_final && with_final != running, "{name}");
        let known = without_early_fingerprints(&plain);
        if known != plain {
            lacking.push(name.as_str());
        }
        assert_left(FINAL, &with_final, &known);
        assert_left(RUNNING, &running, &known);
        // A client that asked for the final one.
        assert_left(MEMBERS, &running, &with_final);
        // One that got no more than it asked for.
        for hide in [FINAL, RUNNING, MEMBERS] {
            assert_left(hide, &plain, &plain);
        }
    }
    assert_eq!(lacking, LACKING);
}

/// The known difference: without usage vLLM writes `system_fingerprint` at the end of each choice.
/// With it, it is not known before the usage event, for which only the ends right before it wait.
fn without_early_fingerprints(plain: &[u8]) -> Vec<u8> {
    let plain = std::str::from_utf8(plain).unwrap();
    let mut is_early = false;
    let mut events: Vec<String> = plain.split_inclusive("\n\n").map(str::to_owned).collect();
    for event in events.iter_mut().rev() {
        let fingerprint = event.find(",\"system_fingerprint\":").filter(|_| is_early);
        is_early |= event.contains("\"finish_reason\":null");
        if let Some(at) = fingerprint {
            let end = event.rfind('}').unwrap();
            event.replace_range(at..end, "");
        }
    }
    events.concat().into_bytes()
}

/// The body of a chunked answer, less what differs from answer to answer.
fn body(raw: &[u8]) -> Vec<u8> {
    let raw = String::from_utf8(raw.to_vec()).unwrap();
    let (head, mut rest) = raw.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("200 OK") && head.contains("transfer-encoding: chunked"), "{head}");
    let mut body = String::new();
    loop {
        let (size, chunk) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.push_str(&chunk[..size]);
        rest = chunk[size..].strip_prefix("\r\n").unwrap();
    }
    for (start, end) in [("\"id\":\"", '"'), ("\"created\":", ',')] {
        let mut parts = body.split(start);
        let mut same = parts.next().unwrap().to_owned();
        for part in parts {
            same.push_str(start);
            same.push('0');
            same.push_str(&part[part.find(end).unwrap()..]);
        }
        body = same;
    }
    body.into_bytes()
}
