//! Identifiers. They are parsed once at the edge, so that every value of these types is valid.

use std::borrow::Cow;
use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Error, Result};

/// The longest identifier, in bytes. Encoded, each byte takes at most three: with that, the longest sort key has 890 of
/// DynamoDB's 1,024 bytes, and the longest partition key 1,546 of 2,048.
pub const MAX_ID_LEN: usize = 256;

/// The characters that [`is_valid`] takes, as a regular expression of JSON Schema. It lacks the format characters beyond
/// U+FFFF, because languages write those in different ways.
pub const PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]+$";

/// The rule of [`is_valid`], in words that follow "must be".
pub const RULE: &str = "1 to 256 bytes of text without control and format characters";

/// Unicode's format characters, its general category Cf, in version 16: they cannot be seen, and make ids look alike.
const FORMAT_CHARACTERS: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// Begins an id in a path that is not written as it is.
const ENCODED_SEGMENT: char = '~';

/// Whether `text` is 1 to [`MAX_ID_LEN`] bytes without control and format characters.
pub fn is_valid(text: &str) -> bool {
    let is_format = |c: char| FORMAT_CHARACTERS.iter().any(|(first, last)| (*first..=*last).contains(&c));
    (1..=MAX_ID_LEN).contains(&text.len())
        && (text.bytes().all(is_plain) || !text.chars().any(|c| c.is_control() || is_format(c)))
}

/// Whether keys and paths have a byte as it is. Every plain byte sorts between `%` and `z`, and none is `#`, which joins the
/// parts of a key: the keys of the tables rely on both.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte)
}

/// A text in the alphabet of keys: other bytes are percent-encoded.
fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return text.into();
    }
    let mut encoded = String::with_capacity(3 * text.len());
    for byte in text.bytes() {
        match is_plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded.into()
}

/// The text that [`encode`] makes into `encoded`, and no other.
fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| encode(text) == encoded)
}

/// An id, in JSON Schema.
pub(crate) fn json_schema() -> serde_json::Value {
    crate::schema::string(MAX_ID_LEN, PATTERN)
}

/// The longest slug, in bytes.
const MAX_SLUG_LEN: usize = 128;
/// The characters that [`is_slug`] takes, as a regular expression. It excludes `.` and `..` without lookahead, which some
/// languages lack: after at most two dots comes another character, or a third dot.
#[cfg(feature = "openapi")]
const SLUG_PATTERN: &str = r"^(\.{0,2}[A-Za-z0-9_:@-][A-Za-z0-9._:@-]*|\.{3}[A-Za-z0-9._:@-]*)$";
/// The rule of [`is_slug`].
const SLUG_RULE: &str = "1 to 128 characters of A-Z a-z 0-9 . _ : @ -";

fn is_slug(text: &str) -> bool {
    (1..=MAX_SLUG_LEN).contains(&text.len()) && text.bytes().all(is_plain) && text != "." && text != ".."
}

