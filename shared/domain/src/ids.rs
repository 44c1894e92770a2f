//! Identifiers. They are parsed once at the edge, so that every value of these types is valid.

use crate::{Error, Result};

/// The longest identifier, in bytes: with three of them a key stays far below DynamoDB's 1,024.
pub const MAX_ID_LEN: usize = 128;

/// The characters that [`is_valid`] takes, as a regular expression. It excludes `.` and `..` without lookahead, which
/// some languages lack: after at most two dots comes another character, or a third dot.
pub const PATTERN: &str = r"^(\.{0,2}[A-Za-z0-9_:@-][A-Za-z0-9._:@-]*|\.{3}[A-Za-z0-9._:@-]*)$";

/// Whether `text` is 1 to [`MAX_ID_LEN`] of `A-Z a-z 0-9 . _ : @ -`.
///
/// `.` and `..` are not valid, because clients remove them from a path before they send it.
///
/// Every one of these sorts between `-` and `z`, and none is `#`, which joins the parts of a key:
/// The keys of the tables rely on both.
pub fn is_valid(text: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b))
        && text != "."
        && text != ".."
}

/// An id, in JSON Schema.
pub(crate) fn json_schema() -> serde_json::Value {
    crate::schema::string(MAX_ID_LEN, PATTERN)
}

fn check(field: &str, text: &str) -> Result<()> {
    if is_valid(text) {
        return Ok(());
    }
    Err(Error::bad_input(field, format!("must be 1 to {MAX_ID_LEN} characters of A-Z a-z 0-9 . _ : @ -")))
}

macro_rules! id {
    (#[doc = $doc:literal] $name:ident) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        #[cfg(feature = "openapi")]
        crate::schema::text!($name, $doc, PATTERN, MAX_ID_LEN);

        impl $name {
            /// Parses an id; an error names `field`.
            pub fn parse(field: &str, text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                check(field, &text)?;
                Ok(Self(text))
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
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
    Slug
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_allowed_characters_and_no_other() {
        for good in ["a", "act-abc123", "A.b_c:d@e-9", &"x".repeat(128)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ".", "..", "a#b", "a b", "a/b", "é", "a\0", "a~", "%2e", &"x".repeat(129)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn names_the_field_at_fault() {
        let error = WorkspaceId::parse("ws_id", "a#b").unwrap_err();
        assert_eq!(error.to_string(), "ws_id: must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ -");
    }
}
