//! The recorder: every event exactly once, whatever fails.

mod transaction;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::activity::Activity;
use crate::event::Event;
use crate::ids::{ActivityId, OrganizationId, WorkspaceId};
use crate::keys::{self, COUNTER_SHARDS};
use crate::store::{Store, StoredId};
use crate::time::Timestamp;
use crate::{Error, Result, directory};
use transaction::{Ended, Group};

/// Workspaces of which a process remembers where their activities go; past it, it starts afresh. An entry
/// takes about 300 bytes.
const REMEMBERED: usize = 10_000;
/// Workspaces written to at once, each in as many transactions as its counters have shards: enough to hide the
/// table's latency, few enough for a small function.
const AT_ONCE: usize = 8;

/// An event that is in the log now.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// This call put it there.
    New(Activity),
    /// It was there already, with the same content.
    Repeat(Activity),
}

impl Recorded {
    /// The activity, as it is in the log.
    pub fn activity(&self) -> &Activity {
        match self {
            Self::New(activity) | Self::Repeat(activity) => activity,
        }
    }
}

/// What became of the events of one call.
#[derive(Debug)]
pub struct Report {
    /// Of each event, in their order.
    pub results: Vec<Result<Recorded>>,
    /// How often the table was asked again, because it was busy or did not answer.
    pub retries: u32,
}

/// Records events. One for each process: it remembers which workspaces it has met.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    met: Mutex<HashMap<WorkspaceId, Home>>,
    jitter: Mutex<fastrand::Rng>,
}

/// One call of [`Recorder::record`].
#[derive(Debug)]
struct Call {
    events: Vec<Event>,
    deadline: Instant,
    retries: AtomicU32,
}

/// The events of a workspace that are not in a transaction yet, and where they go.
struct Rest {
    indexes: Vec<usize>,
    home: Home,
}

/// Where in by-organization a workspace's activities go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Home {
    /// The partition.
    org_key: String,
    /// Whether the workspace must still be marked as having activities outside its organization's partition.
    mark: bool,
}

impl Home {
    fn of(organization: &OrganizationId) -> Self {
        Self { org_key: keys::organization(organization), mark: false }
    }
}

impl Recorder {
    /// A recorder that has met nobody. `jitter` spreads its retries; equal seeds pause alike.
    pub fn new(store: Store, jitter: fastrand::Rng) -> Self {
        Self { store, met: Mutex::default(), jitter: Mutex::new(jitter) }
    }

    /// Records events, and says what became of each.
    ///
    /// What is refused for contention or capacity, or not answered, is tried again until `deadline`; what is not
    /// begun by then is not sent. An event that ends in [`Error::Throttled`] or [`Error::Unavailable`] may be in the
    /// log or not; sent again, it is there once.
    ///
    /// # Errors
    /// For each event by itself; [`Error::Conflict`] when its id names an activity with other content.
    pub async fn record(&self, events: Vec<Event>, deadline: Instant) -> Report {
        let call = Call { events, deadline, retries: AtomicU32::new(0) };
        let mut by_workspace: HashMap<&WorkspaceId, Vec<usize>> = HashMap::new();
        for (index, event) in call.events.iter().enumerate() {
            by_workspace.entry(&event.activity.workspace_id).or_default().push(index);
        }
        let mut writes = Vec::with_capacity(by_workspace.len());
        for (workspace, indexes) in by_workspace {
            writes.push(self.record_workspace(&call, workspace, indexes));
        }
        let recorded: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let mut settled: Vec<_> = recorded.into_iter().flatten().collect();
        settled.sort_by_key(|(index, _)| *index);
        let of_event = |(event, (_, settled)): (Event, (usize, Result<Settled>))| {
            settled.map(|settled| settled.recorded(event.activity))
        };
        Report {
            results: call.events.into_iter().zip(settled).map(of_event).collect(),
            retries: call.retries.into_inner(),
        }
    }

    async fn record_workspace(
        &self,
        call: &Call,
        workspace: &WorkspaceId,
        indexes: Vec<usize>,
    ) -> Vec<(usize, Result<Settled>)> {
        // Of several events with one id the first is written; the others are held against what is then there.
        let mut seen = HashSet::new();
        let (mut firsts, others): (Vec<usize>, Vec<usize>) =
            indexes.into_iter().partition(|&index| seen.insert(&call.events[index].activity.id));
        // In time order, a transaction touches the fewest counters.
        firsts.sort_by_key(|&index| call.events[index].activity.created_at);
        let mut stored: HashMap<&ActivityId, StoredId> = HashMap::new();
        let mut results = Vec::with_capacity(firsts.len() + others.len());
        for (index, ended) in self.record_distinct(call, workspace, firsts).await {
            let event = &call.events[index];
            let settled = ended.and_then(|ended| {
                let settled = settle(event, &ended);
                if !others.is_empty() {
                    stored.insert(&event.activity.id, ended.stored);
                }
                settled
            });
            results.push((index, settled));
        }
        for index in others {
            let event = &call.events[index];
            let settled = match stored.get(&event.activity.id) {
                Some(stored) => settle(event, &Ended { new: false, stored: stored.clone() }),
                None => {
                    Err(Error::Unavailable("the event before it with the same id was not recorded".into()))
                }
            };
            results.push((index, settled));
        }
        results
    }