macro_rules! id {
    (#[doc = $doc:literal] $name:ident) => {
        id!(#[doc = $doc] $name: is_valid, RULE, PATTERN, MAX_ID_LEN);
    };
    (#[doc = $doc:literal] $name:ident: $is_valid:ident, $rule:expr, $pattern:expr, $max:expr) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        #[cfg(feature = "openapi")]
        crate::schema::text!($name, $doc, $pattern, $max);

        impl $name {
            /// Parses an id; an error names `field`.
            pub fn parse(field: &str, text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                if $is_valid(&text) {
                    return Ok(Self(text));
                }
                Err(Error::bad_input(field, format!("must be {}", $rule)))
            }

            /// Parses an id as a path has it, percent-decoded: the id itself, or what [`Self::segment`] makes of it. An error
            /// names `field`.
            pub fn parse_segment(field: &str, segment: &str) -> Result<Self> {
                let Some(encoded) = segment.strip_prefix(ENCODED_SEGMENT) else {
                    return Self::parse(field, segment);
                };
                let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let detail = "must be an id, or ~ and the base64url of one, without padding";
                Self::parse(field, decoded.ok_or_else(|| Error::bad_input(field, detail))?)
            }

            /// Reads an id of a key.
            pub fn from_key(encoded: &str) -> Option<Self> {
                decode(encoded).filter(|text| $is_valid(text)).map(Self)
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id in the alphabet of keys, `A-Z a-z 0-9 . _ : @ -`, with all other bytes percent-encoded.
            pub fn key(&self) -> Cow<'_, str> {
                encode(&self.0)
            }

            /// The id as a segment of a path: itself if it is plain; else `~` and its base64url, because API Gateway decodes
            /// paths, after which an encoded slash or question mark cannot be told from a bare one.
            pub fn segment(&self) -> Cow<'_, str> {
                // Clients remove these two from a path before they send it.
                if self.0.bytes().all(is_plain) && self.0 != "." && self.0 != ".." {
                    return (&*self.0).into();
                }
                format!("{ENCODED_SEGMENT}{}", URL_SAFE_NO_PAD.encode(&self.0)).into()
            }
        }

        /// The order of keys, and so of feeds.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.key().cmp(&other.key())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A workspace (GraphQL: project).
    WorkspaceId
);
id!(
    /// An issue (GraphQL: todo).
    IssueId
);
id!(
    /// An organization (GraphQL: company).
    OrganizationId
);
id!(
    /// An activity, unique in its workspace.
    ActivityId
);
id!(
    /// A user or an agent.
    ActorId
);
id!(
    /// A tag of an activity.
    Tag
);
id!(
    /// The readable address of a workspace, or of an organization: not unique, and not for ever.
    Slug: is_slug, SLUG_RULE, SLUG_PATTERN, MAX_SLUG_LEN
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_any_text_without_invisible_characters() {
        for good in [
            "a",
            ".",
            "..",
            "a#b",
            "auth0|5f7c",
            "dependabot[bot]",
            "ada+x@example.com",
            "good first issue",
            "100%",
            "~",
            "é/ß?",
            "\u{1f600}",
            " ",
            &"x".repeat(256),
            &"é".repeat(128),
        ] {
            assert!(is_valid(good), "{good:?}");
        }
        for bad in [
            "",
            "a\0",
            "a\n",
            "\u{7f}",
            "\u{85}",
            "a\u{200b}",
            "\u{202e}a",
            "\u{feff}",
            "\u{ad}",
            "\u{e0041}",
            "\u{110bd}",
            &"x".repeat(257),
            &"é".repeat(129),
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_the_field_at_fault() {
        let error = WorkspaceId::parse("ws_id", "a\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "ws_id: must be 1 to 256 bytes of text without control and format characters"
        );
        assert!(RULE.contains(&format!("1 to {MAX_ID_LEN} bytes")));
        assert!(Slug::parse("slug", "a b").is_err() && Slug::parse("slug", "..").is_err());
    }

    #[test]
    fn plain_ids_stay_as_they_are_in_keys_and_paths() {
        for (text, key, segment) in [
            ("act-abc123", "act-abc123", "act-abc123"),
            ("A.b_c:d@e-9", "A.b_c:d@e-9", "A.b_c:d@e-9"),
            (".", ".", "~Lg"),
            ("..", "..", "~Li4"),
            ("a/b?", "a%2Fb%3F", "~YS9iPw"),
            ("100%", "100%25", "~MTAwJQ"),
            ("~x", "%7Ex", "~fng"),
            ("é", "%C3%A9", "~w6k"),
        ] {
            let id = ActivityId::parse("id", text).unwrap();
            assert_eq!((id.key().as_ref(), id.segment().as_ref()), (key, segment), "{text}");
            assert_eq!(ActivityId::parse_segment("id", segment).unwrap(), id, "{text}");
            assert_eq!(ActivityId::from_key(key), Some(id), "{text}");
        }
        // A path may also have an id as it is, which API Gateway decodes.
        assert_eq!(ActivityId::parse_segment("id", "auth0|5").unwrap().as_str(), "auth0|5");
        for bad in ["~", "~x", "~_w", "~YS9iPw==", "~Lg~"] {
            assert!(ActivityId::parse_segment("id", bad).is_err(), "{bad}");
        }
        for bad in ["", "%", "%4", "%41", "%c3%a9", "%C3", "a b", "a#b", "%+1", "é", "%00"] {
            assert_eq!(ActivityId::from_key(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn keys_and_segments_read_back(text in "\\PC{1,40}", other in "\\PC{1,3}") {
            prop_assume!(is_valid(&text) && is_valid(&other));
            let (id, other) = (Tag::parse("tag", text.as_str()).unwrap(), Tag::parse("tag", other).unwrap());
            prop_assert_eq!(Tag::from_key(&id.key()), Some(id.clone()));
            prop_assert_eq!(Tag::parse_segment("tag", &id.segment()).unwrap(), id.clone());
            prop_assert_eq!(id.cmp(&other), id.key().as_bytes().cmp(other.key().as_bytes()));
            prop_assert!(id.key().len() <= 3 * text.len() && id.segment().bytes().all(|b| is_plain(b) || b == b'~'));
        }
    }
}
