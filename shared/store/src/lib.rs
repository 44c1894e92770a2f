//! The only place that knows DynamoDB. Its methods are named after what they are for, and say in their
//! comments what holds under concurrency.

mod client;
mod counters;
mod directory;
mod image;
mod item;
mod live;
mod page;
mod verify;
mod write;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

pub use client::{config, connect, https};
pub use counters::{Days, Slots, Tally};
pub use image::activity_of;
pub use live::{Batch as JournalBatch, Connections, Ended, Entry, Head, Standing, Turn, new_mark};
pub use page::{Chunk, Residual, Row, Source, Span};
pub use verify::{Fault, Report, Wrong};
pub use write::{Batch, Outcome, StoredId, TRANSACTION_ITEMS};

use crate::{Error, Result, keys};

/// A stored item.
pub type Item = HashMap<String, AttributeValue>;

/// The `log` table.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// The table called `table`, reached through `client`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Opens the two connections that a page takes, as it reads two things at once, so that the first request does
    /// not wait for TLS. What this reads does not exist.
    ///
    /// # Errors
    /// As any read; a caller that is only starting may go on regardless.
    pub async fn warm_up(&self) -> Result<()> {
        let nothing = key(("WARM".into(), "UP".into()));
        let read = self.client.get_item().table_name(&self.table).set_key(Some(nothing));
        tokio::try_join!(read.clone().send(), read.send()).map_err(failed)?;
        Ok(())
    }

    /// The item of a key, strongly consistent.
    async fn item(&self, at: (String, String)) -> Result<Option<Item>> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(at)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        Ok(get.send().await.map_err(failed)?.item)
    }

    /// The items of a partition whose sort keys start with `prefix`, or the first `most` of them and perhaps some more.
    /// Strongly consistent; a request for each 1 MB.
    async fn partition(&self, partition: String, prefix: &str, most: Option<usize>) -> Result<Vec<Item>> {
        let limit = most.and_then(|most| i32::try_from(most).ok());
        // Of an empty text DynamoDB does not take begins_with; everything sorts after a space.
        let (condition, sk) =
            if prefix.is_empty() { ("#sk > :sk", " ") } else { ("begins_with(#sk, :sk)", prefix) };
        let pages = self.of_partition(partition, condition, sk).set_limit(limit);
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let page = pages.clone().set_exclusive_start_key(start).send().await.map_err(failed)?;
            items.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key;
            if start.is_none() || most.is_some_and(|most| items.len() >= most) {
                return Ok(items);
            }
        }
    }

    /// A strongly consistent Query of the items of a partition whose sort keys, `#sk`, are to `sk`, `:sk`, as `condition`
    /// says.
    fn of_partition(&self, partition: String, condition: &str, sk: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .key_condition_expression(format!("#pk = :pk AND {condition}"))
            .expression_attribute_names("#pk", keys::PK)
            .expression_attribute_names("#sk", keys::SK)
            .expression_attribute_values(":pk", string(partition))
            .expression_attribute_values(":sk", string(sk))
    }
}

fn string(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn key((pk, sk): (String, String)) -> Item {
    HashMap::from([(keys::PK.into(), string(pk)), (keys::SK.into(), string(sk))])
}

/// Sorts a failed request by what its caller can do about it.
fn failed<E>(error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    const THROTTLES: &[&str] =
        &["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"];
    let code = error.code().unwrap_or_default().to_owned();
    let ours = match &error {
        SdkError::ServiceError(service) => service.raw().status().as_u16() < 500,
        SdkError::ConstructionFailure(_) => true,
        // A timeout, a connection lost, an answer cut short.
        _ => false,
    };
    let source = Box::new(error);
    match code.as_str() {
        code if THROTTLES.contains(&code) => Error::Throttled(source),
        "TransactionInProgressException" => Error::Unavailable(source),
        _ if ours => Error::Internal(source),
        _ => Error::Unavailable(source),
    }
}
