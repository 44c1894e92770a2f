//! Batches: events of one workspace that one transaction records.

use std::collections::{HashMap, VecDeque};

use domain::directory::{EntryChange, EntryKey, Precedence, organization_of};
use domain::event::InputEvent;
use domain::ids::{OrganizationId, WorkspaceId};
use domain::{Error, Result};
use store::{OrgPartition, PreparedEvent, StoredId, TRANSACTION_ITEMS, Transaction};

/// The most bytes of events in a transaction. Their workspace's partition takes 1,000 write units a second, and a
/// transaction writes each KiB twice, so that the partition might never take more than this at once.
const MAX_BATCH_BYTES: usize = 400 * 1024;
/// The most events in a transaction: an activity and its id item for each, and two counters.
const MAX_BATCH_EVENTS: usize = (TRANSACTION_ITEMS - 2) / 2;

/// The index of an event in the call that records it.
pub(crate) type Index = usize;

/// Where in by-organization the activities of a workspace go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The partition.
    pub(crate) partition: OrgPartition,
    /// Whether the workspace must still be marked as having activities outside its organization's partition.
    pub(crate) needs_marking: bool,
    /// Whether the workspace goes by versions; `None` when it is not known.
    pub(crate) versioned: Option<bool>,
    /// The workspace's organization in the directory.
    pub(crate) organization: Option<OrganizationId>,
}

impl Placement {
    /// Whether the workspace is known.
    pub(crate) fn is_known(&self) -> bool {
        self.versioned.is_some()
    }

    /// Whether the sender of an event may record it for this workspace: for its organization, for the one to which the
    /// event moves it, and, of a workspace that is not known, for the one in which the event creates it.
    pub(crate) fn admits(&self, event: &InputEvent) -> bool {
        let (grants, workspace) = (&event.grants, &event.activity.workspace_id);
        let named = organization_of(&event.activity);
        match (&self.organization, &named) {
            (Some(current), named) => {
                let moves_to = named.as_ref().unwrap_or(current);
                grants.cover(workspace, Some(current)) && grants.cover(workspace, Some(moves_to))
            }
            (None, Some(named)) if !self.is_known() => grants.cover(workspace, Some(named)),
            (None, _) => grants.cover(workspace, None),
        }
    }
}

/// The events of a workspace that are in no batch yet, in the order of time.
#[derive(Debug)]
pub(crate) struct Queue {
    events: VecDeque<(Index, InputEvent)>,
    /// Events that did not fit the batch they were prepared for. They come before all others.
    prepared: Vec<(Index, PreparedEvent)>,
    pub(crate) placement: Placement,
}

impl Queue {
    pub(crate) fn new(events: Vec<(Index, InputEvent)>, placement: Placement) -> Self {
        Self { events: events.into(), prepared: Vec::new(), placement }
    }

    fn pop(&mut self) -> Option<(Index, Result<PreparedEvent>)> {
        match self.prepared.pop() {
            Some((index, event)) => Some((index, Ok(event))),
            None => self.events.pop_front().map(|(index, event)| (index, PreparedEvent::new(event))),
        }
    }

    /// The size of the next event, in bytes.
    fn next_size(&self) -> usize {
        let prepared = self.prepared.last().map(|(_, event)| event.event().size);
        prepared.or_else(|| self.events.front().map(|(_, event)| event.size)).unwrap_or_default()
    }
}

/// Events of one workspace, no two with the same id, that are recorded together.
#[derive(Debug)]
pub(crate) struct Batch {
    placement: Placement,
    events: Vec<(Index, PreparedEvent)>,
    /// The attributes of the directory that say something newer.
    decided: HashMap<(EntryKey, String), Precedence>,
}

impl Batch {
    /// A batch of one event.
    pub(crate) fn single(placement: Placement, index: Index, event: PreparedEvent) -> Self {
        Self { placement, events: vec![(index, event)], decided: HashMap::new() }
    }

