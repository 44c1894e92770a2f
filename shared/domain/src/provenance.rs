//! Provenance: when, on which way and by whom an activity was recorded. The recorder sets it, and a producer cannot.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::time::Timestamp;

/// The longest principal, in bytes. The attribute of an activity's provenance then takes 105 bytes of its item: its name 8,
/// the time 26, the way in 1, two spaces, and this.
pub const MAX_PRINCIPAL_LEN: usize = 68;
/// The characters of the digest that stands at the end of a principal that was too long.
const DIGEST_LEN: usize = 16;

/// A way in, each of which has a function of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The REST API.
    Http,
    /// The event bus.
    EventBus,
    /// The queue of producers.
    Queue,
    /// A direct invocation.
    Invoke,
}

impl Source {
    /// All ways in.
    pub const ALL: [Self; 4] = [Self::Http, Self::EventBus, Self::Queue, Self::Invoke];

    /// Its name in logs, metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::EventBus => "event_bus",
            Self::Queue => "queue",
            Self::Invoke => "invoke",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// The sender of an activity, and the way it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordedBy {
    /// The way in.
    pub source: Source,
    /// The verified sender, at most 68 bytes: over HTTP the token's subject and, after a space, its client; on the bus
    /// `account/source`; in the queue the id of the sender's role or user. Lambda does not say who invoked.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

impl RecordedBy {
    /// A sender on a way in. `parts` are what identifies them, joined by spaces; a space or a control character within a
    /// part is percent-encoded, so that no two senders look alike. A principal that is too long is cut, and ends with `~`
    /// and a digest of the whole.
    pub fn new(source: Source, parts: &[&str]) -> Self {
        let whole = parts.iter().map(|part| encoded(part)).collect::<Vec<_>>().join(" ");
        let principal = (!whole.is_empty()).then(|| shortened(whole));
        Self { source, principal }
    }
}

impl fmt::Display for RecordedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.as_str())?;
        self.principal.iter().try_for_each(|principal| write!(f, " {principal}"))
    }
}

/// When, on which way and by whom an activity was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The recorder's time.
    pub recorded_at: Timestamp,
    /// The sender, and the way in.
    pub recorded_by: RecordedBy,
}

fn encoded(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for character in part.chars() {
        if character.is_whitespace() || character.is_control() || character == '%' {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(character);
        }
    }
    encoded
}

fn shortened(whole: String) -> String {
    if whole.len() <= MAX_PRINCIPAL_LEN {
        return whole;
    }
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(whole.as_bytes()));
    let kept = whole.floor_char_boundary(MAX_PRINCIPAL_LEN - 1 - DIGEST_LEN);
    format!("{}~{}", &whole[..kept], &digest[..DIGEST_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(parts: &[&str]) -> Option<String> {
        RecordedBy::new(Source::Http, parts).principal
    }

    #[test]
    fn principals_are_told_apart() {
        assert_eq!(principal(&["ada", "app"]).as_deref(), Some("ada app"));
        assert_eq!(principal(&["ada app"]).as_deref(), Some("ada%20app"));
        assert_eq!(principal(&["ada%20app"]).as_deref(), Some("ada%2520app"));
        assert_eq!(principal(&["é\n\u{2003}"]).as_deref(), Some("é%0A%E2%80%83"));
        assert_eq!(principal(&[]), None);
        let long = |last: &str| principal(&[&format!("{}{last}", "é".repeat(60))]).unwrap();
        assert!(long("a").len() <= MAX_PRINCIPAL_LEN && long("a").starts_with("éé"));
        assert_ne!(long("a"), long("b"));
        assert_eq!(principal(&[&"x".repeat(68)]).unwrap(), "x".repeat(68));
        assert_eq!(principal(&[&"x".repeat(69)]).unwrap().len(), 68);
    }

    #[test]
    fn names_of_sources_read_back() {
        for source in Source::ALL {
            assert_eq!(Source::parse(source.as_str()), Some(source));
            assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
        }
        assert_eq!(Source::parse("sqs"), None);
    }
}
