//! One transaction's life: sent, refused in part, sent again without that part, until it stands or time is up.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{Call, Home, Recorder, locked};
use crate::directory::{self, Change, Field};
use crate::event::Event;
use crate::ids::WorkspaceId;
use crate::keys::{self, COUNTER_SHARDS, Position};
use crate::store::{Batch, Outcome, StoredId, TRANSACTION_ITEMS};
use crate::{Error, Result};

/// The longest first pause before a refused transaction is tried again; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// The most bytes of events in a transaction. Their workspace's partition takes 1,000 write units a second, and a
/// transaction writes each KiB twice: more than this might never be taken at once.
const GROUP_BYTES: usize = 400 * 1024;

/// What is in the log under an event's id.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether this event put it there.
    pub(super) new: bool,
    /// What it is.
    pub(super) stored: StoredId,
}

/// Events that are recorded together.
#[derive(Debug)]
pub(super) struct Group<'a> {
    workspace: &'a WorkspaceId,
    home: Home,
    events: &'a [Event],
    pending: Vec<usize>,
    /// Fields of the directory that newer activities have decided.
    decided: HashMap<((String, String), &'static str), Position>,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        workspace: &'a WorkspaceId,
        home: Home,
        events: &'a [Event],
        pending: Vec<usize>,
    ) -> Self {
        Self { workspace, home, events, pending, decided: HashMap::new() }
    }

    /// A group of as many events as one transaction holds, and those left over.
    pub(super) fn fill(
        workspace: &'a WorkspaceId,
        home: Home,
        events: &'a [Event],
        mut indexes: Vec<usize>,
    ) -> (Self, Vec<usize>) {
        // An activity and its id item each, and two counters.
        let most = ((TRANSACTION_ITEMS - 2) / 2).min(indexes.len());
        let mut bytes = 0;
        let light = indexes.iter().take(most).take_while(|&&index| {
            bytes += events[index].size;
            bytes <= GROUP_BYTES
        });
        let most = light.count().max(1);
        let mut rest = indexes.split_off(most);
        let mut group = Self::new(workspace, home, events, indexes);
        while group.batch(0).weight() > TRANSACTION_ITEMS {
            rest.splice(0..0, group.pending.pop());
        }
        (group, rest)
    }

    fn batch(&self, shard: u64) -> Batch<'a> {
        let events: Vec<&'a Event> = self.pending.iter().map(|&index| &self.events[index]).collect();
        // What one names that is not its home leaves it with activities in two organizations' partitions.
        let moves = |event: &&Event| {
            let organization = directory::organization_of(&event.activity);
            organization.is_some_and(|organization| keys::organization(&organization) != self.home.org_key)
        };
        let mark = (self.home.mark || events.iter().any(moves)).then(|| Change {
            key: keys::directory_workspace(self.workspace),
            sets: Vec::new(),
            unclaimed: true,
        });
        let mut changes: Vec<Change> = Vec::new();
        let changed = events.iter().flat_map(|event| directory::changes(&event.activity));
        for change in mark.into_iter().chain(changed) {
            match changes.iter_mut().find(|other| other.key == change.key) {
                Some(other) => other.merge(change),
                None => changes.push(change),
            }
        }
        for Change { key, sets, .. } in &mut changes {
            sets.retain(|set| {
                let newer = self.decided.get(&(key.clone(), set.field.name()));
                newer.is_none_or(|newer| set.at > *newer)
            });
        }
        changes.retain(|change| !change.sets.is_empty() || change.unclaimed);
        Batch {
            workspace: self.workspace,
            events,
            org_key: self.home.org_key.clone(),
            directory: changes,
            shard,
        }
    }

    /// Takes out the events whose ids are taken, given by their place in the batch.
    fn take_out(&mut self, taken: Vec<(usize, StoredId)>) -> Vec<(usize, Result<Ended>)> {
        let mut taken: HashMap<usize, StoredId> = taken.into_iter().collect();
        let mut out = Vec::with_capacity(taken.len());
        for (place, index) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            match taken.remove(&place) {
                Some(stored) => out.push((index, Ok(Ended { new: false, stored }))),
                None => self.pending.push(index),
            }
        }
        out
    }

    fn all_recorded(self) -> impl Iterator<Item = (usize, Result<Ended>)> {
        self.pending.into_iter().map(|index| {
            let Event { activity, fingerprint, .. } = &self.events[index];
            let stored = StoredId { fingerprint: fingerprint.clone(), created_at: activity.created_at };
            (index, Ok(Ended { new: true, stored }))
        })
    }

    fn all_failed(self, error: Error) -> impl Iterator<Item = (usize, Result<Ended>)> {
        self.pending.into_iter().map(move |index| (index, Err(error.same())))
    }

    /// Takes note of what others decided of a change's fields; says whether that leaves less to change.
    fn newer_decided(&mut self, change: &Change, fields: Vec<(Field, Position)>) -> bool {
        let mut less = false;
        for (field, at) in fields {
            less |= change.sets.iter().any(|set| set.field == field && set.at <= at);
            self.decided.insert((change.key.clone(), field.name()), at);
        }
        less
    }

    /// Two groups of half its events each.
    fn halves(mut self) -> [Self; 2] {
        let pending = self.pending.split_off(self.pending.len() / 2);
        let (home, decided) = (self.home.clone(), self.decided.clone());
        let second = Self { workspace: self.workspace, home, events: self.events, pending, decided };
        [self, second]
    }
}

