//! What one workspace's activities, id items and indexes say, brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use aws_sdk_dynamodb::types::AttributeValue;

use super::counters::Counters;
use super::{BY_ORGANIZATION, Fault, INDEXES, Wrong, text};
use crate::activity::Activity;
use crate::ids::{ActivityId, WorkspaceId};
use crate::store::item::{self, STAFF};
use crate::store::{Item, write};
use crate::time::Timestamp;
use crate::{Error, directory, event, keys};

/// One workspace.
#[derive(Default)]
pub(super) struct Ledger {
    /// By id, then time: what belongs together meets here, in whatever order it is read.
    entries: BTreeMap<(ActivityId, Timestamp), Entry>,
    /// Activities whose id items cannot be read.
    unreadable: BTreeSet<ActivityId>,
    /// Partitions of by-organization that the workspace was said to belong to.
    organizations: BTreeSet<String>,
    /// Whether any activity is in the partition of those without an organization.
    unclaimed: bool,
    pub(super) counters: Counters,
}

/// What is known of an id and a time. There is one of these for each activity, so it is small: content is compared by
/// 64 bits of it, which passes one in 2^64 differences.
#[derive(Default)]
struct Entry {
    /// Digest of the item.
    content: u64,
    /// Digest of the fingerprint, by whichever was read first of the activity and its id item.
    fingerprint: u64,
    /// Whether one of them was read.
    met: bool,
    /// Whether the other has another fingerprint.
    disagree: bool,
    activity: bool,
    id_item: bool,
    staff: bool,
    /// A bit for each index that must hold it, and was not yet seen to.
    indexes: u8,
}

impl Entry {
    fn meet(&mut self, fingerprint: &str) {
        let digest = digest(|hasher| fingerprint.hash(hasher));
        self.disagree = self.met && self.fingerprint != digest;
        (self.fingerprint, self.met) = (digest, true);
    }
}

impl Ledger {
    /// Whether there may be activities outside the organization's partition: from before it was known, or from before
    /// another was.
    pub(super) fn is_scattered(&self) -> bool {
        self.unclaimed || self.organizations.len() > 1
    }

    /// Takes in an activity, and says what is wrong with its attributes.
    ///
    /// # Errors
    /// It cannot be read; what its key says is taken in all the same.
    pub(super) fn activity(
        &mut self,
        workspace: &WorkspaceId,
        (id, time): (&ActivityId, Timestamp),
        item: &Item,
    ) -> Result<(Activity, Vec<Wrong>), Wrong> {
        let entry = self.entries.entry((id.clone(), time)).or_default();
        entry.activity = true;
        entry.content = content(item);
        let staff = AttributeValue::Bool(true);
        entry.staff = item.get(STAFF) == Some(&staff);
        for (index, (_, attribute)) in INDEXES.iter().enumerate() {
            entry.indexes |= u8::from(item.contains_key(*attribute)) << index;
        }
        let unclaimed = keys::unclaimed(workspace);
        let org_key = text(item, keys::ORGANIZATION);
        self.unclaimed |= org_key == unclaimed;

        let org_key = if org_key.is_empty() { &unclaimed } else { org_key };
        let (pk, sk) = (text(item, keys::PK), text(item, keys::SK));
        let read = item::read(item.clone(), pk, sk).and_then(|activity| {
            Ok((item::encode(&activity, org_key)?, event::fingerprint(&activity)?, activity))
        });
        let (mut again, fingerprint, activity) = read.map_err(|error| Wrong::Unreadable(why(&error)))?;
        // A fact of the time of recording: the catalog may have changed since.
        again.remove(STAFF);
        if entry.staff {
            again.insert(STAFF.into(), staff);
        }
        entry.meet(&fingerprint);
        let organization = directory::organization_of(&activity);
        self.organizations.extend(organization.map(|organization| keys::organization(&organization)));
        Ok((activity, compare(item, &again)))
    }

