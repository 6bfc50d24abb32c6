//! Lines of JSON: the same ones however they are cut.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| infermeter_fuzz::framed("application/x-ndjson", input));
