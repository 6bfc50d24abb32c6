//! Every format, and every way in which its answers are written: the first two bytes say which.

#![no_main]

use infermeter_fuzz::{FORMATS, KINDS, read};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some(([format, kind], input)) = input.split_first_chunk() else { return };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    read(&format(), &[("content-type", KINDS[usize::from(*kind) % KINDS.len()])], input);
});
