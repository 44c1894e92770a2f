//! The recorder: every event exactly once, whatever fails.

mod transaction;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::activity::Activity;
use crate::event::Event;
use crate::ids::{ActivityId, OrganizationId, WorkspaceId};
use crate::store::{Store, StoredId};
use crate::{Error, Result, directory, keys};
use transaction::{Ended, Group};

/// Workspaces of which a process remembers where their activities go; past it, it starts afresh. An entry
/// takes about 300 bytes.
const REMEMBERED: usize = 10_000;
/// Workspaces written to at once: enough to hide the table's latency, few enough for a small function.
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

/// Records events. One for each process: it remembers which workspaces it has met.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    met: Mutex<HashMap<WorkspaceId, Home>>,
    jitter: Mutex<fastrand::Rng>,
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

    /// Records events, and says of each, in their order, what became of it.
    ///
    /// What is refused for contention or capacity, or not answered, is tried again until `deadline`. An event
    /// that ends in [`Error::Throttled`] or [`Error::Unavailable`] may be in the log or not; sent again, it is
    /// there once.
    ///
    /// # Errors
    /// [`Error::Conflict`] for an event whose id names an activity with other content.
    pub async fn record(&self, events: &[Event], deadline: Instant) -> Vec<Result<Recorded>> {
        let mut by_workspace: HashMap<&WorkspaceId, Vec<usize>> = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            by_workspace.entry(&event.activity.workspace_id).or_default().push(index);
        }
        let mut writes = Vec::with_capacity(by_workspace.len());
        for (workspace, indexes) in by_workspace {
            writes.push(self.record_workspace(workspace, events, indexes, deadline));
        }
        let recorded: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let mut results: Vec<_> = recorded.into_iter().flatten().collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    async fn record_workspace(
        &self,
        workspace: &WorkspaceId,
        events: &[Event],
        indexes: Vec<usize>,
        deadline: Instant,
    ) -> Vec<(usize, Result<Recorded>)> {
        // Of several events with one id the first is written; the others are held against what is then there.
        let mut seen = HashSet::new();
        let (mut firsts, others): (Vec<usize>, Vec<usize>) =
            indexes.into_iter().partition(|&index| seen.insert(&events[index].activity.id));
        // In time order, a transaction touches the fewest counters.
        firsts.sort_by_key(|&index| events[index].activity.created_at);
        let mut stored: HashMap<&ActivityId, StoredId> = HashMap::new();
        let mut results = Vec::with_capacity(firsts.len() + others.len());
        for (index, ended) in self.record_distinct(workspace, events, firsts, deadline).await {
            let event = &events[index];
            results.push((
                index,
                ended.and_then(|ended| {
                    stored.insert(&event.activity.id, ended.stored.clone());
                    settle(event, &ended)
                }),
            ));
        }
        for index in others {
            let event = &events[index];
            let result = match stored.get(&event.activity.id) {
                Some(stored) => settle(event, &Ended { new: false, stored: stored.clone() }),
                None => {
                    Err(Error::Unavailable("the event before it with the same id was not recorded".into()))
                }
            };
            results.push((index, result));
        }
        results
    }

    /// Records events of one workspace, no two with the same id, in as few transactions as hold them.
    async fn record_distinct(
        &self,
        workspace: &WorkspaceId,
        events: &[Event],
        mut indexes: Vec<usize>,
        deadline: Instant,
    ) -> Vec<(usize, Result<Ended>)> {
        let mut results = Vec::new();
        let mut home = self.home(workspace, deadline).await;
        if matches!(&home, Ok(home) if home.org_key == keys::unclaimed(workspace)) {
            // The event that names the organization already belongs to it. It goes first and alone: were it
            // refused, nothing else may have relied on what it says.
            let (first, rest): (Vec<usize>, Vec<usize>) = indexes
                .into_iter()
                .partition(|&index| directory::organization_of(&events[index].activity).is_some());
            for &index in &first {
                if let Some(organization) = directory::organization_of(&events[index].activity) {
                    let group = Group::new(workspace, Home::of(&organization), events, vec![index]);
                    results.extend(self.record_group(group, deadline).await);
                }
            }
            if !first.is_empty() {
                home = self.home(workspace, deadline).await;
            }
            indexes = rest;
        }
        let mut home = match home {
            Ok(home) => home,
            Err(error) => {
                results.extend(indexes.into_iter().map(|index| (index, Err(error.same()))));
                return results;
            }
        };
        while !indexes.is_empty() {
            let (group, rest) = Group::fill(workspace, home.clone(), events, indexes);
            let ended = self.record_group(group, deadline).await;
            // The mark stands once anything was committed together with it.
            home.mark &= !ended.iter().any(|(_, ended)| matches!(ended, Ok(ended) if ended.new));
            results.extend(ended);
            indexes = rest;
        }
        results
    }

    /// Where a workspace's activities go: read once, and again as long as it may change.
    async fn home(&self, workspace: &WorkspaceId, deadline: Instant) -> Result<Home> {
        if let Some(home) = self.met().get(workspace) {
            return Ok(home.clone());
        }
        let late = |_| Err(Error::Unavailable("no answer within the time left".into()));
        let standing = timeout_at(deadline, self.store.standing(workspace)).await.unwrap_or_else(late)?;
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

    fn met(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, Home>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event comes to, given what is in the log under its id.
fn settle(event: &Event, ended: &Ended) -> Result<Recorded> {
    let (ours, stored) = (&event.activity, &ended.stored);
    // A time the producer did not give is ours, and differs from one delivery to the next.
    let same_time = !event.timed || ours.created_at == stored.created_at;
    if event.fingerprint != stored.fingerprint || !same_time {
        let detail = format!("{} is recorded with other content; another event needs another id", ours.id);
        return Err(Error::Conflict { field: "id", detail });
    }
    let activity = Activity { created_at: stored.created_at, ..ours.clone() };
    Ok(if ended.new { Recorded::New(activity) } else { Recorded::Repeat(activity) })
}
