//! The `connections` table: who is connected, what they watch, and the journals of what is watched.
//!
//! A watcher and a broadcast share no transaction: those who come at once would meet at their topic's head. What keeps
//! messages whole and in order is this. A broadcast lists its batch in the journal before it looks for watchers, and
//! leaves a note with each that is still being told what it has missed. Such a watcher is told by broadcasts from then on
//! that it has read all of the journal of which there are notes.

mod journal;

pub use journal::{Batch, Entry, Head};

use std::collections::BTreeMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::item::{optional, text};
use super::{Item, Store, failed, key, string};
use crate::keys::live as keys;
use crate::live::{CONNECTION_SECONDS, ConnectionId, Document, MAX_SUBSCRIPTIONS, Session, Topic, Watch};
use crate::parallel::all;
use crate::{Error, Result};

/// Time-to-live attribute of every item. DynamoDB deletes late, so that it is looked at where it matters.
const EXPIRES: &str = "expires_at";
/// Of a watch: see [`Watch::since`].
const SINCE: &str = "since";
/// Of a watch: the last batch of which a broadcast left a note.
const MISSED: &str = "missed";
/// Of a session: why its token was not taken.
const REFUSED: &str = "refused";
/// Of a watch: see [`Watch::began`].
const BEGAN: &str = "began";
/// Of a session, a subscription or a watch: what tells it from another of the same key.
const MARK: &str = "mark";
/// Of a subscription: what it watches. A subscription that ended before it began has none.
const TOPIC: &str = "topic";

/// How long it is remembered that a subscription was ended before it had begun, in seconds. Messages of a connection
/// are handled at the same time, each within 29 s.
const ENDED_SECONDS: i64 = 30;
/// Requests in flight for one connection, or one topic.
const AT_ONCE: usize = 8;

/// The `connections` table.
#[derive(Debug, Clone)]
pub struct Connections(Store);

/// What a connection has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who is at the other end, or why that is nobody.
    pub session: Result<Session, String>,
    /// Its subscriptions, by their ids, each with its mark.
    pub subscriptions: BTreeMap<String, String>,
}

/// What became of a watcher's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is told by broadcasts from now on.
    Taken,
    /// There is more to read of the journal.
    Missed,
    /// It is watching no more.
    Ended,
}

/// Why a subscription did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The connection is gone, or the client ended the subscription before it had begun.
    Already,
    /// There is one of the same id.
    Taken,
    /// The connection has [`MAX_SUBSCRIPTIONS`] others.
    TooMany,
}

impl Connections {
    /// The table called `table`, reached as `store` is.
    pub fn beside(store: &Store, table: impl Into<String>) -> Self {
        Self(Store::new(store.client.clone(), table))
    }

    /// Begins a session at `now`, in seconds since 1970, or notes why nobody is at the other end; false when that has been
    /// done.
    pub async fn begin(
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
        self.put_new(keys::session(connection), item, &new_mark(), Unless::There).await
    }

    /// What a connection has; `None` when its session has not begun, or is over.
    pub async fn standing(&self, connection: &ConnectionId, now: i64) -> Result<Option<Standing>> {
        let items = self.0.partition(keys::connection(connection), "S", None).await?;
        let (mut session, mut subscriptions) = (None, BTreeMap::new());
        for mut item in items.into_iter().filter(|item| !is_expired(item, now)) {
            let sk = text(&mut item, crate::keys::SK)?;
            match (sk.strip_prefix(keys::SUBSCRIPTION_PREFIX), optional(&mut item, REFUSED)?) {
                (Some(id), _) if item.contains_key(TOPIC) => {
                    subscriptions.insert(id.to_owned(), text(&mut item, MARK)?);
                }
                (Some(_), _) => {}
                (None, Some(reason)) => session = Some(Err(reason)),
                (None, None) => session = Some(Ok(decode_session(&mut item)?)),
            }
        }
        Ok(session.map(|session| Standing { session, subscriptions }))
    }

    /// Begins to watch, still to be told what was missed. Whoever forgets the connection meanwhile, or ends the
    /// subscription, leaves nothing of it.
    pub async fn watch(&self, watch: &Watch) -> Result<Option<Ended>> {
        let (at, now) = (keys::subscription(&watch.connection, &watch.id), watch.began);
        let expires = number(now + CONNECTION_SECONDS);
        let subscription =
            Item::from([(TOPIC.into(), string(watch.topic.name())), (EXPIRES.into(), expires.clone())]);
        if !self.put_new(at.clone(), subscription, &watch.mark, Unless::Expired(now)).await? {
            if self.0.item(at.clone()).await?.is_some_and(|item| item.contains_key(TOPIC)) {
                return Ok(Some(Ended::Taken));
            }
            // Once is enough: the id may be used again.
            self.delete(at, None).await?;
            return Ok(Some(Ended::Already));
        }
        let mut item = Item::from(encode_session(&watch.session));
        item.insert("document".into(), string(&watch.document.query));
        item.insert("variables".into(), string(&watch.document.variables));
        if let Some(operation) = &watch.document.operation {
            item.insert("operation".into(), string(operation));
        }
        item.insert(BEGAN.into(), number(now));
        item.insert(EXPIRES.into(), expires);
        // Of another of its id, which was slow to begin or is slow to end, it takes nothing away.
        let at = keys::watch(&watch.topic, &watch.connection, &watch.id);
        let is_put = self.put_new(at, item, &watch.mark, Unless::There).await?;
        // Who forgets a connection deletes its session first, and then what it finds: this, or we see it. And of many
        // that came at once, each sees the others.
        let standing = self.standing(&watch.connection, now).await?;
        let subscriptions = standing.map(|standing| standing.subscriptions).unwrap_or_default();
        let is_there = subscriptions.get(&watch.id).is_some_and(|mark| *mark == watch.mark);
        if is_put && is_there && subscriptions.len() <= MAX_SUBSCRIPTIONS {
            return Ok(None);
        }
        self.end(watch).await?;
        Ok(Some(if is_put && is_there { Ended::TooMany } else { Ended::Already }))
    }

