//! Tables of members: what an object has, how each member is read, and how JSON Schema describes it.

use serde_json::{Map, Value, json};

use super::{Actor, MAX_TAGS, MAX_TIME_LEN, PartyMembers};
use crate::activity::{Action, ActorType, Audience, MAX_ACTION_LEN, Party};
use crate::error::FaultList;
use crate::ids::{self, ActivityId, ActorId, IssueId, Tag, WorkspaceId};
use crate::json::{Details, Json, Members, TEXT_PATTERN, text};
use crate::time::Timestamp;
use crate::{Error, Result, schema};

/// The longest word of a fixed set that is read, in characters; all known ones are shorter.
const MAX_WORD_LEN: usize = 16;

/// A member of an object, as documents describe it.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its meaning, as Markdown.
    pub description: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Its JSON Schema.
    pub schema: fn() -> Value,
}

/// A value that a member can have.
pub(super) trait ReadValue: Sized {
    /// Reads a value that is not null; an error names `field`.
    fn read(field: &str, value: Json) -> Result<Self>;

    /// The JSON Schema of what [`ReadValue::read`] takes.
    fn schema() -> Value;
}

/// A member: a value that must be there, or an optional one.
pub(super) trait ReadMember: Sized {
    /// Whether it must be there.
    const REQUIRED: bool;

    /// Reads the member, whose value is absent or not null; an error names `field`.
    fn read(field: &str, value: Option<Json>) -> Result<Self>;

    /// Its JSON Schema.
    fn schema() -> Value;
}

impl<T: ReadValue> ReadMember for T {
    const REQUIRED: bool = true;

    fn read(field: &str, value: Option<Json>) -> Result<Self> {
        T::read(field, value.ok_or_else(|| Error::bad_input(field, "is required"))?)
    }

    fn schema() -> Value {
        T::schema()
    }
}

impl<T: ReadValue> ReadMember for Option<T> {
    const REQUIRED: bool = false;

    fn read(field: &str, value: Option<Json>) -> Result<Self> {
        value.map(|value| T::read(field, value)).transpose()
    }

    fn schema() -> Value {
        schema::or_null(T::schema())
    }
}

