//! Creates the tables that `template.yaml` defines.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::scan::ScanError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType,
};
use yaml_serde::Value;

use crate::engine::error_chain;
use crate::template::Template;

/// Time between two attempts to read a new table.
const READY_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often a new table is read before it counts as broken.
const MAX_READY_POLLS: u32 = 100;

/// Creates the table with this logical id under `name`, unless it exists, and waits until it can be used. Returns whether it
/// created the table.
///
/// `stream` switches on the new table's stream, if the template gives it one. Benchmarks leave it off, because a stream makes
/// every write to the embedded engine dearer.
///
/// # Errors
/// One line, when the endpoint does not answer or the definition is malformed.
pub async fn ensure(
    client: &Client,
    template: &Template,
    logical_id: &str,
    name: &str,
    stream: bool,
) -> Result<bool, String> {
    let definition =
        template.table(logical_id).ok_or_else(|| format!("template.yaml defines no {logical_id}"))?;
    let attributes = items(definition, "AttributeDefinitions").map(|attribute| {
        AttributeDefinition::builder()
            .attribute_name(text(attribute, "AttributeName"))
            .attribute_type(ScalarAttributeType::from(text(attribute, "AttributeType").as_str()))
            .build()
    });
    let indexes: Vec<GlobalSecondaryIndex> =
        items(definition, "GlobalSecondaryIndexes").map(index).collect::<Result<_, String>>()?;
    let request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(
            attributes.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        ))
        .set_key_schema(Some(key_schema(definition)?))
        .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes))
        .set_stream_specification(stream.then(|| stream_specification(template, logical_id)).flatten());
    match request.send().await {
        Ok(_) => wait(client, name).await.map(|()| true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            wait(client, name).await.map(|()| false)
        }
        Err(error) => Err(format!("cannot create the table {name}: {}", error_chain(&error))),
    }
}

/// The stream that the template gives to a table.
pub(crate) fn stream_specification(template: &Template, logical_id: &str) -> Option<StreamSpecification> {
    let view = template.stream_view(logical_id)?;
    let view = StreamViewType::from(view.as_str());
    StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().ok()
}

async fn wait(client: &Client, name: &str) -> Result<(), String> {
    for _ in 0..MAX_READY_POLLS {
        // The embedded engine answers DescribeTable only after it has counted every item.
        match client.scan().table_name(name).limit(1).send().await {
            Ok(_) => return Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(ScanError::is_resource_not_found_exception) => {}
            Err(error) => return Err(format!("cannot read the table {name}: {}", error_chain(&error))),
        }
        tokio::time::sleep(READY_POLL_INTERVAL).await;
    }
    Err(format!("the table {name} is not ready after 10 seconds"))
}

fn index(definition: &Value) -> Result<GlobalSecondaryIndex, String> {
    let projection = definition.get("Projection").map(|projection| text(projection, "ProjectionType"));
    GlobalSecondaryIndex::builder()
        .index_name(text(definition, "IndexName"))
        .set_key_schema(Some(key_schema(definition)?))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::from(projection.unwrap_or_default().as_str()))
                .build(),
        )
        .build()
        .map_err(|error| error.to_string())
}

fn key_schema(definition: &Value) -> Result<Vec<KeySchemaElement>, String> {
    let element = |key| {
        KeySchemaElement::builder()
            .attribute_name(text(key, "AttributeName"))
            .key_type(KeyType::from(text(key, "KeyType").as_str()))
            .build()
            .map_err(|error| error.to_string())
    };
    items(definition, "KeySchema").map(element).collect()
}

fn items<'a>(definition: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    definition.get(name).and_then(Value::as_sequence).into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