    /// Lets broadcasts tell the watcher what comes after batch `told` of the journal.
    pub async fn take_turn(&self, watch: &Watch, told: u64) -> Result<Turn> {
        let at = keys::watch(&watch.topic, &watch.connection, &watch.id);
        let condition = "attribute_not_exists(#missed) OR #missed <= :batch";
        let taken = self.set(watch, (SINCE, told), condition, &[("#missed", MISSED)]).await?;
        Ok(match taken {
            true => Turn::Taken,
            false if self.0.item(at).await?.is_some_and(|item| is_marked(&item, &watch.mark)) => Turn::Missed,
            false => Turn::Ended,
        })
    }

    /// Leaves a note with a watcher, who had not taken its turn, that there is a batch to read of the journal. When it
    /// has taken its turn meanwhile, says up to where it has been told.
    pub async fn leave_note(&self, watch: &Watch, batch: u64) -> Result<Option<u64>> {
        let condition =
            "attribute_not_exists(#since) AND (attribute_not_exists(#missed) OR #missed < :batch)";
        let names = [("#missed", MISSED), ("#since", SINCE)];
        if self.set(watch, (MISSED, batch), condition, &names).await? {
            return Ok(None);
        }
        let found = self.0.item(keys::watch(&watch.topic, &watch.connection, &watch.id)).await?;
        Ok(found.filter(|item| is_marked(item, &watch.mark)).and_then(|item| integer(&item, SINCE)))
    }

    /// Everybody who watches a topic.
    pub async fn watchers(&self, topic: &Topic, now: i64) -> Result<Vec<Watch>> {
        let shards =
            (0..keys::WATCH_SHARDS).map(|shard| self.0.partition(keys::watchers(topic, shard), "", None));
        let items = all(AT_ONCE, shards.collect()).await?.into_iter().flatten();
        let watcher = |item| {
            // One that another version of this program wrote is not to keep the others from being told.
            let decoded = decode(topic, item);
            decoded.inspect_err(|error| tracing::error!(error = error.chain(), "a watcher is left out")).ok()
        };
        Ok(items.filter(|item| !is_expired(item, now)).filter_map(watcher).collect())
    }

    /// Ends a subscription that began, but not another of its id.
    pub async fn end(&self, watch: &Watch) -> Result<()> {
        let mark = Some(watch.mark.as_str());
        self.delete(keys::watch(&watch.topic, &watch.connection, &watch.id), mark).await?;
        self.delete(keys::subscription(&watch.connection, &watch.id), mark).await
    }

    /// Ends a subscription that its client has completed. That message may overtake the one that subscribes, which is
    /// remembered for a while, of somebody who may subscribe.
    pub async fn complete(&self, connection: &ConnectionId, id: &str, now: i64) -> Result<()> {
        let at = keys::subscription(connection, id);
        let is_watched = |item: &Item| item.contains_key(TOPIC);
        if let Some(item) = self.0.item(at.clone()).await?.filter(is_watched) {
            return self.remove(connection, id, item).await;
        }
        let session = self.0.item(keys::session(connection)).await?;
        if session.is_none_or(|session| session.contains_key(REFUSED)) {
            return Ok(());
        }
        let ended = Item::from([(EXPIRES.into(), number(now + ENDED_SECONDS))]);
        if !self.put_new(at.clone(), ended, &new_mark(), Unless::Watched).await?
            && let Some(item) = self.0.item(at).await?.filter(is_watched)
        {
            self.remove(connection, id, item).await?;
        }
        Ok(())
    }

    /// Whether a connection has a session, or a note why it has none.
    pub async fn has_begun(&self, connection: &ConnectionId) -> Result<bool> {
        Ok(self.0.item(keys::session(connection)).await?.is_some())
    }

