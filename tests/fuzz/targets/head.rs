//! The head of an answer: lines of it, an empty one, and a body. The first byte says the format.

#![no_main]

use infermeter_fuzz::{FORMATS, read};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((format, input)) = input.split_first() else { return };
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, body) = input.split_at(end);
    let head = String::from_utf8_lossy(head);
    // NB: a false length ends a body early, which is another story than its frames.
    let head: Vec<(&str, &str)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
        .collect();
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    read(&format(), &head, body);
});
