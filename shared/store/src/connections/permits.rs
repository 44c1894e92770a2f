//! Permits, which bound how many subscriptions a user has, and a topic.
//!
//! A subscription takes a numbered permit of its user and one of its topic before it begins, and gives them back when it
//! ends. A conditional write takes a number once, so the bound holds exactly, however many subscriptions begin at once.
//! There is no count that could drift: a permit that is not given back, because a process died, expires with the longest
//! connection. When a bound is reached, [`Connections::check_permits`] finds such permits sooner.

use std::collections::HashSet;

use domain::subscription::{CONNECTION_SECONDS, ConnectionId, Subscription, SubscriptionBounds};
use domain::{Error, Result};

use super::{BEGAN, Connections, EXPIRES, NONCE, Unless, has_nonce, integer, is_expired, number};
use crate::item::{optional, text};
use crate::keys::connections::{self as keys, PermitScope};
use crate::parallel::try_all;
use crate::{Item, string};

/// Attribute of a permit: the connection that holds it.
const CONNECTION: &str = "connection";
/// Attribute of a permit: the id of the subscription that holds it.
const SUBSCRIPTION: &str = "subscription";
/// Attribute of a subscription: its subscriber, by the token's subject.
const SUB: &str = "sub";
/// Attribute of a subscription: the number of its user's permit.
const USER_PERMIT: &str = "user_permit";
/// Attribute of a subscription: the number of its topic's permit.
const TOPIC_PERMIT: &str = "topic_permit";

/// Numbers that are tried at random, before the numbers that are taken are read. Below half of a bound, that suffices for
/// three subscriptions of four.
const TRIES: usize = 2;
/// Attempts to take a free number. Other subscriptions take some at the same time.
const ATTEMPTS: usize = 20;
/// Age from which a permit without a subscription was left behind, in seconds, because an invocation of subscriptions is
/// shorter.
const BEGIN_SECONDS: i64 = 60;
/// The most permits that are checked when a bound is reached.
const MAX_CHECKED: usize = 20;
/// Permits that are checked at once.
const MAX_CONCURRENT_CHECKS: usize = 8;

/// A bound of the number of subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`SubscriptionBounds::connection`].
    Connection,
    /// [`SubscriptionBounds::user`].
    User,
    /// [`SubscriptionBounds::topic`].
    Topic,
}

/// The permits of a subscription, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permits {
    user: u64,
    topic: u64,
}

/// The result of checking permits.
#[derive(Debug, Default)]
pub struct CheckedPermits {
    /// Whether any was left behind, and is free now.
    pub is_any_free: bool,
    /// The connections that hold the others. Some may be gone.
    pub holders: Vec<ConnectionId>,
}

impl Connections {
    /// Takes the permits of a new subscription, or says which bound is reached.
    pub(super) async fn take_permits(&self, new: &Subscription) -> Result<Result<Permits, Bound>> {
        let SubscriptionBounds { user, topic, .. } = self.1;
        let users = PermitScope::User(&new.session.sub);
        let Some(user) = self.take_permit(users, user, new).await? else { return Ok(Err(Bound::User)) };
        let Some(topic) = self.take_permit(PermitScope::Topic(&new.topic), topic, new).await? else {
            self.delete(keys::permit(users, user), Some(&new.nonce)).await?;
            return Ok(Err(Bound::Topic));
        };
        Ok(Ok(Permits { user, topic }))
    }

    async fn take_permit(
        &self,
        scope: PermitScope<'_>,
        bound: u64,
        new: &Subscription,
    ) -> Result<Option<u64>> {
        for _ in 0..TRIES {
            let number = self.0.jitter().below(bound);
            if self.put_permit(scope, number, new).await? {
                return Ok(Some(number));
            }
        }
        for _ in 0..ATTEMPTS {
            let items = self.0.partition(keys::permits(scope), "", None).await?;
            let taken = items.iter().filter(|item| !is_expired(item, new.began)).filter_map(permit_number);
            let taken: HashSet<u64> = taken.collect();
            let free: Vec<u64> = (0..bound).filter(|number| !taken.contains(number)).collect();
            if free.is_empty() {
                return Ok(None);
            }
            let index = self.0.jitter().below(free.len() as u64) as usize;
            if self.put_permit(scope, free[index], new).await? {
                return Ok(Some(free[index]));
            }
        }
        Err(Error::Throttled("permits are contended".into()))
    }

