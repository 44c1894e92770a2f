//! What parsing allows, said as schemas: JSON Schema for producers, and, for the OpenAPI document, the schemas of
//! texts that are parsed into types of their own.

use serde_json::{Value, json};

use crate::ids::{self, MAX_ID_LEN};
use crate::json::TEXT_PATTERN;

/// An id, in JSON Schema.
pub(crate) fn id() -> Value {
    json!({ "type": "string", "maxLength": MAX_ID_LEN, "pattern": ids::PATTERN })
}

/// A string as [`crate::json::Members::text`] takes it, in JSON Schema.
pub(crate) fn line(max: usize) -> Value {
    json!({ "type": "string", "maxLength": max, "pattern": TEXT_PATTERN })
}

/// The same schema for a member that may be null, which counts as absent.
pub(crate) fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([*kind, "null"]);
    }
    if let Some(Value::Array(allowed)) = schema.get_mut("enum") {
        allowed.push(Value::Null);
    }
    schema
}

/// Says in the document that `$name` is a text of this pattern, of 1 to `$max` characters.
#[cfg(feature = "openapi")]
macro_rules! text {
    ($name:ident, $description:literal, $pattern:expr, $max:expr) => {
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some($description.trim()))
                    .pattern(Some($pattern))
                    .min_length(Some(1))
                    .max_length(Some($max))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

#[cfg(feature = "openapi")]
pub(crate) use text;
