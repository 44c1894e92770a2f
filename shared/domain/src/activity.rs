//! The activity: one immutable record of an act, its actor, its place and its time.

use serde::Serialize;

use crate::ids::{ActivityId, ActorId, IssueId, Tag, WorkspaceId};
use crate::json::Details;
use crate::provenance::Provenance;
use crate::salt::Salt;
use crate::time::Timestamp;
use crate::{Error, Result};

/// The kinds of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ActorType {
    /// A person.
    User,
    /// An AI agent.
    Agent,
}

impl ActorType {
    /// Parses `user` or `agent`; an error names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        match text {
            "user" => Ok(Self::User),
            "agent" => Ok(Self::Agent),
            _ => Err(Error::bad_input(field, "must be user or agent")),
        }
    }

    /// `user` or `agent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
        }
    }
}

/// The readers of a workspace who may see an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Everyone who may read the workspace.
    Everyone,
    /// Everyone but members with the role client.
    Staff,
}

impl Audience {
    /// Parses `everyone` or `staff`; an error names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        match text {
            "everyone" => Ok(Self::Everyone),
            "staff" => Ok(Self::Staff),
            _ => Err(Error::bad_input(field, "must be everyone or staff")),
        }
    }

    /// `everyone` or `staff`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Staff => "staff",
        }
    }
}

/// An action: a dotted type of the form `noun.verb`, such as `issue.created`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Action(String);

/// The longest action, in bytes.
pub const MAX_ACTION_LEN: usize = 64;
/// The characters that [`Action::parse`] takes, as a regular expression.
pub const ACTION_PATTERN: &str = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$";

#[cfg(feature = "openapi")]
crate::schema::text!(
    Action,
    "An action: a dotted type of the form `noun.verb`.",
    ACTION_PATTERN,
    MAX_ACTION_LEN
);

impl Action {
    /// Parses an action; an error names `field`.
    pub fn parse(field: &str, text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if text.len() <= MAX_ACTION_LEN && text.contains('.') && text.split('.').all(word) {
            return Ok(Self(text));
        }
        let detail = format!(
            "must have the form noun.verb, such as issue.created: lowercase words of a-z 0-9 _ joined by dots, at \
             most {MAX_ACTION_LEN} characters"
        );
        Err(Error::bad_input(field, detail))
    }

    /// The action's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person or agent that an activity names, as they were at the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Party {
    /// The user or agent.
    pub id: ActorId,
    /// Name at the time of the event, at most 256 characters.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address at the time of the event, at most 320 characters.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// One entry of the log. Serialized, it is the entry of the REST reference: its eight fields in its order, then the
/// optional ones that are set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Activity {
    /// Unique in the workspace, for ever.
    pub id: ActivityId,
    /// The workspace where it happened.
    pub workspace_id: WorkspaceId,
    /// The issue it belongs to, or null.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub issue_id: Option<IssueId>,
    /// Whether a person or an agent acted.
    pub actor_type: ActorType,
    /// The id of the actor.
    pub actor_id: ActorId,
    /// The action.
    #[cfg_attr(feature = "openapi", schema(example = "issue.created"))]
    pub action: Action,
    /// Data of the action, as its producer sent it.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: Details,
    /// When it happened, UTC: `2025-01-01T00:00:00`, with three or six fraction digits when they are not zero.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "2025-01-01T00:00:00"))]
    pub created_at: Timestamp,
    /// The user an agent acted for.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Party>,
    /// The person or agent that was affected.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affected: Option<Party>,
    /// Labels to filter by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The version of the workspace's system of record that says this of a workspace or a member.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The audience that its event asked for, if it did.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// The action's name in GraphQL when it was recorded; not part of the REST entry.
    #[serde(skip)]
    pub category: &'static str,
    /// The actor's name at the time; not part of the REST entry.
    #[serde(skip)]
    pub actor_name: Option<String>,
    /// The actor's address at the time; not part of the REST entry.
    #[serde(skip)]
    pub actor_email: Option<String>,
    /// When and by whom it was recorded; not part of the REST entry, and `None` for activities that were recorded before
    /// provenance was kept.
    #[serde(skip)]
    pub recorded: Option<Provenance>,
    /// The salt of its fingerprint; not part of the REST entry, and `None` for activities whose fingerprints have none.
    #[serde(skip)]
    pub salt: Option<Salt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_the_form_noun_verb() {
        for good in ["issue.created", "custom_field.created", "agent.run.finished", "a.b2"] {
            assert!(Action::parse("action", good).is_ok(), "{good}");
        }
        for bad in ["", "issue", ".created", "issue.", "Issue.created", "issue..x", "1a.b", "a.b#c", "a.b c"]
        {
            assert!(Action::parse("action", bad).is_err(), "{bad}");
        }
        assert!(Action::parse("action", format!("a.{}", "b".repeat(63))).is_err());
    }
}