/// Defines a struct whose fields are the members of a JSON object. A field that is no `Option` is required.
macro_rules! members {
    ($(#[doc = $doc:literal])+ $(#[derive($derive:ident)])? pub(crate) struct $name:ident {
        $($(#[doc = $description:literal])+ $member:ident: $type:ty,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug)]
        $(#[derive($derive)])?
        pub(crate) struct $name {
            $($(#[doc = $description])+ pub(crate) $member: $type,)+
        }

        impl $name {
            /// The members, in the order in which documents list them.
            pub(crate) const MEMBERS: &'static [$crate::event::Member] = &[
                $($crate::event::Member {
                    name: stringify!($member),
                    description: concat!($($description),+).trim_ascii(),
                    required: <$type as $crate::event::members::ReadMember>::REQUIRED,
                    schema: <$type as $crate::event::members::ReadMember>::schema,
                },)+
            ];

            /// Reads all members. An object that has others is at fault too.
            pub(crate) fn read(
                mut members: $crate::json::Members,
                faults: &mut $crate::error::FaultList,
            ) -> Option<Self> {
                $(let $member = {
                    let value = members.take(stringify!($member));
                    let field = members.field(stringify!($member));
                    faults.keep(<$type as $crate::event::members::ReadMember>::read(&field, value))
                };)+
                members.end(&Self::MEMBERS.iter().map(|member| member.name).collect::<Vec<_>>().join(", "), faults);
                Some(Self { $($member: $member?,)+ })
            }
        }
    };
}

pub(super) use members;

/// The JSON Schema of an object with these members and no others.
pub(super) fn object(members: &[Member]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|member| (member.name.to_owned(), (member.schema)())).collect();
    let required: Vec<&str> =
        members.iter().filter(|member| member.required).map(|member| member.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// A string of 1 to `MAX` characters without control characters.
#[derive(Debug)]
pub(crate) struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// The string.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl<const MAX: usize> ReadValue for Line<MAX> {
    fn read(field: &str, value: Json) -> Result<Self> {
        text(field, value, MAX).map(Self)
    }

    fn schema() -> Value {
        schema::string(MAX, TEXT_PATTERN)
    }
}

/// A version: a whole number that every reader of JSON keeps exactly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version(u64);

impl Version {
    /// The largest: 2^53 - 1, the largest whole number that JavaScript tells from its neighbours.
    const MAX: u64 = (1 << 53) - 1;

    /// The number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl ReadValue for Version {
    fn read(field: &str, value: Json) -> Result<Self> {
        // JSON Schema takes 5.0 for a whole number too.
        let number = match &value {
            Json::Number(number) => number.as_u64().filter(|number| *number <= Self::MAX),
            _ => None,
        };
        number
            .map(Self)
            .ok_or_else(|| Error::bad_input(field, format!("must be a whole number from 0 to {}", Self::MAX)))
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": Self::MAX })
    }
}

macro_rules! read_ids {
    ($($name:ident),+) => {
        $(impl ReadValue for $name {
            fn read(field: &str, value: Json) -> Result<Self> {
                match value {
                    Json::String(text) => Self::parse(field, text),
                    _ => Err(Error::bad_input(field, format!("must be a string of {}", ids::RULE))),
                }
            }

            fn schema() -> Value {
                ids::json_schema()
            }
        })+
    };
}

read_ids!(ActivityId, WorkspaceId, IssueId, ActorId);

impl ReadValue for ActorType {
    fn read(field: &str, value: Json) -> Result<Self> {
        Self::parse(field, &text(field, value, MAX_WORD_LEN)?)
    }

    fn schema() -> Value {
        json!({ "type": "string", "enum": [Self::User, Self::Agent] })
    }
}

impl ReadValue for Audience {
    fn read(field: &str, value: Json) -> Result<Self> {
        Self::parse(field, &text(field, value, MAX_WORD_LEN)?)
    }

    fn schema() -> Value {
        json!({ "type": "string", "enum": [Self::Everyone, Self::Staff] })
    }
}

impl ReadValue for Action {
    fn read(field: &str, value: Json) -> Result<Self> {
        Self::parse(field, text(field, value, MAX_ACTION_LEN)?)
    }

    fn schema() -> Value {
        schema::string(MAX_ACTION_LEN, crate::activity::ACTION_PATTERN)
    }
}

impl ReadValue for Timestamp {
    fn read(field: &str, value: Json) -> Result<Self> {
        Self::parse(field, &text(field, value, MAX_TIME_LEN)?)
    }

    fn schema() -> Value {
        json!({ "type": "string", "format": "date-time", "maxLength": MAX_TIME_LEN })
    }
}

impl ReadValue for Details {
    fn read(field: &str, value: Json) -> Result<Self> {
        match value {
            Json::Object(members) => Self::of(members),
            _ => Err(Error::bad_input(field, "must be an object")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "object" })
    }
}

impl ReadValue for Actor {
    fn read(field: &str, value: Json) -> Result<Self> {
        let mut faults = FaultList::default();
        let actor = Self::read(Members::of(field, value)?, &mut faults);
        faults.finish(actor)
    }

    fn schema() -> Value {
        object(Self::MEMBERS)
    }
}

impl ReadValue for Party {
    fn read(field: &str, value: Json) -> Result<Self> {
        let mut faults = FaultList::default();
        let party = PartyMembers::read(Members::of(field, value)?, &mut faults);
        let PartyMembers { id, name, email } = faults.finish(party)?;
        Ok(Self { id, name: name.map(Line::into_text), email: email.map(Line::into_text) })
    }

    fn schema() -> Value {
        object(PartyMembers::MEMBERS)
    }
}

impl ReadValue for Vec<Tag> {
    fn read(field: &str, value: Json) -> Result<Self> {
        let refused =
            || Error::bad_input(field, format!("must be an array of at most {MAX_TAGS} different ids"));
        let values = match value {
            Json::Array(values) if values.len() <= MAX_TAGS => values,
            _ => return Err(refused()),
        };
        let mut tags = Self::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let Json::String(text) = value else { return Err(refused()) };
            let tag = Tag::parse(&format!("{field}[{index}]"), text)?;
            if tags.contains(&tag) {
                return Err(refused());
            }
            tags.push(tag);
        }
        Ok(tags)
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": ids::json_schema(), "maxItems": MAX_TAGS, "uniqueItems": true })
    }
}
