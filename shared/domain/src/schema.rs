//! Building blocks of schemas: JSON Schema for producers, and OpenAPI schemas of types that are parsed from text.

use serde_json::{Value, json};

/// A string of at most `max` characters that matches `pattern`, in JSON Schema.
pub(crate) fn string(max: usize, pattern: &str) -> Value {
    json!({ "type": "string", "maxLength": max, "pattern": pattern })
}

/// The same schema, for a member that may also be null, which counts as absent.
pub(crate) fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([*kind, "null"]);
    }
    if let Some(Value::Array(allowed)) = schema.get_mut("enum") {
        allowed.push(Value::Null);
    }
    schema
}

/// Describes `$name` to the OpenAPI document as a text of this pattern, of 1 to `$max` characters.
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