    /// Forgets a connection and all its subscriptions.
    pub async fn forget(&self, connection: &ConnectionId) -> Result<()> {
        self.delete(keys::session(connection), None).await?;
        let found = self.0.partition(keys::connection(connection), keys::SUBSCRIPTION_PREFIX, None).await?;
        // Those that never began expire soon.
        let found = found.into_iter().filter(|item| item.contains_key(TOPIC));
        let removals = found.map(|mut item| async {
            let sk = text(&mut item, crate::keys::SK)?;
            self.remove(connection, sk.strip_prefix(keys::SUBSCRIPTION_PREFIX).unwrap_or_default(), item)
                .await
        });
        all(AT_ONCE, removals.collect()).await.map(drop)
    }

    /// Deletes a subscription: first what watches, so that nothing does whose subscription is not there.
    async fn remove(&self, connection: &ConnectionId, id: &str, mut item: Item) -> Result<()> {
        let mark = optional(&mut item, MARK)?;
        if let Some(topic) = optional(&mut item, TOPIC)?.as_deref().and_then(Topic::parse) {
            self.delete(keys::watch(&topic, connection, id), mark.as_deref()).await?;
        }
        self.delete(keys::subscription(connection, id), mark.as_deref()).await
    }

    /// Deletes an item; if a mark is given, the one that has it.
    async fn delete(&self, at: (String, String), mark: Option<&str>) -> Result<()> {
        let mut delete = self.0.client.delete_item().table_name(&self.0.table).set_key(Some(key(at)));
        if let Some(mark) = mark {
            delete = delete
                .condition_expression("#mark = :mark")
                .expression_attribute_names("#mark", MARK)
                .expression_attribute_values(":mark", string(mark));
        }
        match delete.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts an item with a mark at a key, unless there is another; says whether it did. By its mark it is known: what is
    /// sent again after its answer was lost finds itself there.
    async fn put_new(
        &self,
        at: (String, String),
        mut item: Item,
        mark: &str,
        unless: Unless,
    ) -> Result<bool> {
        item.extend(key(at.clone()));
        item.insert(MARK.into(), string(mark));
        let put = self.0.client.put_item().table_name(&self.0.table).set_item(Some(item));
        let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let put = match unless {
            Unless::There => put.condition_expression("attribute_not_exists(pk)"),
            Unless::Expired(now) => put
                .condition_expression("attribute_not_exists(pk) OR #expires <= :now")
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":now", number(now)),
            Unless::Watched => put
                .condition_expression("attribute_not_exists(#topic)")
                .expression_attribute_names("#topic", TOPIC),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let found = self.0.item(at).await?;
                Ok(found.is_some_and(|found| is_marked(&found, mark)))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Sets an attribute of a watch to the number of a batch, `:batch`, where `condition` holds; says whether it did.
    async fn set(
        &self,
        watch: &Watch,
        (name, batch): (&str, u64),
        condition: &str,
        names: &[(&str, &str)],
    ) -> Result<bool> {
        let at = keys::watch(&watch.topic, &watch.connection, &watch.id);
        let mut update = self
            .0
            .client
            .update_item()
            .table_name(&self.0.table)
            .set_key(Some(key(at)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .update_expression("SET #set = :batch")
            .expression_attribute_names("#set", name)
            .condition_expression(format!("#mark = :mark AND ({condition})"))
            .expression_attribute_names("#mark", MARK)
            .expression_attribute_values(":mark", string(&watch.mark))
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

/// What an item must not take the place of.
#[derive(Debug, Clone, Copy)]
enum Unless {
    /// Anything.
    There,
    /// What has not expired by then.
    Expired(i64),
    /// A subscription that watches.
    Watched,
}

/// What tells a subscription from another of the same id.
pub fn new_mark() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn is_marked(item: &Item, mark: &str) -> bool {
    item.get(MARK).and_then(|found| found.as_s().ok()).is_some_and(|found| found == mark)
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

fn encode_session(session: &Session) -> [(String, AttributeValue); 3] {
    [
        ("sub".into(), string(&session.sub)),
        ("scope".into(), string(&session.scope)),
        ("token_expires".into(), number(session.token_expires)),
    ]
}

fn decode_session(item: &mut Item) -> Result<Session> {
    let token_expires = integer(item, "token_expires");
    Ok(Session {
        sub: text(item, "sub")?,
        scope: text(item, "scope")?,
        token_expires: token_expires.ok_or_else(|| Error::internal("token_expires is missing"))?,
    })
}

fn decode(topic: &Topic, mut item: Item) -> Result<Watch> {
    let sk = text(&mut item, crate::keys::SK)?;
    let (connection, id) =
        sk.split_once('#').ok_or_else(|| Error::internal(format!("not a watcher's sort key: {sk}")))?;
    Ok(Watch {
        topic: topic.clone(),
        connection: ConnectionId::parse(connection)?,
        id: id.to_owned(),
        since: integer(&item, SINCE),
        mark: text(&mut item, MARK)?,
        began: integer(&item, BEGAN).unwrap_or_default(),
        session: decode_session(&mut item)?,
        document: Document {
            query: text(&mut item, "document")?,
            operation: optional(&mut item, "operation")?,
            variables: text(&mut item, "variables")?,
        },
    })
}