    async fn put_permit(&self, scope: PermitScope<'_>, permit: u64, new: &Subscription) -> Result<bool> {
        let item = Item::from([
            (CONNECTION.into(), string(new.connection.as_str())),
            (SUBSCRIPTION.into(), string(&new.id)),
            (BEGAN.into(), number(new.began)),
            (EXPIRES.into(), number(new.began + CONNECTION_SECONDS)),
        ]);
        self.put_new(keys::permit(scope, permit), item, &new.nonce, Unless::Unexpired(new.began)).await
    }

    /// Gives back the permits of a subscription, which this item lists.
    pub(super) async fn give_back(&self, item: &mut Item, nonce: Option<&str>) -> Result<()> {
        let numbers = (integer(item, USER_PERMIT), integer(item, TOPIC_PERMIT));
        let (sub, topic) = (optional(item, SUB)?, optional(item, super::TOPIC)?);
        let topic = topic.as_deref().and_then(keys::parse_topic);
        // The item of another version of this program has no permits.
        let ((Some(user), Some(number)), Some(sub), Some(topic)) = (numbers, sub, topic) else {
            return Ok(());
        };
        let user = self.delete(keys::permit(PermitScope::User(&sub), user), nonce);
        let topic = self.delete(keys::permit(PermitScope::Topic(&topic), number), nonce);
        tokio::try_join!(user, topic).map(drop)
    }

    /// Frees some of the permits of a bound that `new` has reached, if their subscriptions do not exist.
    pub async fn check_permits(&self, bound: Bound, new: &Subscription) -> Result<CheckedPermits> {
        let scope = match bound {
            Bound::Connection => return Ok(CheckedPermits::default()),
            Bound::User => PermitScope::User(&new.session.sub),
            Bound::Topic => PermitScope::Topic(&new.topic),
        };
        let mut items = self.0.partition(keys::permits(scope), "", None).await?;
        let is_old =
            |item: &Item| integer::<i64>(item, BEGAN).is_none_or(|at| at + BEGIN_SECONDS <= new.began);
        items.retain(is_old);
        let mut checks = Vec::new();
        while checks.len() < MAX_CHECKED && !items.is_empty() {
            let index = self.0.jitter().below(items.len() as u64) as usize;
            checks.push(self.check_permit(scope, items.swap_remove(index)));
        }
        let mut checked = CheckedPermits::default();
        for holder in try_all(MAX_CONCURRENT_CHECKS, checks).await? {
            match holder {
                Some(connection) if checked.holders.contains(&connection) => {}
                Some(connection) => checked.holders.push(connection),
                None => checked.is_any_free = true,
            }
        }
        Ok(checked)
    }

    /// The connection that holds a permit; `None` when its subscription did not exist, and it is free now.
    async fn check_permit(&self, scope: PermitScope<'_>, mut item: Item) -> Result<Option<ConnectionId>> {
        let connection = ConnectionId::parse(&text(&mut item, CONNECTION)?)?;
        let (id, nonce) = (text(&mut item, SUBSCRIPTION)?, text(&mut item, NONCE)?);
        let found = self.0.item(keys::subscription(&connection, &id)).await?;
        if found.is_some_and(|found| has_nonce(&found, &nonce)) {
            return Ok(Some(connection));
        }
        if let Some(number) = permit_number(&item) {
            self.delete(keys::permit(scope, number), Some(&nonce)).await?;
        }
        Ok(None)
    }
}

impl Permits {
    /// The attributes by which a subscription lists its permits.
    pub(super) fn attributes(self, sub: &str) -> Item {
        Item::from([
            (SUB.into(), string(sub)),
            (USER_PERMIT.into(), number(self.user)),
            (TOPIC_PERMIT.into(), number(self.topic)),
        ])
    }
}

fn permit_number(item: &Item) -> Option<u64> {
    item.get(crate::keys::SK)?.as_s().ok()?.parse().ok()
}
