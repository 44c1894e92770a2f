//! The `connections` table: sessions, their subscriptions, and the journals of subscribed topics.
//!
//! A new subscription and a batch share no transaction, because many subscriptions that begin at once would conflict at
//! their topic's head. Updates stay complete and in order all the same. The broadcast lists a batch in the journal before
//! it reads the subscriptions, and flags the batch as missed with each that still replays the journal. The replay hands a
//! subscription over to the broadcast only when it has read every batch that was flagged.

mod journal;
mod permits;

pub use journal::{JournalBatch, JournalEntry, JournalHead};
pub use permits::{Bound, CheckedPermits};

use std::collections::BTreeMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use domain::grants::Grants;
use domain::subscription::{
    CONNECTION_SECONDS, ConnectionId, Document, Session, Subscription, SubscriptionBounds, Topic,
};
use domain::{Error, Result};

use super::item::{optional, text};
use super::keys::connections as keys;
use super::keys::{ItemKey, SK};
use super::parallel::try_all;
use super::{Item, Store, failed, key, string};

/// Time-to-live attribute of every item. DynamoDB deletes late, so code checks it wherever it matters.
const EXPIRES: &str = "expires_at";
/// Attribute of a subscriber: [`Subscription::since`].
const SINCE: &str = "since";
/// Attribute of a subscriber: the last batch that a broadcast flagged as missed.
const MISSED: &str = "missed";
/// Attribute of a session: why its token was refused.
const REFUSED: &str = "refused";
/// Attribute of a subscriber: [`Subscription::began`].
const BEGAN: &str = "began";
/// Attribute of a session, a subscription and a subscriber: the nonce that tells it apart from others of the same key.
const NONCE: &str = "mark";
/// Attribute of a subscription: its topic. A subscription that was completed before it began has none.
const TOPIC: &str = "topic";

/// How long the table remembers that a subscription was completed before it began, in seconds. API Gateway handles the
/// messages of a connection at the same time, each within 29 s.
const COMPLETED_SECONDS: i64 = 30;
/// Requests in flight for one connection, or one topic.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// The most subscriptions that a page has of each shard. Each takes up to 9 KB.
const MAX_PAGE_OF_SHARD: i32 = 25;

/// The `connections` table.
#[derive(Debug, Clone)]
pub struct Connections(Store, SubscriptionBounds);

/// A connection's session and its subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionState {
    /// The session, or why its token was refused.
    pub session: Result<Session, String>,
    /// The nonces of its subscriptions, by their ids.
    pub subscriptions: BTreeMap<String, String>,
}

/// Where a page of a topic's subscriptions begins: the shards that have more, and their last keys.
#[derive(Debug, Clone)]
pub struct PageStart(Vec<(u64, Option<Item>)>);

impl Default for PageStart {
    /// The first page.
    fn default() -> Self {
        Self((0..keys::SUBSCRIBER_SHARDS).map(|shard| (shard, None)).collect())
    }
}

/// The result of handing a subscription over from its replay to the broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// The broadcast delivers to it from now on.
    Done,
    /// The journal has more to replay.
    Missed,
    /// The subscription has ended.
    Ended,
}

/// Why a subscription did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeError {
    /// The connection is gone, or the client completed the subscription before it began.
    Ended,
    /// The connection has another with the same id.
    IdTaken,
    /// There are as many others as there may be.
    TooMany(Bound),
}

impl Connections {
    /// The table called `table`, reached as `store` is.
    pub fn beside(store: &Store, table: impl Into<String>) -> Self {
        Self(Store::new(store.client.clone(), table), SubscriptionBounds::default())
    }

    /// The table with other bounds.
    pub fn with_bounds(self, bounds: SubscriptionBounds) -> Self {
        Self(self.0, bounds)
    }

    /// The bounds of subscriptions.
    pub fn bounds(&self) -> SubscriptionBounds {
        self.1
    }

    /// Begins a session at `now`, in seconds since 1970, or stores why its token was refused; false when the connection
    /// already has one of both.
    pub async fn begin_session(
        &self,
        connection: &ConnectionId,
        session: Result<&Session, &str>,
        now: i64,
    ) -> Result<bool> {
        let mut item = Item::new();
        match session {
            Ok(session) => item.extend(encode_session(session)),
            Err(reason) => drop(item.insert(REFUSED.into(), string(reason))),
        }
        item.insert(EXPIRES.into(), number(now + CONNECTION_SECONDS));
        self.put_new(keys::session(connection), item, &new_nonce(), Unless::Exists).await
    }

