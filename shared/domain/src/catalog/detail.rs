//! The rules for the details of an action: checked here, and described as JSON Schema.

use serde_json::{Value, json};

use crate::json::{Json, Object};
use crate::schema::or_null;
use crate::{Error, Result, ids};

/// The most characters of a [`Kind::Text`].
const MAX_TEXT_LEN: usize = 1000;

/// The kind of value that a member of an action's details must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string of 1 to 1,000 characters.
    Text,
    /// A string that is not empty, up to the event's own limit.
    Prose,
    /// An identifier.
    Id,
    /// `true` or `false`.
    Bool,
    /// A whole number, 0 or more.
    Count,
    /// A number, 0 or more.
    Number,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// Any value, null among them.
    Any,
}

/// A known member of an action's details.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

pub(super) const fn required(name: &'static str, kind: Kind) -> Detail {
    Detail { name, kind, required: true }
}

pub(super) const fn optional(name: &'static str, kind: Kind) -> Detail {
    Detail { name, kind, required: false }
}

impl Detail {
    pub(super) fn check(&self, action: &str, details: &Object) -> Result<()> {
        let problem = match details.get(self.name) {
            Some(value) if self.kind.takes(value) => return Ok(()),
            None | Some(Json::Null) if !self.required => return Ok(()),
            None | Some(Json::Null) => format!("is required for {action}"),
            Some(_) => format!("must be {}", self.kind),
        };
        Err(Error::bad_input(format!("details.{}", self.name), problem))
    }

    /// A value that passes; `text` where any text does.
    #[cfg(test)]
    pub(super) fn sample(&self, text: &str) -> Value {
        match self.kind {
            Kind::Text | Kind::Prose | Kind::Any => text.into(),
            Kind::Id => "id-1".into(),
            Kind::Bool => true.into(),
            Kind::Count | Kind::Number => 1.into(),
            Kind::OneOf(allowed) => allowed[0].into(),
        }
    }

    /// The JSON Schema of what [`Detail::check`] lets pass.
    pub(super) fn schema(&self) -> Value {
        let schema = self.kind.schema();
        if self.required { schema } else { or_null(schema) }
    }
}

impl Kind {
    fn takes(self, value: &Json) -> bool {
        match (self, value) {
            (Self::Text, Json::String(text)) => (1..=MAX_TEXT_LEN).contains(&text.chars().count()),
            (Self::Prose, Json::String(text)) => !text.is_empty(),
            (Self::Id, Json::String(text)) => ids::is_valid(text),
            (Self::OneOf(allowed), Json::String(text)) => allowed.contains(&text.as_str()),
            // As in JSON Schema, 5.0 is a whole number too.
            (Self::Count, Json::Number(number)) => number.is_positive() && number.is_whole(),
            (Self::Number, Json::Number(number)) => number.is_positive(),
            (Self::Bool, Json::Bool(_)) | (Self::Any, _) => true,
            _ => false,
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string", "minLength": 1, "maxLength": MAX_TEXT_LEN }),
            Self::Prose => json!({ "type": "string", "minLength": 1 }),
            Self::Id => ids::json_schema(),
            Self::Bool => json!({ "type": "boolean" }),
            Self::Count => json!({ "type": "integer", "minimum": 0 }),
            Self::Number => json!({ "type": "number", "minimum": 0 }),
            Self::OneOf(allowed) => json!({ "type": "string", "enum": allowed }),
            Self::Any => json!({}),
        }
    }
}

/// A description of such a value, for errors.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => write!(f, "a string of 1 to {MAX_TEXT_LEN} characters"),
            Self::Prose => f.write_str("a string that is not empty"),
            Self::Id => {
                write!(f, "an id: {}", ids::RULE)
            }
            Self::Bool => f.write_str("true or false"),
            Self::Count => f.write_str("a whole number, 0 or more"),
            Self::Number => f.write_str("a number, 0 or more"),
            Self::OneOf(allowed) => write!(f, "one of {}", allowed.join(", ")),
            Self::Any => f.write_str("any value"),
        }
    }
}
