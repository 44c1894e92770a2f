//! Filters of feeds, and their order.
//!
//! A filter is one row of the table below. Query parameters, the conditions in DynamoDB, cursors and in-memory checks
//! all walk the table.

use serde::Serialize;

use crate::activity::{Action, Activity, ActorType};
use crate::ids::{ActorId, Tag};
use crate::{Result, catalog};

/// The order of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Ordered by instant; then by id, then by workspace.
    Time,
    /// Ordered by category, alphabetically; then as by time. Within the category OTHER, actions come first.
    Category,
}

/// The direction of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Descending,
    /// Oldest first.
    Ascending,
}

impl Order {
    /// The opposite direction.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Descending => Self::Ascending,
            Self::Ascending => Self::Descending,
        }
    }

    /// Whether `a` comes before `b` in this direction.
    pub fn is_before<T: Ord>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Ascending => a < b,
            Self::Descending => a > b,
        }
    }
}

/// How an activity is held against the values of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// The attribute of this name has the value.
    Equals(&'static str),
    /// The attribute of this name is a list that contains the value.
    Contains(&'static str),
    /// The activity was recorded in the category.
    Category,
}

macro_rules! filters {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident / $kind:ident: $type:ty, $matching:expr, $parse:expr, $text:expr, $has:expr;
    )+) => {
        /// The filters of a feed. An empty list shows everything; any value of a longer list may match.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct Filter {
            $($(#[doc = $doc])+ pub $field: Vec<$type>,)+
        }

        /// One filter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FilterKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl FilterKind {
            /// All filters.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// How activities are held against its values.
            pub fn matching(self) -> Matching {
                match self { $(Self::$kind => $matching,)+ }
            }
        }

        impl Filter {
            /// Adds values, given as text. The values of a filter are sorted, each once, because "any of" has no order.
            ///
            /// # Errors
            /// [`crate::Error::BadInput`] of `field` when a text is no value of the filter.
            pub fn add<'a>(
                &mut self,
                kind: FilterKind,
                field: &str,
                values: impl IntoIterator<Item = &'a str>,
            ) -> Result<()> {
                match kind {
                    $(FilterKind::$kind => {
                        let parse: fn(&str, &str) -> Result<$type> = $parse;
                        for text in values {
                            self.$field.push(parse(field, text)?);
                        }
                        self.$field.sort_unstable();
                        self.$field.dedup();
                    })+
                }
                Ok(())
            }

            /// The values of one filter, as text.
            pub fn values(&self, kind: FilterKind) -> Vec<&str> {
                match kind {
                    $(FilterKind::$kind => {
                        let text: for<'a> fn(&'a $type) -> &'a str = $text;
                        self.$field.iter().map(text).collect()
                    })+
                }
            }

            /// Whether one filter shows an activity.
            pub fn shows(&self, kind: FilterKind, activity: &Activity) -> bool {
                match kind {
                    $(FilterKind::$kind => {
                        let has: fn(&Activity, &$type) -> bool = $has;
                        self.$field.is_empty() || self.$field.iter().any(|value| has(activity, value))
                    })+
                }
            }
        }
    };
}

filters! {
    /// Only acts of this kind of actor.
    actor_types / ActorType: ActorType, Matching::Equals("actor_type"), ActorType::parse, |kind| kind.as_str(),
        |activity, kind| activity.actor_type == *kind;
    /// Only acts of any of these actors.
    actors / Actor: ActorId, Matching::Equals("actor_id"), |field, text| ActorId::parse(field, text), ActorId::as_str,
        |activity, actor| activity.actor_id == *actor;
    /// Only any of these actions.
    actions / Action: Action, Matching::Equals("action"), |field, text| Action::parse(field, text), Action::as_str,
        |activity, action| activity.action == *action;
    /// Only any of these categories.
    categories / Category: &'static str, Matching::Category, catalog::parse_category, |category| category,
        |activity, category| activity.category == *category;
    /// Only activities with any of these tags.
    tags / Tag: Tag, Matching::Contains("tags"), |field, text| Tag::parse(field, text), Tag::as_str,
        |activity, tag| activity.tags.contains(tag);
}

impl Filter {
    /// Whether nothing is filtered out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
