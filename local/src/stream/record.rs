//! Stream records in the form in which Lambda hands them to functions.

use std::collections::HashMap;

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::resource_names::{REGION, arn};

/// A record as a member of an event's `Records`.
pub(super) fn event_record(record: &Record) -> Value {
    let change = record.dynamodb.as_ref();
    let image = |image: Option<&HashMap<String, AttributeValue>>| {
        let members = image?.iter().map(|(name, value)| (name.clone(), attribute(value)));
        Some(Value::Object(members.collect()))
    };
    let mut data = Map::new();
    let keys = change.and_then(|change| image(change.keys.as_ref()));
    let new = change.and_then(|change| image(change.new_image.as_ref()));
    data.extend(keys.map(|keys| ("Keys".to_owned(), keys)));
    data.extend(new.map(|new| ("NewImage".to_owned(), new)));
    let number = change.and_then(|change| change.sequence_number.clone());
    data.extend(number.map(|number| ("SequenceNumber".to_owned(), number.into())));
    data.insert("StreamViewType".to_owned(), "NEW_IMAGE".into());
    json!({
        "eventID": record.event_id,
        "eventName": record.event_name.as_ref().map(|name| name.as_str()),
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": arn("dynamodb", "table/log/stream"),
        "awsRegion": REGION,
        "dynamodb": data,
    })
}

/// The sequence number of a record.
pub(crate) fn sequence_number(record: &Value) -> Option<&str> {
    record["dynamodb"]["SequenceNumber"].as_str()
}

/// A value in DynamoDB's JSON, for the types that our items have.
fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::L(items) => json!({ "L": items.iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), attribute(value)));
            json!({ "M": members.collect::<Map<_, _>>() })
        }
        _ => json!({ "NULL": true }),
    }
}