    /// The state of a connection; `None` when its session has not begun, or is over.
    pub async fn state(&self, connection: &ConnectionId, now: i64) -> Result<Option<ConnectionState>> {
        let items = self.0.partition(keys::connection(connection), "S", None).await?;
        let (mut session, mut subscriptions) = (None, BTreeMap::new());
        for mut item in items.into_iter().filter(|item| !is_expired(item, now)) {
            let sk = text(&mut item, SK)?;
            match (sk.strip_prefix(keys::SUBSCRIPTION_PREFIX), optional(&mut item, REFUSED)?) {
                (Some(id), _) if item.contains_key(TOPIC) => {
                    subscriptions.insert(id.to_owned(), text(&mut item, NONCE)?);
                }
                (Some(_), _) => {}
                (None, Some(reason)) => session = Some(Err(reason)),
                (None, None) => session = Some(Ok(decode_session(&mut item)?)),
            }
        }
        Ok(session.map(|session| ConnectionState { session, subscriptions }))
    }

    /// Begins a subscription, which still has to replay the journal. When another process forgets the connection or
    /// completes the subscription meanwhile, nothing is left of it.
    pub async fn subscribe(&self, new: &Subscription) -> Result<Result<(), SubscribeError>> {
        let (at, now) = (keys::subscription(&new.connection, &new.id), new.began);
        let expires = number(now + CONNECTION_SECONDS);
        let permits = match self.take_permits(new).await? {
            Ok(permits) => permits,
            Err(bound) => return Ok(Err(SubscribeError::TooMany(bound))),
        };
        let mut subscription = permits.attributes(&new.session.sub);
        subscription.insert(TOPIC.into(), string(keys::topic_name(&new.topic)));
        subscription.insert(EXPIRES.into(), expires.clone());
        if !self.put_new(at.clone(), subscription.clone(), &new.nonce, Unless::Unexpired(now)).await? {
            self.give_back(&mut subscription, Some(&new.nonce)).await?;
            if self.0.item(at.clone()).await?.is_some_and(|item| item.contains_key(TOPIC)) {
                return Ok(Err(SubscribeError::IdTaken));
            }
            // The client completed this id before. It may use the id again, so once is enough.
            self.delete(at, None).await?;
            return Ok(Err(SubscribeError::Ended));
        }
        let mut item = encode_session(&new.session).collect::<Item>();
        item.insert("document".into(), string(&new.document.query));
        item.insert("variables".into(), string(&new.document.variables));
        if let Some(operation) = &new.document.operation {
            item.insert("operation".into(), string(operation));
        }
        item.insert(BEGAN.into(), number(now));
        item.insert(EXPIRES.into(), expires);
        // An older subscription with this id, slow to begin or to end, keeps its own item.
        let is_put = self.put_new(subscriber(new), item, &new.nonce, Unless::Exists).await?;
        // A process that forgets a connection deletes the session first, and then what it finds. Either it finds this
        // subscription, or this process sees that the session is gone. Subscriptions that begin at once see each other.
        let state = self.state(&new.connection, now).await?;
        let subscriptions = state.map(|state| state.subscriptions).unwrap_or_default();
        let is_there = subscriptions.get(&new.id).is_some_and(|nonce| *nonce == new.nonce);
        if is_put && is_there && subscriptions.len() as u64 <= self.1.connection {
            return Ok(Ok(()));
        }
        self.end(new).await?;
        let too_many = SubscribeError::TooMany(Bound::Connection);
        Ok(Err(if is_put && is_there { too_many } else { SubscribeError::Ended }))
    }

    /// Lets the broadcast deliver to a subscription everything that follows batch `replayed` of the journal.
    pub async fn hand_over(&self, subscription: &Subscription, replayed: u64) -> Result<Handover> {
        let condition = "attribute_not_exists(#missed) OR #missed <= :batch";
        if self.set_batch(subscription, (SINCE, replayed), condition, &[("#missed", MISSED)]).await? {
            return Ok(Handover::Done);
        }
        let found = self.0.item(subscriber(subscription)).await?;
        let is_there = found.is_some_and(|item| has_nonce(&item, &subscription.nonce));
        Ok(if is_there { Handover::Missed } else { Handover::Ended })
    }

    /// Flags a batch as missed with a subscription that was still replaying. When it was handed over meanwhile, returns
    /// the batch up to which it replayed.
    pub async fn flag_missed(&self, subscription: &Subscription, batch: u64) -> Result<Option<u64>> {
        let condition =
            "attribute_not_exists(#since) AND (attribute_not_exists(#missed) OR #missed < :batch)";
        let names = [("#missed", MISSED), ("#since", SINCE)];
        if self.set_batch(subscription, (MISSED, batch), condition, &names).await? {
            return Ok(None);
        }
        let found = self.0.item(subscriber(subscription)).await?;
        let found = found.filter(|item| has_nonce(item, &subscription.nonce));
        Ok(found.and_then(|item| integer(&item, SINCE)))
    }

