//! One workspace's activities, id items and index entries, held against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use aws_sdk_dynamodb::types::AttributeValue;

use domain::activity::Activity;
use domain::ids::{ActivityId, WorkspaceId};
use domain::json::Details;
use domain::position::TimePosition;
use domain::time::Timestamp;
use domain::{Error, directory, event, fingerprint};

use super::counters::Counters;
use super::{Fault, Wrong, text};
use crate::item::{self, STAFF};
use crate::keys::{Index, OrgPartition, org_partition, organization};
use crate::{Item, string, write};

/// Everything that was read of one workspace.
#[derive(Default)]
pub(super) struct WorkspaceCheck {
    /// Everything known of each id and time, so that items which belong together meet in whatever order they are read.
    entries: BTreeMap<(ActivityId, Timestamp), Entry>,
    /// Activities whose id items cannot be read.
    unreadable: BTreeSet<ActivityId>,
    /// Partitions of by-organization that the workspace was said to belong to.
    organizations: BTreeSet<String>,
    /// Whether any activity is in the partition of those without an organization.
    unclaimed: bool,
    pub(super) counters: Counters,
}

/// Everything known of an id and a time. It is small, because there is one for each activity: contents are compared by 64
/// bits of digest, which misses one difference in 2^64.
#[derive(Default)]
struct Entry {
    /// Digest of the item.
    content: u64,
    /// Digest of the fingerprint of the activity or of its id item, whichever was read first.
    fingerprint: u64,
    /// Whether one of both was read.
    has_fingerprint: bool,
    /// Whether the other has another fingerprint.
    disagree: bool,
    activity: bool,
    id_item: bool,
    staff: bool,
    /// A bit for each index that must hold the activity and was not yet seen to.
    indexes: u8,
}

impl Entry {
    fn compare_fingerprint(&mut self, fingerprint: &str) {
        let digest = digest(|hasher| fingerprint.hash(hasher));
        self.disagree = self.has_fingerprint && self.fingerprint != digest;
        (self.fingerprint, self.has_fingerprint) = (digest, true);
    }
}

impl WorkspaceCheck {
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
        TimePosition { created_at, id }: &TimePosition,
        item: &Item,
    ) -> Result<(Activity, Vec<Wrong>), Wrong> {
        let entry = self.entries.entry((id.clone(), *created_at)).or_default();
        entry.activity = true;
        entry.content = content(item);
        let staff = AttributeValue::Bool(true);
        entry.staff = item.get(STAFF) == Some(&staff);
        for index in Index::ALL {
            if item.contains_key(index.attribute()) {
                entry.indexes |= bit(index);
            }
        }
        let unclaimed = org_partition(workspace, &OrgPartition::Unclaimed);
        let org_key = text(item, Index::Organization.attribute());
        self.unclaimed |= org_key == unclaimed;

        let org_key = if org_key.is_empty() { &unclaimed } else { org_key };
        let (pk, sk) = (text(item, crate::keys::PK), text(item, crate::keys::SK));
        let read = item::read(item.clone(), pk, sk).and_then(|mut activity| {
            // The recorder writes compact JSON, with each member once.
            activity.details = Details::of(activity.details.members())?;
            let mut again = item::encode(&activity)?;
            item::index(&activity, &OrgPartition::Unclaimed, &mut again);
            again.insert(Index::Organization.attribute().into(), string(org_key));
            Ok((again, fingerprint::of(&activity)?, activity))
        });
        let (mut again, fingerprint, activity) = read.map_err(|error| Wrong::Unreadable(why(&error)))?;
        // Recording decided this by the catalog, which may have changed since, unless the event said what it wants.
        if activity.audience.is_none() {
            again.remove(STAFF);
            if entry.staff {
                again.insert(STAFF.into(), staff);
            }
        }
        entry.compare_fingerprint(&fingerprint);
        let named = directory::organization_of(&activity);
        self.organizations.extend(named.map(|named| organization(&named)));
        let mut wrong = compare(item, &again);
        let recorded_at = activity.recorded.as_ref().map(|recorded| recorded.recorded_at);
        let too_early = recorded_at.filter(|at| at.plus(event::MAX_AHEAD) < activity.created_at);
        wrong.extend(too_early.map(Wrong::RecordedBefore));
        Ok((activity, wrong))
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
        entry.compare_fingerprint(&stored.fingerprint);
        Ok(())
    }

    /// Takes in an item of an index, after all those of the table.
    pub(super) fn indexed(
        &mut self,
        index: Index,
        workspace: &WorkspaceId,
        TimePosition { created_at, id }: &TimePosition,
        item: &Item,
    ) -> Option<Wrong> {
        let (name, bit) = (index.name(), bit(index));
        let entry = self.entries.get_mut(&(id.clone(), *created_at)).filter(|entry| entry.indexes & bit != 0);
        let Some(entry) = entry else { return Some(Wrong::OnlyIndexed(name, *created_at)) };
        entry.indexes &= !bit;
        if entry.content != content(item) {
            return Some(Wrong::IndexDiffers(name));
        }
        let org_key = text(item, Index::Organization.attribute());
        let unclaimed = || org_partition(workspace, &OrgPartition::Unclaimed);
        let ours = || org_key == unclaimed() || self.organizations.contains(org_key);
        (index == Index::Organization && !ours()).then(|| Wrong::ForeignOrganization(org_key.to_owned()))
    }

    /// The counters that do not count what is there.
    pub(super) fn miscounted(&self, workspace: &WorkspaceId) -> Vec<Fault> {
        let activities = self.entries.iter().filter(|(_, entry)| entry.activity);
        self.counters.compare(workspace, activities.map(|((_, time), entry)| (*time, entry.staff)))
    }

    /// The ids of the activities, and what is wrong with them, their id items and their index entries.
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

/// The bit of an index in [`Entry::indexes`].
fn bit(index: Index) -> u8 {
    1 << (index as u8)
}

/// Everything wrong with the items of one id.
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
    for index in Index::ALL {
        let missing = same.iter().filter(|(_, entry)| entry.indexes & bit(index) != 0);
        wrong.extend(missing.map(|_| Wrong::NotIndexed(index.name())));
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