    /// Records events of one workspace, no two with the same id, in as few transactions as hold them.
    async fn record_distinct(
        &self,
        call: &Call,
        workspace: &WorkspaceId,
        mut indexes: Vec<usize>,
    ) -> Vec<(usize, Result<Ended>)> {
        let mut results = Vec::with_capacity(indexes.len());
        let mut home = self.home(call, workspace).await;
        if matches!(&home, Ok(home) if home.org_key == keys::unclaimed(workspace)) {
            // The event that names the organization already belongs to it. It goes first and alone: were it
            // refused, nothing else may have relied on what it says.
            let organization = |index: usize| directory::organization_of(&call.events[index].activity);
            let (first, rest): (Vec<usize>, Vec<usize>) =
                indexes.into_iter().partition(|&index| organization(index).is_some());
            let named: Option<OrganizationId> = first.iter().find_map(|&index| organization(index));
            for &index in &first {
                if let Some(organization) = organization(index) {
                    let home =
                        Home { mark: named.as_ref() != Some(&organization), ..Home::of(&organization) };
                    let group = Group::new(workspace, home, &call.events, vec![index]);
                    results.extend(self.record_group(call, group, self.random(COUNTER_SHARDS)).await);
                }
            }
            if !first.is_empty() {
                home = self.home(call, workspace).await;
            }
            indexes = rest;
        }
        let rest = match home {
            Ok(home) => Mutex::new(Rest { indexes, home }),
            Err(error) => {
                results.extend(indexes.into_iter().map(|index| (index, Err(error.same()))));
                return results;
            }
        };
        // Two transactions of one workspace meet at its counters, unless each has a shard of its own.
        let first = self.random(COUNTER_SHARDS);
        let lanes = (0..COUNTER_SHARDS)
            .map(|lane| self.record_rest(call, workspace, &rest, (first + lane) % COUNTER_SHARDS));
        results.extend(join_all(lanes).await.into_iter().flatten());
        results
    }

    /// Records, one transaction after the other, until nothing of the rest is left.
    async fn record_rest(
        &self,
        call: &Call,
        workspace: &WorkspaceId,
        rest: &Mutex<Rest>,
        shard: u64,
    ) -> Vec<(usize, Result<Ended>)> {
        let mut results = Vec::new();
        loop {
            let group = {
                let mut rest = locked(rest);
                let indexes = std::mem::take(&mut rest.indexes);
                if indexes.is_empty() {
                    return results;
                }
                let (group, left) = Group::fill(workspace, rest.home.clone(), &call.events, indexes);
                rest.indexes = left;
                group
            };
            let ended = self.record_group(call, group, shard).await;
            // The mark stands once anything was committed together with it.
            if ended.iter().any(|(_, ended)| matches!(ended, Ok(ended) if ended.new)) {
                locked(rest).home.mark = false;
            }
            results.extend(ended);
        }
    }

    /// Where a workspace's activities go: read once, and again until the workspace is known. An organization that a
    /// second `workspace.created` names moves nothing.
    async fn home(&self, call: &Call, workspace: &WorkspaceId) -> Result<Home> {
        if let Some(home) = self.met().get(workspace) {
            return Ok(home.clone());
        }
        let standing = self.until_answered(call, || self.store.standing(workspace)).await?;
        let home = match &standing.organization {
            Some(organization) => Home::of(organization),
            None => Home { org_key: keys::unclaimed(workspace), mark: !standing.unclaimed },
        };
        if standing.known && !home.mark {
            let mut met = self.met();
            if met.len() >= REMEMBERED {
                met.clear();
            }
            met.insert(workspace.clone(), home.clone());
        }
        Ok(home)
    }

    fn met(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Home>> {
        locked(&self.met)
    }
}

/// What panicked while it held a lock here left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An event that is in the log, under the time that stands there.
struct Settled {
    new: bool,
    created_at: Timestamp,
}

impl Settled {
    fn recorded(self, activity: Activity) -> Recorded {
        let activity = Activity { created_at: self.created_at, ..activity };
        if self.new { Recorded::New(activity) } else { Recorded::Repeat(activity) }
    }
}

/// What an event comes to, given what is in the log under its id.
fn settle(event: &Event, ended: &Ended) -> Result<Settled> {
    let (ours, stored) = (&event.activity, &ended.stored);
    // A time the producer did not give is ours, and differs from one delivery to the next.
    let same_time = !event.timed || ours.created_at == stored.created_at;
    if event.fingerprint != stored.fingerprint || !same_time {
        let detail = format!("{} is recorded with other content; another event needs another id", ours.id);
        return Err(Error::Conflict { field: "id", detail });
    }
    Ok(Settled { new: ended.new, created_at: stored.created_at })
}
