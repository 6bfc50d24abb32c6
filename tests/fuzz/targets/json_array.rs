//! Whole answers that are one array: Gemini's streams without SSE, the batches of SGLang and of
//! llama.cpp.

#![no_main]

use infermeter::wire::Wire;
use infermeter_fuzz::read;

const WIRES: [Wire; 6] = [
    Wire::gemini(),
    Wire::sglang(),
    Wire::generate(),
    Wire::tgi(),
    Wire::llamacpp(),
    Wire::completions(),
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((sizes, body)) = input.split_first_chunk::<3>() else { return };
    let array = [sizes, &b"["[..], body, b"]"].concat();
    for wire in WIRES {
        read(&wire, &[("content-type", "application/json")], &array);
    }
});
