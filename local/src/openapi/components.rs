//! The schemas that operations refer to.

use domain::activity::Activity;
use http_api::entry::ActivityEntry;
use http_api::problem::Problem;
use record_activity::{BatchResult, KnownAction, RecordedActivity};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::event;
use super::ordered::{Ordered, object};
use super::references::EVENT;

/// The schemas, by their names, and the kind of token.
pub(super) fn components() -> Ordered {
    let mut types = Vec::new();
    add::<Activity>(&mut types);
    add::<ActivityEntry>(&mut types);
    add::<BatchResult>(&mut types);
    add::<KnownAction>(&mut types);
    add::<Problem>(&mut types);
    add::<RecordedActivity>(&mut types);
    let types = types.into_iter().map(|(name, schema)| (name, Ordered::Schema(Box::new(schema))));
    let mut schemas: Vec<(String, Ordered)> = types.chain([(EVENT.to_owned(), event::schema())]).collect();
    schemas.sort_by(|(a, _), (b, _)| a.cmp(b));
    schemas.dedup_by(|(a, _), (b, _)| a == b);
    let bearer = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JSON Web Token of the issuer that the API was deployed with.",
    });
    object([("schemas", Ordered::object(schemas)), ("securitySchemes", object([("bearer", bearer.into())]))])
}

/// Adds the schema of a type, and those that it refers to.
fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into(), T::schema()));
    T::schemas(schemas);
}