    /// A page of the subscriptions to a topic, at most 100, and where the next one begins; `None` after the last.
    pub async fn subscriptions(
        &self,
        topic: &Topic,
        start: PageStart,
        now: i64,
    ) -> Result<(Vec<Subscription>, Option<PageStart>)> {
        let pages = start.0.into_iter().map(|(shard, key)| async move {
            let query = self.0.query_partition(keys::subscribers(topic, shard), "#sk > :sk", " ");
            let query = query.limit(MAX_PAGE_OF_SHARD).set_exclusive_start_key(key);
            let page = query.send().await.map_err(failed)?;
            Ok((shard, page.items.unwrap_or_default(), page.last_evaluated_key))
        });
        let (mut found, mut next) = (Vec::new(), Vec::new());
        for (shard, items, last) in try_all(MAX_CONCURRENT_REQUESTS, pages.collect()).await? {
            next.extend(last.map(|last| (shard, Some(last))));
            found.extend(items.into_iter().filter(|item| !is_expired(item, now)).filter_map(|item| {
                // An item that another version of this program wrote must not keep updates from the other subscribers.
                let decoded = decode(topic, item);
                decoded
                    .inspect_err(|error| tracing::error!(error = error.chain(), "skipped subscription"))
                    .ok()
            }));
        }
        Ok((found, (!next.is_empty()).then_some(PageStart(next))))
    }

    /// Ends a subscription that began, but not another with its id.
    pub async fn end(&self, subscription: &Subscription) -> Result<()> {
        let Subscription { connection, id, nonce, .. } = subscription;
        let found = self.0.item(keys::subscription(connection, id)).await?;
        match found.filter(|item| has_nonce(item, nonce)) {
            Some(item) => self.remove(connection, id, item).await,
            None => self.delete(subscriber(subscription), Some(nonce)).await,
        }
    }

    /// Ends a subscription that its client completed. That message may overtake the one that subscribes, so the table
    /// remembers it for a while if the client has a session.
    pub async fn complete(&self, connection: &ConnectionId, id: &str, now: i64) -> Result<()> {
        let at = keys::subscription(connection, id);
        let has_begun = |item: &Item| item.contains_key(TOPIC);
        if let Some(item) = self.0.item(at.clone()).await?.filter(has_begun) {
            return self.remove(connection, id, item).await;
        }
        let session = self.0.item(keys::session(connection)).await?;
        if session.is_none_or(|session| session.contains_key(REFUSED)) {
            return Ok(());
        }
        let completed = Item::from([(EXPIRES.into(), number(now + COMPLETED_SECONDS))]);
        if !self.put_new(at.clone(), completed, &new_nonce(), Unless::Begun).await?
            && let Some(item) = self.0.item(at).await?.filter(has_begun)
        {
            self.remove(connection, id, item).await?;
        }
        Ok(())
    }

    /// Whether a connection has a session, or a reason why its token was refused.
    pub async fn has_session(&self, connection: &ConnectionId) -> Result<bool> {
        Ok(self.0.item(keys::session(connection)).await?.is_some())
    }

    /// Deletes a connection's session and all its subscriptions.
    pub async fn forget(&self, connection: &ConnectionId) -> Result<()> {
        self.delete(keys::session(connection), None).await?;
        let found = self.0.partition(keys::connection(connection), keys::SUBSCRIPTION_PREFIX, None).await?;
        // Subscriptions that never began expire soon.
        let found = found.into_iter().filter(|item| item.contains_key(TOPIC));
        let removals = found.map(|mut item| async {
            let sk = text(&mut item, SK)?;
            self.remove(connection, sk.strip_prefix(keys::SUBSCRIPTION_PREFIX).unwrap_or_default(), item)
                .await
        });
        try_all(MAX_CONCURRENT_REQUESTS, removals.collect()).await.map(drop)
    }

    /// Deletes a subscription: first the subscriber, so that none is left without a subscription or permits; and last the
    /// item that lists the permits, so that another process finds them if this one dies.
    async fn remove(&self, connection: &ConnectionId, id: &str, mut item: Item) -> Result<()> {
        let nonce = optional(&mut item, NONCE)?;
        let topic = item.get(TOPIC).and_then(|topic| keys::parse_topic(topic.as_s().ok()?));
        if let Some(topic) = topic {
            self.delete(keys::subscriber(&topic, connection, id), nonce.as_deref()).await?;
            self.give_back(&mut item, nonce.as_deref()).await?;
        }
        self.delete(keys::subscription(connection, id), nonce.as_deref()).await
    }

