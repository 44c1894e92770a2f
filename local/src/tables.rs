//! Makes the tables that `template.yaml` defines.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::scan::ScanError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType,
};
use yaml_serde::Value;

use crate::template::Template;

/// Makes the table with this logical id under `name`, unless it is there, and waits until it can be used. Says
/// whether it made it.
///
/// Of a table that is made, `stream` switches on the stream that the template gives it, if it gives it one: no DynamoDB
/// asks for more, but here it makes every write dearer, so that measuring is done without.
///
/// # Errors
/// One line: an endpoint that does not answer, or a definition that is not understood.
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
        .set_stream_specification(stream.then(|| stream_of(template, logical_id)).flatten());
    match request.send().await {
        Ok(_) => wait(client, name).await.map(|()| true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            wait(client, name).await.map(|()| false)
        }
        Err(error) => Err(format!("cannot make the table {name}: {}", cause(&error))),
    }
}

/// The stream that the template gives a table.
pub(crate) fn stream_of(template: &Template, logical_id: &str) -> Option<StreamSpecification> {
    let view = template.stream_view(logical_id)?;
    let view = StreamViewType::from(view.as_str());
    StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().ok()
}

async fn wait(client: &Client, name: &str) -> Result<(), String> {
    for _ in 0..100 {
        // Not DescribeTable: the embedded engine counts every item for it, which at a million takes too long.
        match client.scan().table_name(name).limit(1).send().await {
            Ok(_) => return Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(ScanError::is_resource_not_found_exception) => {}
            Err(error) => return Err(format!("cannot read the table {name}: {}", cause(&error))),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
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

/// The error with all its causes, in one line; the SDK's own display adds all it knows of the request.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
