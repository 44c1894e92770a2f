//! The directory, held against the activities that it is a projection of.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Fault;
use crate::directory::Change;
use crate::ids::WorkspaceId;
use crate::keys::{self, DirectoryItem, Key};
use crate::store::Item;
use crate::store::directory::{AT, UNCLAIMED, VALUE, encode};

/// Fields by name, each as a text: its value, and the position of the activity that set it.
type Fields = Vec<(String, String)>;

type Name = (WorkspaceId, DirectoryItem);

/// What the table has of each entry, and what the log gives.
#[derive(Default)]
pub(super) struct Directory(BTreeMap<Name, (Option<Fields>, Option<Change>)>);

impl Directory {
    /// Takes in an entry that the table has.
    pub(super) fn entry(&mut self, name: Name, item: &Item) {
        let fields = item.iter().filter(|(name, _)| *name != keys::PK && *name != keys::SK);
        let fields = fields.map(|(name, value)| (name.clone(), shown(value))).collect();
        self.0.entry(name).or_default().0 = Some(fields);
    }

    /// Takes in what an activity changes. They may come in any order: of two for one field, the later decides.
    pub(super) fn replay(&mut self, change: Change) {
        // There is no other change.
        let Some(Key::Directory(workspace, item)) = Key::parse(&change.key.0, &change.key.1) else { return };
        match &mut self.0.entry((workspace, item)).or_default().1 {
            Some(log) => log.merge(change),
            log => *log = Some(change),
        }
    }

    /// Takes in that a workspace has activities outside its organization's partition.
    pub(super) fn unclaimed(&mut self, workspace: &WorkspaceId) {
        let key = keys::directory_workspace(workspace);
        self.replay(Change { key, sets: Vec::new(), unclaimed: true });
    }

    /// Where the table and the log differ.
    pub(super) fn contradictions(self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for ((workspace, item), (found, log)) in self.0 {
            match (found, log) {
                (None, _) => faults.push(Fault::NoEntry { workspace, item }),
                (_, None) => faults.push(Fault::StrayEntry { workspace, item }),
                (Some(found), Some(log)) => {
                    for (field, (found, log)) in differences(found, &log) {
                        let (workspace, item) = (workspace.clone(), item.clone());
                        faults.push(Fault::Directory { workspace, item, field, found, log });
                    }
                }
            }
        }
        faults
    }
}

/// The fields that the table has otherwise than the log, with what each says of them.
fn differences(found: Fields, log: &Change) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let mut fields: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for (name, text) in found {
        fields.entry(name).or_default().0 = Some(text);
    }
    for set in &log.sets {
        fields.entry(set.field.name().into()).or_default().1 = Some(shown(&encode(set)));
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
