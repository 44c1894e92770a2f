//! Items as a DynamoDB stream has them: JSON with the type of each value.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use domain::{Error, Result};

use super::page::{Row, row};
use super::{Item, keys};

/// The activity of a stream record's `NewImage`; `None` when the item is none.
///
/// # Errors
/// [`Error::Internal`] of an image that is not one of ours.
pub fn activity_of(image: &Map<String, Value>) -> Result<Option<Row>> {
    let item: Item = image
        .iter()
        .map(|(name, value)| Some((name.clone(), attribute(value)?)))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::internal("an image that is not of DynamoDB's JSON"))?;
    let text = |name| item.get(name).and_then(|value| value.as_s().ok());
    let is_activity = text(keys::PK).is_some_and(|pk| pk.starts_with("WS#"))
        && text(keys::SK).is_some_and(|sk| sk.starts_with(keys::ACTIVITY_PREFIX));
    is_activity.then(|| row(item)).transpose()
}

/// A value; `None` of a type that no item of ours has.
fn attribute(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "S" => AttributeValue::S(value.as_str()?.to_owned()),
        "N" => AttributeValue::N(value.as_str()?.to_owned()),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(value.as_str()?).ok()?)),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array()?.iter().map(attribute).collect::<Option<_>>()?),
        "M" => {
            let members = value.as_object()?.iter();
            let members = members.map(|(name, value)| Some((name.clone(), attribute(value)?)));
            AttributeValue::M(members.collect::<Option<HashMap<_, _>>>()?)
        }
        _ => return None,
    })
}
