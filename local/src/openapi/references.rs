//! References to the schemas of components.

use serde_json::json;
use utoipa::ToSchema;

use super::ordered::{Ordered, object};

/// The name of the event's schema.
pub(super) const EVENT: &str = "Event";

/// A reference to the schema with this name.
pub(super) fn reference(name: &str) -> Ordered {
    json!({ "$ref": format!("#/components/schemas/{name}") }).into()
}

/// A reference to the schema of a type.
pub(super) fn reference_to<T: ToSchema>() -> Ordered {
    reference(&T::name())
}

/// An array of values that have a schema.
pub(super) fn array_of(items: Ordered) -> Ordered {
    object([("type", "array".into()), ("items", items)])
}