    /// Takes as many events out of `queue` as one transaction holds, and the errors of events that cannot be prepared.
    pub(crate) fn fill(workspace: &WorkspaceId, queue: &mut Queue) -> (Self, Vec<(Index, Error)>) {
        let mut batch =
            Self { placement: queue.placement.clone(), events: Vec::new(), decided: HashMap::new() };
        let (mut bytes, mut failed) = (0, Vec::new());
        while batch.events.len() < MAX_BATCH_EVENTS {
            bytes += queue.next_size();
            if bytes > MAX_BATCH_BYTES && !batch.events.is_empty() {
                break;
            }
            match queue.pop() {
                None => break,
                Some((index, Ok(event))) => batch.events.push((index, event)),
                Some((index, Err(error))) => failed.push((index, error)),
            }
        }
        // Events of many days have more counters, and some events change the directory.
        while batch.transaction(workspace, 0).len() > TRANSACTION_ITEMS {
            queue.prepared.extend(batch.events.pop());
        }
        (batch, failed)
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it has no events.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The transaction that records it and counts it in `shard`.
    pub(crate) fn transaction<'a>(&'a self, workspace: &'a WorkspaceId, shard: u64) -> Transaction<'a> {
        Transaction {
            workspace,
            events: self.events.iter().map(|(_, event)| event).collect(),
            partition: self.placement.partition.clone(),
            directory: self.directory(workspace),
            shard,
            judged_by: self.judged_by(),
        }
    }

    /// The organization that must still be the workspace's, when a grant was judged by it.
    fn judged_by(&self) -> Option<Option<OrganizationId>> {
        let is_judged = self.events.iter().any(|(_, event)| event.event().grants.organizations.is_some());
        is_judged.then(|| self.placement.organization.clone())
    }

    /// Puts the batch where the workspace's activities go now, and takes out the events that may not be recorded there.
    pub(crate) fn move_to(&mut self, placement: Placement) -> Vec<(Index, PreparedEvent)> {
        let may = |event: &PreparedEvent| placement.admits(event.event());
        let (rest, out) = std::mem::take(&mut self.events).into_iter().partition(|(_, event)| may(event));
        (self.events, self.placement) = (rest, placement);
        out
    }

    fn directory(&self, workspace: &WorkspaceId) -> Vec<EntryChange> {
        // An event that names another organization leaves the workspace with activities in two organizations' partitions.
        let moves = |(_, event): &(Index, PreparedEvent)| {
            let named = event.organization();
            named.is_some_and(|named| self.placement.partition != OrgPartition::Organization(named.clone()))
        };
        let needs_marking = self.placement.needs_marking || self.events.iter().any(moves);
        let mut changes: Vec<EntryChange> = Vec::new();
        let marking = needs_marking.then(|| EntryChange::unclaimed(workspace));
        let of_events = self.events.iter().flat_map(|(_, event)| event.changes().iter().cloned());
        for change in marking.into_iter().chain(of_events) {
            match changes.iter_mut().find(|other| other.entry == change.entry) {
                Some(other) => other.merge(change),
                None => changes.push(change),
            }
        }
        for EntryChange { entry, fields, .. } in &mut changes {
            fields.retain(|change| {
                let newer = self.decided.get(&(entry.clone(), change.attribute()));
                newer.is_none_or(|newer| change.at > *newer)
            });
        }
        changes.retain(|change| !change.fields.is_empty() || change.unclaimed);
        changes
    }

    /// Notes that attributes of a change say something newer. Returns whether that leaves less to change.
    pub(crate) fn newer_decided(
        &mut self,
        change: &EntryChange,
        attributes: Vec<(String, Precedence)>,
    ) -> bool {
        let mut less = false;
        for (attribute, at) in attributes {
            less |= change.fields.iter().any(|change| change.attribute() == attribute && change.at <= at);
            self.decided.insert((change.entry.clone(), attribute), at);
        }
        less
    }

    /// Takes out the events that change these entries.
    pub(crate) fn take_out_changes_of(&mut self, entries: &[EntryKey]) -> Vec<(Index, PreparedEvent)> {
        let changes =
            |event: &PreparedEvent| event.changes().iter().any(|change| entries.contains(&change.entry));
        let (out, rest) = std::mem::take(&mut self.events).into_iter().partition(|(_, event)| changes(event));
        self.events = rest;
        out
    }

    /// Takes out the events whose ids are taken, given by their index in the transaction.
    pub(crate) fn take_out(&mut self, taken: Vec<(usize, StoredId)>) -> Vec<(Index, InputEvent, StoredId)> {
        let mut taken: HashMap<usize, StoredId> = taken.into_iter().collect();
        let mut out = Vec::with_capacity(taken.len());
        for (at, (index, event)) in std::mem::take(&mut self.events).into_iter().enumerate() {
            match taken.remove(&at) {
                Some(stored) => out.push((index, event.into_parts().0, stored)),
                None => self.events.push((index, event)),
            }
        }
        out
    }

    /// All its events.
    pub(crate) fn into_events(self) -> impl Iterator<Item = (Index, PreparedEvent)> {
        self.events.into_iter()
    }

    /// Two batches of half its events each.
    pub(crate) fn halves(mut self) -> [Self; 2] {
        let events = self.events.split_off(self.events.len() / 2);
        let (placement, decided) = (self.placement.clone(), self.decided.clone());
        [self, Self { placement, events, decided }]
    }
}