    /// Takes in an id item.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn id_item(
        &mut self,
        workspace: &WorkspaceId,
        id: &ActivityId,
        item: Item,
    ) -> Result<(), Wrong> {
        let stored = write::stored_id(item.clone()).map_err(|error| why(&error));
        let stored = stored.and_then(|stored| {
            let exact = write::id_item(workspace, id, &stored) == item;
            if exact { Ok(stored) } else { Err("it is not as it would be written".into()) }
        });
        let stored = stored.map_err(|why| {
            self.unreadable.insert(id.clone());
            Wrong::UnreadableIdItem(why)
        })?;
        let entry = self.entries.entry((id.clone(), stored.created_at)).or_default();
        entry.id_item = true;
        entry.meet(&stored.fingerprint);
        Ok(())
    }

    /// Takes in an item of an index, after all those of the table.
    pub(super) fn indexed(
        &mut self,
        index: usize,
        workspace: &WorkspaceId,
        (id, time): (&ActivityId, Timestamp),
        item: &Item,
    ) -> Option<Wrong> {
        let (name, bit) = (INDEXES[index].0, 1 << index);
        let entry = self.entries.get_mut(&(id.clone(), time)).filter(|entry| entry.indexes & bit != 0);
        let Some(entry) = entry else { return Some(Wrong::OnlyIndexed(name, time)) };
        entry.indexes &= !bit;
        if entry.content != content(item) {
            return Some(Wrong::IndexDiffers(name));
        }
        let org_key = text(item, keys::ORGANIZATION);
        let ours = || org_key == keys::unclaimed(workspace) || self.organizations.contains(org_key);
        (index == BY_ORGANIZATION && !ours()).then(|| Wrong::ForeignOrganization(org_key.to_owned()))
    }

    /// The counters that do not count what is there.
    pub(super) fn miscounted(&self, workspace: &WorkspaceId) -> Vec<Fault> {
        let activities = self.entries.iter().filter(|(_, entry)| entry.activity);
        self.counters.compare(workspace, activities.map(|((_, time), entry)| (*time, entry.staff)))
    }

    /// The ids of the activities, and what is wrong with them, their id items and their places in indexes.
    pub(super) fn ids(self) -> (Vec<ActivityId>, Vec<(ActivityId, Wrong)>) {
        let (mut ids, mut faults) = (Vec::new(), Vec::new());
        let mut entries = self.entries.into_iter().peekable();
        while let Some(((id, time), entry)) = entries.next() {
            let mut same = vec![(time, entry)];
            while let Some(((_, time), entry)) = entries.next_if(|((other, _), _)| *other == id) {
                same.push((time, entry));
            }
            let wrong = disagreements(&same, self.unreadable.contains(&id));
            faults.extend(wrong.into_iter().map(|wrong| (id.clone(), wrong)));
            if same.iter().any(|(_, entry)| entry.activity) {
                ids.push(id);
            }
        }
        (ids, faults)
    }
}

/// What is wrong among all there is of one id.
fn disagreements(same: &[(Timestamp, Entry)], unreadable_id_item: bool) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let times: Vec<Timestamp> =
        same.iter().filter(|(_, entry)| entry.activity).map(|(time, _)| *time).collect();
    // A partition key of its own holds it, so there is at most one.
    let id_item = same.iter().find(|(_, entry)| entry.id_item);
    match (times.first(), id_item) {
        (Some(_), None) if !unreadable_id_item => wrong.push(Wrong::NoIdItem),
        (Some(_), Some((_, entry))) if entry.disagree => wrong.push(Wrong::OtherContent),
        (Some(&there), Some((id_item, entry))) if !entry.activity => {
            wrong.push(Wrong::OtherTime { there, id_item: *id_item });
        }
        (None, _) => wrong.push(Wrong::NoActivity),
        _ => {}
    }
    if times.len() > 1 {
        wrong.push(Wrong::Repeated(times));
    }
    for (index, (name, _)) in INDEXES.iter().enumerate() {
        let missing = same.iter().filter(|(_, entry)| entry.indexes & 1 << index != 0);
        wrong.extend(missing.map(|_| Wrong::NotIndexed(name)));
    }
    wrong
}

/// How an item differs from what it should be.
fn compare(item: &Item, right: &Item) -> Vec<Wrong> {
    let missing = right.keys().filter(|name| !item.contains_key(*name)).cloned().map(Wrong::Missing);
    let others = item.iter().filter_map(|(name, value)| match right.get(name) {
        None => Some(Wrong::Unknown(name.clone())),
        Some(right) => (value != right).then(|| Wrong::Different(name.clone())),
    });
    missing.chain(others).collect()
}

fn why(error: &Error) -> String {
    match error {
        Error::Internal(source) => source.to_string(),
        error => error.to_string(),
    }
}

fn digest(write: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    write(&mut hasher);
    hasher.finish()
}

/// A digest of everything in an item.
fn content(item: &Item) -> u64 {
    digest(|hasher| hash_map(item, hasher))
}

fn hash_map(map: &Item, hasher: &mut DefaultHasher) {
    let mut names: Vec<_> = map.iter().collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    names.len().hash(hasher);
    for (name, value) in names {
        name.hash(hasher);
        hash_value(value, hasher);
    }
}

fn hash_value(value: &AttributeValue, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.hash(hasher),
        AttributeValue::Bool(flag) => flag.hash(hasher),
        AttributeValue::L(values) => {
            values.len().hash(hasher);
            values.iter().for_each(|value| hash_value(value, hasher));
        }
        AttributeValue::M(map) => hash_map(map, hasher),
        // The others have no order of their own to lose, and activities do not have them.
        other => format!("{other:?}").hash(hasher),
    }
}
