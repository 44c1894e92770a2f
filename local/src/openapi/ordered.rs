//! JSON whose objects keep the order of their members, because people read the document.

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

/// A JSON value.
#[derive(Clone)]
pub(super) enum Ordered {
    /// A value whose objects are in the order that `serde_json` has.
    Value(Value),
    /// The schema of a type, in the order of its fields.
    Schema(Box<RefOr<Schema>>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Ordered {
    /// An object with these members.
    pub(super) fn object<N: Into<String>>(members: impl IntoIterator<Item = (N, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// An object with these members.
pub(super) fn object<const N: usize>(members: [(&str, Ordered); N]) -> Ordered {
    Ordered::object(members)
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Schema(schema) => schema.serialize(serializer),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl From<Value> for Ordered {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<&str> for Ordered {
    fn from(text: &str) -> Self {
        Self::Value(text.into())
    }
}

impl From<String> for Ordered {
    fn from(text: String) -> Self {
        Self::Value(text.into())
    }
}
