//! Records the events of one workspace: in as few transactions as hold them, retried until the deadline.

use std::collections::HashMap;
use std::sync::Mutex;

use domain::activity::Activity;
use domain::directory::{self, EntryKey, Superseded, creates_workspace, organization_of};
use domain::error::{Forbidden, Missing};
use domain::event::InputEvent;
use domain::ids::{ActivityId, OrganizationId, WorkspaceId};
use domain::position::TimePosition;
use domain::{Error, Result, fingerprint};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use store::{COUNTER_SHARDS, OrgPartition, PreparedEvent, StoredId, Transaction, TransactionOutcome};
use uuid::Uuid;

use crate::batch::{Batch, Index, Placement, Queue};
use crate::{Call, Recorded, Recorder, WriteOutcome, effect, locked, taken};

/// Activities that are read at once to find out who recorded them.
const MAX_CONCURRENT_LOOKUPS: usize = 8;

const NOT_GRANTED: Error = Error::Forbidden(Forbidden::RecordThere);

/// Records the events of one workspace, as part of one call.
pub(crate) struct Writer<'a> {
    recorder: &'a Recorder,
    call: &'a Call,
    workspace: WorkspaceId,
    /// Events whose id is also that of an event before them. They are held against whatever is then in the log.
    duplicates: Mutex<HashMap<ActivityId, Vec<(Index, InputEvent)>>>,
    results: Mutex<Vec<(Index, Result<WriteOutcome>)>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(recorder: &'a Recorder, call: &'a Call, workspace: WorkspaceId) -> Self {
        Self { recorder, call, workspace, duplicates: Mutex::default(), results: Mutex::default() }
    }

    /// Records the events, and returns the result of each.
    pub(crate) async fn run(self, events: Vec<(Index, InputEvent)>) -> Vec<(Index, Result<WriteOutcome>)> {
        let mut events = self.set_duplicates_aside(events);
        // In the order of time, a transaction has the fewest counters.
        events.sort_by_key(|(_, event)| event.activity.created_at);
        let mut placement = self.recorder.placement(self.call, &self.workspace).await;
        if let Ok(standing) = &placement
            && (!standing.is_known() || standing.partition == OrgPartition::Unclaimed)
        {
            let goes_first = |event: &InputEvent| match standing.is_known() {
                true => organization_of(&event.activity).is_some(),
                false => creates_workspace(&event.activity),
            };
            let (first, rest): (Vec<_>, Vec<_>) =
                events.into_iter().partition(|(_, event)| goes_first(event));
            events = rest;
            let first = self.set_refused_aside(first, standing);
            if !first.is_empty() {
                self.record_creations(first, standing).await;
                placement = self.recorder.placement(self.call, &self.workspace).await;
            }
        }
        if matches!(&placement, Ok(placement) if !placement.is_known())
            && !self.recorder.allows_unknown_workspaces
        {
            placement = Err(self.unknown_workspace());
        }
        match placement {
            Ok(placement) => {
                let events = self.set_refused_aside(events, &placement);
                let queue = Mutex::new(Queue::new(events, placement));
                // Transactions of one workspace conflict at its counters, unless each has a shard of its own.
                let first = self.recorder.store.jitter().below(COUNTER_SHARDS);
                let (writer, queue) = (&self, &queue);
                let lanes = (0..COUNTER_SHARDS).map(|lane| async move {
                    let shard = (first + lane) % COUNTER_SHARDS;
                    while let Some(batch) = writer.next_batch(queue) {
                        // The marking is done once anything was committed together with it.
                        if writer.commit(batch, shard).await {
                            locked(queue).placement.needs_marking = false;
                        }
                    }
                });
                join_all(lanes).await;
            }
            Err(error) => {
                events.into_iter().for_each(|(index, event)| self.fail(index, &event, &error));
            }
        }
        self.results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sets aside all events but the first of each id.
    fn set_duplicates_aside(&self, events: Vec<(Index, InputEvent)>) -> Vec<(Index, InputEvent)> {
        let mut first_of = HashMap::new();
        for (index, event) in &events {
            first_of.entry(event.activity.id.clone()).or_insert(*index);
        }
        let mut duplicates = locked(&self.duplicates);
        let mut firsts = Vec::with_capacity(first_of.len());
        for (index, event) in events {
            if first_of.get(&event.activity.id) == Some(&index) {
                firsts.push((index, event));
            } else {
                duplicates.entry(event.activity.id.clone()).or_default().push((index, event));
            }
        }
        firsts
    }

    /// Records the events that create the workspace, which already belong to the organization that they name. Each goes
    /// alone and before all others, because nothing may rely on what it says until it is recorded.
    async fn record_creations(&self, events: Vec<(Index, InputEvent)>, standing: &Placement) {
        let named: Vec<Option<OrganizationId>> =
            events.iter().map(|(_, event)| organization_of(&event.activity)).collect();
        let first = named.iter().flatten().next().cloned();
        for ((index, event), organization) in events.into_iter().zip(named) {
            let placement = match organization {
                Some(organization) => Placement {
                    needs_marking: first.as_ref() != Some(&organization),
                    partition: OrgPartition::Organization(organization),
                    ..standing.clone()
                },
                None => standing.clone(),
            };
            match PreparedEvent::new(event) {
                Ok(event) => {
                    let shard = self.recorder.store.jitter().below(COUNTER_SHARDS);
                    self.commit(Batch::single(placement, index, event), shard).await;
                }
                Err(error) => self.push(index, Err(error)),
            }
        }
    }

    /// The error of the events of an unknown workspace, once those that create it were tried.
    fn unknown_workspace(&self) -> Error {
        let is_ours =
            |(_, result): &(Index, Result<WriteOutcome>)| matches!(result, Err(error) if error.is_ours());
        if locked(&self.results).iter().any(is_ours) {
            return Error::Unavailable("the event that creates the workspace was not recorded".into());
        }
        Error::NotFound(Missing::RecordedWorkspace)
    }

    /// The next batch of the queue; `None` once the queue is empty.
    fn next_batch(&self, queue: &Mutex<Queue>) -> Option<Batch> {
        let (batch, failed) = Batch::fill(&self.workspace, &mut locked(queue));
        let is_done = batch.is_empty() && failed.is_empty();
        failed.into_iter().for_each(|(index, error)| self.push(index, Err(error)));
        (!is_done).then_some(batch)
    }

    /// Records a batch, counted in `shard` unless other transactions keep that busy. Returns whether any event of it is
    /// new in the log.
    async fn commit(&self, mut batch: Batch, mut shard: u64) -> bool {
        let mut contention = self.recorder.backoff();
        while !batch.is_empty() {
            let transaction = batch.transaction(&self.workspace, shard);
            // A retry after a lost answer has the same token, so that a transaction which did commit is not refused for
            // its own ids.
            let token = Uuid::new_v4().to_string();
            let record = || self.recorder.store.record(&transaction, &token);
            let damage = match self.recorder.until_answered(self.call, record).await {
                Ok(TransactionOutcome::Committed) => {
                    self.forget_if_changed(&transaction);
                    let recorded = batch.into_events().map(|(index, event)| {
                        let (event, stored) = event.into_parts();
                        (index, event, stored)
                    });
                    self.finish(recorded.collect(), true).await;
                    return true;
                }
                Ok(TransactionOutcome::Refused { taken, late, misordered, moved, contended }) => {
                    let mut has_progress =
                        !taken.is_empty() || !misordered.is_empty() || moved || contended.is_some();
                    let directory = transaction.directory;
                    for (at, attributes) in late {
                        has_progress |= batch.newer_decided(&directory[at], attributes);
                    }
                    let repeats = batch.take_out(taken);
                    let misordered: Vec<EntryKey> =
                        misordered.into_iter().map(|at| directory[at].entry.clone()).collect();
                    for (index, event) in batch.take_out_changes_of(&misordered) {
                        self.recorder.forget_placement(&self.workspace);
                        self.fail(index, event.event(), &other_order(event.event()));
                    }
                    self.finish(repeats, false).await;
                    if moved {
                        self.recorder.forget_placement(&self.workspace);
                        match self.recorder.placement(self.call, &self.workspace).await {
                            Ok(placement) => batch
                                .move_to(placement)
                                .into_iter()
                                .for_each(|(index, event)| self.fail(index, event.event(), &NOT_GRANTED)),
                            Err(error) => {
                                self.fail_all(batch, &error);
                                return false;
                            }
                        }
                    }
                    if let Some(source) = contended {
                        // The other shard may be free, and the next attempt is another transaction anyway.
                        shard = (shard + 1) % COUNTER_SHARDS;
                        if !self.call.wait(&mut contention).await {
                            self.fail_all(batch, &Error::Throttled(source));
                            return false;
                        }
                    }
                    if has_progress {
                        continue;
                    }
                    Error::internal("an entry of the directory is neither older nor newer")
                }
                Err(error @ Error::Internal(_)) => error,
                Err(error) => {
                    self.fail_all(batch, &error);
                    return false;
                }
            };
            if batch.len() == 1 {
                self.fail_all(batch, &damage);
                return false;
            }
            // One of the events touches a damaged item. The halves keep it from failing the others.
            let mut is_any_new = false;
            for half in batch.halves() {
                is_any_new |= Box::pin(self.commit(half, shard)).await;
            }
            return is_any_new;
        }
        false
    }

    /// The results of events, and of their duplicates, given what is in the log under their ids.
    async fn finish(&self, events: Vec<(Index, InputEvent, StoredId)>, is_new: bool) {
        let of_ids: Vec<_> = events
            .into_iter()
            .map(|(index, event, stored)| self.outcomes(index, event, stored, is_new))
            .collect();
        let of_ids = stream::iter(of_ids).buffered(MAX_CONCURRENT_LOOKUPS).collect::<Vec<_>>().await;
        let outcomes: Vec<(Index, Result<WriteOutcome>)> = of_ids.into_iter().flatten().collect();
        let recorded: Vec<&WriteOutcome> =
            outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
        let effects = effect::superseded(self.recorder, self.call, &recorded).await;
        let mut effects = effects.map(Vec::into_iter);
        for (index, outcome) in outcomes {
            let outcome = outcome.and_then(|outcome| match &mut effects {
                Ok(effects) => Ok(outcome.with_effect(effects.next().flatten())),
                // It is in the log, and a repeat will say whether it holds.
                Err(error) => Err(error.duplicate()),
            });
            self.push(index, outcome);
        }
    }

    /// The outcomes of an event and of its duplicates, given what is in the log under their id. It reads the activity that is
    /// there if any of them has other content, or if the recorder answers repeats with it.
    async fn outcomes(
        &self,
        index: Index,
        event: InputEvent,
        stored: StoredId,
        is_new: bool,
    ) -> Vec<(Index, Result<WriteOutcome>)> {
        let duplicates = locked(&self.duplicates).remove(&event.activity.id).unwrap_or_default();
        let all = std::iter::once((index, event)).chain(duplicates);
        let all: Vec<_> = all.map(|(at, event)| (at, is_same(&event, &stored), event)).collect();
        let are_same = all.iter().all(|(_, is_same, _)| *is_same);
        let reads_repeats = self.recorder.reads_repeats;
        let first = &all[0].2.activity;
        let found = match is_new {
            true => Ok((all.len() > 1).then(|| first.clone())),
            false if are_same && !reads_repeats => Ok(None),
            false => {
                let position = TimePosition { created_at: stored.created_at, id: first.id.clone() };
                taken::stored(self.recorder, self.call, &self.workspace, &position).await
            }
        };
        let outcome = |(at, is_same, event): (Index, bool, InputEvent)| {
            let is_repeat = !is_new || at != index;
            let outcome = match &found {
                _ if is_same && !(is_repeat && reads_repeats) => {
                    Ok(recorded(event.activity, is_repeat, &stored))
                }
                Ok(found) if is_same => {
                    Ok(recorded(found.clone().unwrap_or(event.activity), is_repeat, &stored))
                }
                Ok(found) => Err(taken::conflict(&event, found.as_ref())),
                Err(error) => Err(error.duplicate()),
            };
            (at, outcome)
        };
        all.into_iter().map(outcome).collect()
    }

    /// Fails the events that their senders may not record here, and those about the directory that come without a version
    /// to a workspace that goes by versions, or with one to a workspace that goes by time. Returns the others.
    fn set_refused_aside(
        &self,
        events: Vec<(Index, InputEvent)>,
        placement: &Placement,
    ) -> Vec<(Index, InputEvent)> {
        let refusal = |event: &InputEvent| {
            let has_version = event.activity.version.is_some();
            let is_misordered = placement.versioned.is_some_and(|versioned| versioned != has_version)
                && directory::is_changed_by(&event.activity);
            // Members of a workspace that somebody else will create would be members of theirs.
            let is_premature = !placement.is_known() && directory::is_membership(&event.activity);
            match placement.admits(event) {
                false => Some(NOT_GRANTED),
                true if is_premature => Some(self.unknown_workspace()),
                true => is_misordered.then(|| other_order(event)),
            }
        };
        let mut others = Vec::with_capacity(events.len());
        for (index, event) in events {
            match refusal(&event) {
                Some(error) => self.fail(index, &event, &error),
                None => others.push((index, event)),
            }
        }
        others
    }

    fn fail_all(&self, batch: Batch, error: &Error) {
        batch.into_events().for_each(|(index, event)| self.fail(index, event.event(), error));
    }

    /// Fails an event, and its duplicates with it.
    fn fail(&self, index: Index, event: &InputEvent, error: &Error) {
        self.push(index, Err(error.duplicate()));
        let duplicates = locked(&self.duplicates).remove(&event.activity.id).unwrap_or_default();
        for (index, _) in duplicates {
            let failed =
                || Error::Unavailable("the event before it with the same id was not recorded".into());
            self.push(index, Err(if error.is_ours() { failed() } else { error.duplicate() }));
        }
    }

    fn push(&self, index: Index, result: Result<WriteOutcome>) {
        locked(&self.results).push((index, result));
    }

    /// Drops the cached placement of the workspace when a transaction has changed the entry that it was read from.
    fn forget_if_changed(&self, transaction: &Transaction<'_>) {
        let entry = EntryKey::workspace(&self.workspace);
        if transaction.directory.iter().any(|change| change.entry == entry) {
            self.recorder.forget_placement(&self.workspace);
        }
    }
}

