//! The recorder: every event exactly once, whatever fails.

mod batch;
mod effect;
mod taken;
mod writer;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::activity::Activity;
use domain::directory::Superseded;
use domain::event::InputEvent;
use domain::ids::WorkspaceId;
use domain::{Error, Result};
use futures_util::stream::{self, StreamExt as _};
use store::backoff::Backoff;
use store::{OrgPartition, Store};
use tokio::time::{Instant, timeout_at};

use batch::{Index, Placement};
use writer::Writer;

/// Workspaces whose placement a process caches; past it, the cache starts afresh. An entry takes about 300 bytes.
const MAX_CACHED_PLACEMENTS: usize = 10_000;
/// Workspaces written to at once, each in as many transactions as its counters have shards: enough to hide the table's
/// latency, few enough for a small function.
const MAX_CONCURRENT_WORKSPACES: usize = 8;
/// The longest first pause before a refused or unanswered transaction is retried.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// An event that is in the log now.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome {
    /// This call recorded it.
    New(Recorded),
    /// It was there already, with the same content.
    Repeat(Recorded),
}

/// An activity that is in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The activity.
    pub activity: Activity,
    /// Set when it says something of a workspace or a member and something else holds.
    pub superseded: Option<Superseded>,
}

impl WriteOutcome {
    /// The activity, as it is in the log.
    pub fn activity(&self) -> &Activity {
        match self {
            Self::New(recorded) | Self::Repeat(recorded) => &recorded.activity,
        }
    }

    /// Set when the activity says something of a workspace or a member and something else holds.
    pub fn superseded(&self) -> Option<&Superseded> {
        match self {
            Self::New(recorded) | Self::Repeat(recorded) => recorded.superseded.as_ref(),
        }
    }
}

/// The result of one call.
#[derive(Debug)]
pub struct Report {
    /// The result of each event, in their order.
    pub results: Vec<Result<WriteOutcome>>,
    /// How often a request was retried, because the table was busy or did not answer.
    pub retries: u32,
}

/// Records events. A process has one, which caches where the activities of workspaces go.
#[derive(Debug)]
pub struct Recorder {
    store: Store,
    allows_unknown_workspaces: bool,
    /// Whether it reads the activities of repeats back.
    reads_repeats: bool,
    org_partition_cache: Mutex<HashMap<WorkspaceId, Placement>>,
}

/// One call of [`Recorder::record`].
#[derive(Debug)]
struct Call {
    deadline: Instant,
    retries: AtomicU32,
}

impl Recorder {
    /// A recorder with an empty cache. `jitter` spreads its retries; equal seeds pause alike.
    pub fn new(store: Store, jitter: fastrand::Rng) -> Self {
        Self {
            store: store.with_jitter(jitter),
            allows_unknown_workspaces: false,
            reads_repeats: false,
            org_partition_cache: Mutex::default(),
        }
    }

    /// The same recorder, which records activities of unknown workspaces too if `allows` says so.
    #[must_use]
    pub fn with_unknown_workspaces(self, allows: bool) -> Self {
        Self { allows_unknown_workspaces: allows, ..self }
    }

    /// The same, whose outcome of a repeat is the activity as it was recorded, at the cost of one read (a unit for each 4 KB)
    /// for each repeat. Otherwise it is as the repeat has it, whose names, spellings of numbers and order of members may differ.
    #[must_use]
    pub fn reading_repeats(self, reads: bool) -> Self {
        Self { reads_repeats: reads, ..self }
    }