impl Recorder {
    /// Records a group, counted in `shard` unless others keep it busy.
    pub(super) async fn record_group(
        &self,
        call: &Call,
        mut group: Group<'_>,
        mut shard: u64,
    ) -> Vec<(usize, Result<Ended>)> {
        let mut results = Vec::with_capacity(group.pending.len());
        let mut contentions = 0;
        while !group.pending.is_empty() {
            let batch = group.batch(shard);
            let damage = match self.send(call, &batch).await {
                Ok(Outcome::Committed) => {
                    self.forget_if_changed(&batch);
                    results.extend(group.all_recorded());
                    return results;
                }
                Ok(Outcome::Refused { taken, late, contended }) => {
                    let mut progress = !taken.is_empty() || contended.is_some();
                    for (place, fields) in late {
                        progress |= group.newer_decided(&batch.directory[place], fields);
                    }
                    results.extend(group.take_out(taken));
                    if let Some(source) = contended {
                        // Another shard may be free, and the next attempt is another transaction anyway.
                        shard = (shard + 1) % COUNTER_SHARDS;
                        if !self.pause(call, contentions).await {
                            results.extend(group.all_failed(Error::Throttled(source)));
                            return results;
                        }
                        contentions += 1;
                    }
                    if progress {
                        continue;
                    }
                    Error::internal("an entry of the directory is neither older nor newer")
                }
                Err(error @ Error::Internal(_)) => error,
                Err(error) => {
                    results.extend(group.all_failed(error));
                    return results;
                }
            };
            if group.pending.len() == 1 {
                results.extend(group.all_failed(damage));
                return results;
            }
            // Something that one of them touches is damaged. It must not keep the others out.
            for half in group.halves() {
                results.extend(Box::pin(self.record_group(call, half, shard)).await);
            }
            return results;
        }
        results
    }

    /// Sends one batch until it is answered. An answer that was lost is asked for again under the same token,
    /// so that a batch that did commit is not refused for its own ids.
    async fn send(&self, call: &Call, batch: &Batch<'_>) -> Result<Outcome> {
        let token = Uuid::new_v4().to_string();
        self.until_answered(call, || self.store.record(batch, &token)).await
    }

    /// Asks the table until it answers, or no time is left.
    pub(super) async fn until_answered<T, F>(&self, call: &Call, ask: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        if Instant::now() >= call.deadline {
            return Err(Error::Unavailable("not begun within the time left".into()));
        }
        let mut attempt = 0;
        loop {
            let late = |_| Err(Error::Unavailable("no answer within the time left".into()));
            match timeout_at(call.deadline, Box::pin(ask())).await.unwrap_or_else(late) {
                Err(error @ (Error::Unavailable(_) | Error::Throttled(_))) => {
                    tracing::warn!(error = error.chain(), attempt, "recording failed for now");
                    if !self.pause(call, attempt).await {
                        return Err(error);
                    }
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Waits a random time up to a bound that doubles with each attempt; false when that leaves no time.
    async fn pause(&self, call: &Call, attempt: u32) -> bool {
        let bound = FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let pause = Duration::from_micros(self.random(micros));
        if Instant::now() + pause >= call.deadline {
            return false;
        }
        call.retries.fetch_add(1, Ordering::Relaxed);
        sleep(pause).await;
        true
    }

    pub(super) fn random(&self, below: u64) -> u64 {
        locked(&self.jitter).u64(..below)
    }

    /// What an activity has just changed is read anew before it is relied on.
    fn forget_if_changed(&self, batch: &Batch<'_>) {
        let entry = keys::directory_workspace(batch.workspace);
        if batch.directory.iter().any(|change| change.key == entry) {
            self.met().remove(batch.workspace);
        }
    }
}