    /// Deletes an item; with a nonce, only the item that has it.
    async fn delete(&self, at: ItemKey, nonce: Option<&str>) -> Result<()> {
        let mut delete = self.0.client.delete_item().table_name(&self.0.table).set_key(Some(key(at)));
        if let Some(nonce) = nonce {
            delete = delete
                .condition_expression("#nonce = :nonce")
                .expression_attribute_names("#nonce", NONCE)
                .expression_attribute_values(":nonce", string(nonce));
        }
        match delete.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts an item with a nonce, unless another is at its key; says whether it did. The nonce lets a retry whose first
    /// answer was lost find its own item.
    async fn put_new(&self, at: ItemKey, mut item: Item, nonce: &str, unless: Unless) -> Result<bool> {
        item.extend(key(at.clone()));
        item.insert(NONCE.into(), string(nonce));
        let put = self.0.client.put_item().table_name(&self.0.table).set_item(Some(item));
        let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let put = match unless {
            Unless::Exists => put.condition_expression("attribute_not_exists(pk)"),
            Unless::Unexpired(now) => put
                .condition_expression("attribute_not_exists(pk) OR #expires <= :now")
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":now", number(now)),
            Unless::Begun => put
                .condition_expression("attribute_not_exists(#topic)")
                .expression_attribute_names("#topic", TOPIC),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let found = self.0.item(at).await?;
                Ok(found.is_some_and(|found| has_nonce(&found, nonce)))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Sets an attribute of a subscriber to the number of a batch, `:batch`, if `condition` holds; says whether it did.
    async fn set_batch(
        &self,
        subscription: &Subscription,
        (name, batch): (&str, u64),
        condition: &str,
        names: &[(&str, &str)],
    ) -> Result<bool> {
        let mut update = self
            .0
            .client
            .update_item()
            .table_name(&self.0.table)
            .set_key(Some(key(subscriber(subscription))))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .update_expression("SET #set = :batch")
            .expression_attribute_names("#set", name)
            .condition_expression(format!("#nonce = :nonce AND ({condition})"))
            .expression_attribute_names("#nonce", NONCE)
            .expression_attribute_values(":nonce", string(&subscription.nonce))
            .expression_attribute_values(":batch", number(batch));
        for (placeholder, name) in names {
            update = update.expression_attribute_names(*placeholder, *name);
        }
        match update.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(false)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// The item at a key that a new one must not replace.
#[derive(Debug, Clone, Copy)]
enum Unless {
    /// Any item.
    Exists,
    /// An item that has not expired by then, in seconds since 1970.
    Unexpired(i64),
    /// A subscription that has begun.
    Begun,
}

/// Key of a subscription among those of its topic.
fn subscriber(subscription: &Subscription) -> ItemKey {
    keys::subscriber(&subscription.topic, &subscription.connection, &subscription.id)
}

/// A new nonce, which tells a subscription apart from others with its id.
pub fn new_nonce() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn has_nonce(item: &Item, nonce: &str) -> bool {
    item.get(NONCE).and_then(|found| found.as_s().ok()).is_some_and(|found| found == nonce)
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn integer<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn is_expired(item: &Item, now: i64) -> bool {
    integer::<i64>(item, EXPIRES).is_none_or(|expires| expires <= now)
}

/// The attribute of what a session's scopes are narrowed to, as JSON; there is none when they are not.
const GRANTS: &str = "grants";

fn encode_session(session: &Session) -> impl Iterator<Item = (String, AttributeValue)> {
    // A set of texts becomes JSON without fail.
    let grants = serde_json::to_string(&session.grants).unwrap_or_default();
    let grants = (!session.grants.are_all()).then(|| (GRANTS.into(), string(grants)));
    let attributes = [
        ("sub".into(), string(&session.sub)),
        ("scope".into(), string(&session.scope)),
        ("token_expires".into(), number(session.token_expires)),
    ];
    attributes.into_iter().chain(grants)
}

fn decode_session(item: &mut Item) -> Result<Session> {
    let token_expires = integer(item, "token_expires");
    Ok(Session {
        sub: text(item, "sub")?,
        scope: text(item, "scope")?,
        grants: match optional(item, GRANTS)? {
            Some(grants) => serde_json::from_str(&grants).map_err(Error::internal)?,
            None => Grants::default(),
        },
        token_expires: token_expires.ok_or_else(|| Error::internal("token_expires is missing"))?,
    })
}

fn decode(topic: &Topic, mut item: Item) -> Result<Subscription> {
    let sk = text(&mut item, SK)?;
    let (connection, id) =
        sk.split_once('#').ok_or_else(|| Error::internal(format!("not a subscriber's sort key: {sk}")))?;
    Ok(Subscription {
        topic: topic.clone(),
        connection: ConnectionId::parse(connection)?,
        id: id.to_owned(),
        since: integer(&item, SINCE),
        nonce: text(&mut item, NONCE)?,
        began: integer(&item, BEGAN).unwrap_or_default(),
        session: decode_session(&mut item)?,
        document: Document {
            query: text(&mut item, "document")?,
            operation: optional(&mut item, "operation")?,
            variables: text(&mut item, "variables")?,
        },
    })
}
