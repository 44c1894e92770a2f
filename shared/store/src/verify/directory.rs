//! The directory, held against the activities that it is a projection of.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use domain::directory::{EntryChange, EntryKey, EntryKind};
use domain::ids::WorkspaceId;

use super::Fault;
use crate::directory::{AT, UNCLAIMED, VALUE, VERSIONED, encode};
use crate::{Item, keys};

/// Attributes by name, each as a text: its value, and when it was said.
type Fields = Vec<(String, String)>;

/// For each entry, its fields in the table, and its fields as the log gives them.
#[derive(Default)]
pub(super) struct Directory(BTreeMap<EntryKey, (Option<Fields>, Option<EntryChange>)>);

impl Directory {
    /// Takes in an entry that the table has.
    pub(super) fn entry(&mut self, key: EntryKey, item: &Item) {
        let fields = item.iter().filter(|(name, _)| *name != keys::PK && *name != keys::SK);
        let fields = fields.map(|(name, value)| (name.clone(), shown(value))).collect();
        self.0.entry(key).or_default().0 = Some(fields);
    }

    /// Takes in what an activity changes. Activities may come in any order, because the later decides a field of both.
    pub(super) fn replay(&mut self, change: EntryChange) {
        match &mut self.0.entry(change.entry.clone()).or_default().1 {
            Some(log) => log.merge(change),
            log => *log = Some(change),
        }
    }

    /// Takes in that a workspace has activities outside its organization's partition.
    pub(super) fn unclaimed(&mut self, workspace: &WorkspaceId) {
        self.replay(EntryChange::unclaimed(workspace));
    }

    /// Where the table and the log differ.
    pub(super) fn contradictions(self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (entry, (found, log)) in self.0 {
            match (found, log) {
                (None, _) => faults.push(Fault::NoEntry(entry)),
                (_, None) => faults.push(Fault::StrayEntry(entry)),
                (Some(found), Some(log)) => {
                    for (field, (found, log)) in differences(found, &log) {
                        faults.push(Fault::Directory { entry: entry.clone(), field, found, log });
                    }
                }
            }
        }
        faults
    }
}

/// The fields that the table has otherwise than the log, with what each says of them.
fn differences(found: Fields, log: &EntryChange) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let mut fields: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for (name, text) in found {
        fields.entry(name).or_default().0 = Some(text);
    }
    for change in &log.fields {
        fields.entry(change.attribute()).or_default().1 = Some(shown(&encode(change)));
    }
    if log.entry.kind == EntryKind::Workspace && log.is_versioned() {
        fields.entry(VERSIONED.into()).or_default().1 = Some(shown(&AttributeValue::Bool(true)));
    }
    if log.unclaimed {
        fields.entry(UNCLAIMED.into()).or_default().1 = Some(shown(&AttributeValue::Bool(true)));
    }
    fields.retain(|_, (found, log)| found != log);
    fields
}

/// An attribute as a text, equal for equal attributes only.
fn shown(value: &AttributeValue) -> String {
    let field = match value {
        AttributeValue::M(map) if map.len() == 2 => map.get(VALUE).zip(map.get(AT)),
        _ => None,
    };
    match (value, field) {
        (_, Some((AttributeValue::S(value), AttributeValue::S(at)))) => format!("{value:?} of {at:?}"),
        (_, Some((AttributeValue::Bool(value), AttributeValue::S(at)))) => format!("{value} of {at:?}"),
        (_, Some((AttributeValue::Null(_), AttributeValue::S(at)))) => format!("null of {at:?}"),
        (AttributeValue::Bool(value), _) => value.to_string(),
        _ => format!("{value:?}"),
    }
}
