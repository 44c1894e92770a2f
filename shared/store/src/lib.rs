//! The tables. This is the only crate that sees the DynamoDB SDK, spells a key or names an index.
//!
//! Methods are named after access patterns, and their comments say what holds under concurrency.

pub mod backoff;
mod client;
mod connections;
mod counters;
mod directory;
mod item;
mod keys;
mod page;
pub mod parallel;
mod stream_image;
mod verify;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use chrono::TimeDelta;
use domain::directory::DEFAULT_TOLERANCE;
use domain::{Error, Result};

pub use client::{config, connect, endpoint_url, https};
pub use connections::{
    Bound, CheckedPermits, ConnectionState, Connections, Handover, JournalBatch, JournalEntry, JournalHead,
    PageStart, SubscribeError, new_nonce,
};
pub use counters::{Days, Slots, Tally};
pub use keys::{
    COUNTER_SHARDS, Index, OrgPartition, bound as cursor_text, is_permanent, parse_bound as parse_cursor_text,
};
pub use page::{Chunk, Continuation, Partition, Residual, Row, Source, Span};
pub use stream_image::activity_of;
pub use verify::{Fault, Report, Wrong};
pub use write::{PreparedEvent, StoredId, TRANSACTION_ITEMS, Transaction, TransactionOutcome};

use backoff::Jitter;

/// A stored item.
type Item = HashMap<String, AttributeValue>;

/// The `log` table.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
    jitter: Arc<Jitter>,
    tolerance: TimeDelta,
}

impl Store {
    /// The table called `table`, reached through `client`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), jitter: Arc::default(), tolerance: DEFAULT_TOLERANCE }
    }

    /// The same table, with pauses between attempts that `rng` decides.
    #[must_use]
    pub fn with_jitter(self, rng: fastrand::Rng) -> Self {
        Self { jitter: Arc::new(Jitter::new(rng)), ..self }
    }

    /// The same table, where changes of the directory within `tolerance` have no order, and the more restrictive one
    /// holds. All readers and recorders of a table need the same.
    #[must_use]
    pub fn with_tolerance(self, tolerance: TimeDelta) -> Self {
        Self { tolerance, ..self }
    }

    /// The tolerance within which changes of the directory have no order.
    pub fn tolerance(&self) -> TimeDelta {
        self.tolerance
    }

    /// The source of its pauses between attempts.
    pub fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// Opens the two connections that a page needs, because it reads two things at once, so that the first request does
    /// not wait for TLS. The item that this reads does not exist.
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
    async fn item(&self, at: keys::ItemKey) -> Result<Option<Item>> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(at)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        Ok(get.send().await.map_err(failed)?.item)
    }

    /// The items of a partition whose sort keys start with `prefix`, or, with `limit`, its first ones: at least that many
    /// if there are. Strongly consistent; a request for each 1 MB.
    async fn partition(&self, partition: String, prefix: &str, limit: Option<usize>) -> Result<Vec<Item>> {
        let page_limit = limit.and_then(|limit| i32::try_from(limit).ok());
        // DynamoDB refuses begins_with an empty text. Every sort key sorts after a space.
        let (condition, sk) =
            if prefix.is_empty() { ("#sk > :sk", " ") } else { ("begins_with(#sk, :sk)", prefix) };
        let pages = self.query_partition(partition, condition, sk).set_limit(page_limit);
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let page = pages.clone().set_exclusive_start_key(start).send().await.map_err(failed)?;
            items.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key;
            if start.is_none() || limit.is_some_and(|limit| items.len() >= limit) {
                return Ok(items);
            }
        }
    }

    /// A strongly consistent Query of a partition, whose `condition` compares the sort key `#sk` with `sk`, `:sk`.
    fn query_partition(&self, partition: String, condition: &str, sk: &str) -> QueryFluentBuilder {
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

fn key((pk, sk): keys::ItemKey) -> Item {
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
        // A timeout, a lost connection, a truncated answer.
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