/// Whether an event says what is in the log under its id.
fn is_same(event: &InputEvent, stored: &StoredId) -> bool {
    // A time that the producer did not give is ours, and differs from one delivery to the next.
    let is_same_time = !event.timed || event.activity.created_at == stored.created_at;
    // An event that was just recorded has the fingerprint itself. Any other one has another salt.
    let is_same_content = || {
        event.fingerprint == stored.fingerprint
            || fingerprint::matches(&stored.fingerprint, &event.activity).is_ok_and(|is_same| is_same)
    };
    is_same_time && is_same_content()
}

/// The outcome of an activity that is in the log.
fn recorded(activity: Activity, is_repeat: bool, stored: &StoredId) -> WriteOutcome {
    let activity = Activity { created_at: stored.created_at, ..activity };
    let recorded = Recorded { activity, superseded: None };
    if is_repeat { WriteOutcome::Repeat(recorded) } else { WriteOutcome::New(recorded) }
}

impl WriteOutcome {
    fn with_effect(mut self, superseded: Option<Superseded>) -> Self {
        let (Self::New(recorded) | Self::Repeat(recorded)) = &mut self;
        recorded.superseded = superseded;
        self
    }
}

/// The error of an event about the directory that comes with a version to a workspace without, or the other way round.
fn other_order(event: &InputEvent) -> Error {
    let detail = match event.activity.version {
        Some(_) => "must be absent: this workspace goes by time, as its first event had no version",
        None => "is required: this workspace goes by versions, as its first event had one",
    };
    Error::bad_input("version", detail)
}
