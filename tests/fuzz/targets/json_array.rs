//! Whole answers that are one array: Gemini's streams without SSE, SGLang's batches.

#![no_main]

use infermeter::wire::Wire;
use infermeter_fuzz::read;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((sizes, body)) = input.split_first_chunk::<3>() else { return };
    let array = [sizes, &b"["[..], body, b"]"].concat();
    for wire in [Wire::gemini(), Wire::sglang(), Wire::generate(), Wire::tgi()] {
        read(&wire, &[("content-type", "application/json")], &array);
    }
});
