//! The table of a list's parameters.

use std::ops::RangeInclusive;

use domain::activity::{ACTION_PATTERN, ActorType, MAX_ACTION_LEN};
use domain::filter::{FilterKind, Order};
use domain::ids::{MAX_ID_LEN, PATTERN};
use serde_json::{Value, json};

use super::{DEFAULT_LIMIT, MAX_LIMIT, MAX_VALUES};

/// A query parameter of a list.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its effect, as Markdown.
    pub description: &'static str,
    pub(super) kind: Kind,
}

/// The part of the query that a parameter sets.
#[derive(Debug)]
pub(super) enum Kind {
    /// The most entries of a page.
    Limit(RangeInclusive<u64>),
    /// The number of entries to skip.
    Offset(RangeInclusive<u64>),
    /// Where the page begins.
    Cursor,
    /// The direction, by its names.
    Order(&'static [(&'static str, Order)]),
    /// The earliest time.
    Since,
    /// The time before which entries lie.
    Until,
    /// Names of further members to answer, any of which may be given.
    Include(&'static [(&'static str, Include)]),
    /// The values of a filter, with their JSON Schema.
    Filter(FilterKind, Values, fn() -> Value),
}

/// Something that an answer has only if it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    /// The number of all entries.
    Total,
    /// When and by whom each entry was recorded.
    Provenance,
}

/// How many values of a filter a request may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    One,
    /// Several, up to [`MAX_VALUES`], any of which may match.
    AnyOf,
}

pub(super) const OFFSET: &str = "offset";
pub(super) const CURSOR: &str = "cursor";
pub(super) const INCLUDE: &str = "include";
/// The value of [`INCLUDE`] that asks for provenance.
pub(super) const PROVENANCE: &str = "provenance";

/// The parameters of a list, each defined here alone. [`super::Params`] reads them, and the OpenAPI document lists
/// them, both in this order.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::new("limit", "Entries of a page.", Kind::Limit(1..=MAX_LIMIT as u64)),
    Parameter::new(
        OFFSET,
        "Entries to skip; not together with `cursor`. As fast at any depth in a workspace's feed without filters.",
        Kind::Offset(0..=u64::MAX),
    ),
    Parameter::new(CURSOR, "Where the page begins: as the `Link` of the page before has it.", Kind::Cursor),
    Parameter::new(
        "order",
        "Newest first, or oldest first.",
        Kind::Order(&[("desc", Order::Descending), ("asc", Order::Ascending)]),
    ),
    Parameter::new(
        "actor_type",
        "Acts of persons only, or of agents only.",
        Kind::Filter(FilterKind::ActorType, Values::One, actor_type),
    ),
    Parameter::new(
        "actor_id",
        "Acts of any of these only.",
        Kind::Filter(FilterKind::Actor, Values::AnyOf, id),
    ),
    Parameter::new(
        "action",
        "Any of these actions only.",
        Kind::Filter(FilterKind::Action, Values::AnyOf, action),
    ),
    Parameter::new("tag", "With any of these tags only.", Kind::Filter(FilterKind::Tag, Values::AnyOf, id)),
    Parameter::new("since", "Not before this time, in ISO 8601; without an offset it is UTC.", Kind::Since),
    Parameter::new("until", "Before this time.", Kind::Until),
    Parameter::new(
        INCLUDE,
        "`total` counts the entries into `X-Total-Count`. `provenance` adds when and by whom each entry was recorded, for \
         owners, admins and tokens with `activity:read`.",
        Kind::Include(&[("total", Include::Total), (PROVENANCE, Include::Provenance)]),
    ),
];

impl Parameter {
    const fn new(name: &'static str, description: &'static str, kind: Kind) -> Self {
        Self { name, description, kind }
    }

    /// Its JSON Schema.
    pub fn schema(&self) -> Value {
        match &self.kind {
            Kind::Limit(range) => json!({
                "type": "integer", "format": "int32", "minimum": range.start(), "maximum": range.end(),
                "default": DEFAULT_LIMIT,
            }),
            // The maximum is that of the format.
            Kind::Offset(range) => {
                json!({ "type": "integer", "format": "int64", "minimum": range.start(), "default": 0 })
            }
            Kind::Cursor => json!({ "type": "string" }),
            Kind::Order(choices) => {
                json!({ "type": "string", "enum": names(choices), "default": names(choices)[0] })
            }
            Kind::Since | Kind::Until => json!({ "type": "string", "format": "date-time" }),
            Kind::Include(choices) => {
                json!({ "type": "array", "items": { "type": "string", "enum": names(choices) } })
            }
            Kind::Filter(_, Values::One, value) => value(),
            Kind::Filter(_, Values::AnyOf, value) => {
                json!({ "type": "array", "items": value(), "maxItems": MAX_VALUES })
            }
        }
    }
}

pub(super) fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

fn actor_type() -> Value {
    json!({ "type": "string", "enum": [ActorType::User, ActorType::Agent] })
}

fn id() -> Value {
    json!({ "type": "string", "pattern": PATTERN, "minLength": 1, "maxLength": MAX_ID_LEN })
}

fn action() -> Value {
    json!({ "type": "string", "pattern": ACTION_PATTERN, "minLength": 1, "maxLength": MAX_ACTION_LEN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_has_one_parameter() {
        for kind in FilterKind::ALL {
            let has_it = |parameter: &&Parameter| matches!(&parameter.kind, Kind::Filter(filter, ..) if filter == kind);
            // REST filters by actions; categories are GraphQL's names for them.
            let expected = usize::from(*kind != FilterKind::Category);
            assert_eq!(PARAMETERS.iter().filter(has_it).count(), expected, "{kind:?}");
        }
    }

    #[test]
    fn schemas_state_the_limits() {
        let schema = |name| PARAMETERS.iter().find(|parameter| parameter.name == name).unwrap().schema();
        assert_eq!((&schema("limit")["maximum"], &schema("limit")["default"]), (&json!(200), &json!(50)));
        assert_eq!(schema("order"), json!({ "type": "string", "enum": ["desc", "asc"], "default": "desc" }));
        assert_eq!(schema("actor_type"), json!({ "type": "string", "enum": ["user", "agent"] }));
        assert_eq!(schema("tag")["maxItems"], json!(20));
    }
}
