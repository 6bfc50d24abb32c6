//! What models are called.

/// The first is `simulated`, the others have numbers.
pub fn name(number: u64) -> String {
    if number == 0 { "simulated".to_owned() } else { format!("simulated-{number}") }
}