    /// Records events, and returns the result of each.
    ///
    /// It retries requests that were refused for contention or capacity, or not answered, until `deadline`. It sends
    /// nothing that has not begun by then. An event that ends in [`Error::Throttled`] or [`Error::Unavailable`] may be in
    /// the log or not; sent again, it is there once.
    ///
    /// # Errors
    /// For each event by itself; [`Error::Conflict`] when its id names an activity with other content, or
    /// [`Error::IdTaken`] if another principal recorded that; and [`Error::NotFound`] when its workspace is unknown and no
    /// event of the call creates it.
    pub async fn record(&self, events: Vec<InputEvent>, deadline: Instant) -> Report {
        let call = Call { deadline, retries: AtomicU32::new(0) };
        let mut by_workspace: HashMap<WorkspaceId, Vec<(Index, InputEvent)>> = HashMap::new();
        for (index, event) in events.into_iter().enumerate() {
            by_workspace.entry(event.activity.workspace_id.clone()).or_default().push((index, event));
        }
        let mut writes = Vec::with_capacity(by_workspace.len());
        for (workspace, events) in by_workspace {
            writes.push(Writer::new(self, &call, workspace).run(events));
        }
        let results: Vec<_> =
            stream::iter(writes).buffer_unordered(MAX_CONCURRENT_WORKSPACES).collect().await;
        let mut results: Vec<_> = results.into_iter().flatten().collect();
        results.sort_by_key(|(index, _)| *index);
        Report {
            results: results.into_iter().map(|(_, result)| result).collect(),
            retries: call.retries.into_inner(),
        }
    }

    /// Where a workspace's activities go: read once, and again until the workspace is known. The organization that a
    /// second `workspace.created` names changes nothing.
    async fn placement(&self, call: &Call, workspace: &WorkspaceId) -> Result<Placement> {
        if let Some(placement) = locked(&self.org_partition_cache).get(workspace) {
            return Ok(placement.clone());
        }
        let standing = self.until_answered(call, || self.store.org_standing(workspace)).await?;
        let versioned = standing.known.then_some(standing.versioned);
        let organization = standing.organization;
        let (partition, needs_marking) = match &organization {
            Some(organization) => (OrgPartition::Organization(organization.clone()), false),
            None => (OrgPartition::Unclaimed, !standing.unclaimed),
        };
        let placement = Placement { partition, needs_marking, versioned, organization };
        // Another process may create an unknown workspace at any time.
        if standing.known && !placement.needs_marking {
            let mut cache = locked(&self.org_partition_cache);
            if cache.len() >= MAX_CACHED_PLACEMENTS {
                cache.clear();
            }
            cache.insert(workspace.clone(), placement.clone());
        }
        Ok(placement)
    }

    fn forget_placement(&self, workspace: &WorkspaceId) {
        locked(&self.org_partition_cache).remove(workspace);
    }

    /// The answer to a request, which is sent again while it is throttled or not answered, until the deadline.
    async fn until_answered<T, F: Future<Output = Result<T>>>(
        &self,
        call: &Call,
        request: impl Fn() -> F,
    ) -> Result<T> {
        let mut backoff = self.backoff();
        loop {
            match call.in_time(request()).await {
                Err(error @ (Error::Unavailable(_) | Error::Throttled(_))) => {
                    tracing::warn!(error = error.chain(), "unanswered request");
                    if !call.wait(&mut backoff).await {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    fn backoff(&self) -> Backoff<'_> {
        Backoff::new(self.store.jitter(), FIRST_PAUSE, LONGEST_PAUSE)
    }
}

impl Call {
    /// The answer to a request, if there is time to begin it and it comes in time.
    async fn in_time<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        if Instant::now() >= self.deadline {
            return Err(Error::Unavailable("not begun within the time left".into()));
        }
        let late = |_| Err(Error::Unavailable("no answer within the time left".into()));
        timeout_at(self.deadline, Box::pin(request)).await.unwrap_or_else(late)
    }

    /// Waits before the next attempt. Returns false when no time is left.
    async fn wait(&self, backoff: &mut Backoff<'_>) -> bool {
        let has_time = backoff.wait_until(self.deadline).await;
        if has_time {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
        has_time
    }
}

/// Locks a mutex, also after a panic, because no panic here leaves anything half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
