//! The size of a response's body, which Lambda limits.

use std::io;

use domain::{Error, Result};
use serde::Serialize;

/// The most bytes of a body, counted by [`of_text`]. Lambda sends 6 MB in all, which leaves room for the headers.
pub const MAX: usize = 4_500_000;

/// The bytes of `text` within the JSON string that Lambda makes of a body. `text` itself is JSON, so that only quotes
/// and backslashes are escaped again.
pub fn of_text(text: &str) -> usize {
    escaped_len(text.as_bytes())
}

/// The bytes that a value's JSON adds to a body, counted without keeping the JSON.
///
/// # Errors
/// [`Error::Internal`] when the value has no JSON.
pub fn of_value(value: &impl Serialize) -> Result<usize> {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_err(Error::internal)?;
    Ok(counter.0)
}

fn escaped_len(json: &[u8]) -> usize {
    json.len() + json.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += escaped_len(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_and_value_have_the_size_that_lambda_sends() {
        for value in [json!({}), json!({ "a\"b": ["é\n\\", 1.5, null] }), json!("\u{1f600}\u{0}")] {
            let text = value.to_string();
            // The quotes around the string are not part of it.
            let sent = serde_json::to_string(&text).unwrap().len() - 2;
            assert_eq!((of_text(&text), of_value(&value).unwrap()), (sent, sent), "{text}");
        }
    }
}
