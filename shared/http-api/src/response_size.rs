//! What an answer weighs on its way out of a function.

/// The most bytes of an answer's body, as [`size`] counts them. Lambda sends 6 MB in all: the rest is for headers,
/// and room to spare.
pub const MAX: usize = 4_500_000;

/// Bytes of `text`, itself JSON, as the JSON string that Lambda makes of it.
pub fn size(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}
