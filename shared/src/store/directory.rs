//! Reads of the directory, all strongly consistent: a member removed is out at once.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};

use super::{Item, Store, failed, key, string};
use crate::directory::{Field, Privacy, Role, Set, Standing, Workspace};
use crate::ids::{ActorId, OrganizationId, WorkspaceId};
use crate::{Error, Result, keys};

/// Name of the attribute that marks a workspace with activities in no organization's partition.
pub(super) const UNCLAIMED: &str = "unclaimed";
/// In a field's map: its value.
pub(super) const VALUE: &str = "v";
/// In a field's map: the position of the activity that set it.
pub(super) const AT: &str = "at";

/// Requests for what a busy table left out of an answer, before giving up.
const ROUNDS: u32 = 4;
/// Pause before the second of them; it doubles with each.
const PAUSE: Duration = Duration::from_millis(20);

impl Store {
    /// A workspace and a user's role in it, in one request.
    pub async fn access(
        &self,
        workspace: &WorkspaceId,
        user: Option<&ActorId>,
    ) -> Result<(Option<Workspace>, Option<Role>)> {
        let workspace_key = key(keys::directory_workspace(workspace));
        let member_key = user.map(|user| key(keys::directory_member(user, workspace)));
        let mut wanted: Vec<Item> = std::iter::once(&workspace_key).chain(&member_key).cloned().collect();
        let mut found: Vec<Item> = Vec::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE * 2u32.pow(round - 1)).await;
            }
            let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let request =
                self.client.batch_get_item().return_consumed_capacity(ReturnConsumedCapacity::Total);
            let request = request.request_items(&self.table, keys.map_err(Error::internal)?);
            let mut answer = request.send().await.map_err(failed)?;
            found.extend(
                answer.responses.iter_mut().filter_map(|tables| tables.remove(&self.table)).flatten(),
            );
            let left = answer.unprocessed_keys.and_then(|mut left| left.remove(&self.table));
            wanted = left.map(|left| left.keys).unwrap_or_default();
            if wanted.is_empty() {
                let item =
                    |at: &Item| found.iter().find(|item| at.iter().all(|(k, v)| item.get(k) == Some(v)));
                let role =
                    member_key.as_ref().and_then(item).and_then(|item| role(field(item, Field::Role)?));
                return Ok((item(&workspace_key).and_then(workspace_of), role));
            }
        }
        Err(Error::Throttled("keys of the directory were left unread".into()))
    }

    /// What the recorder has to know of a workspace before it records there.
    pub async fn standing(&self, workspace: &WorkspaceId) -> Result<Standing> {
        let request = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_key(Some(key(keys::directory_workspace(workspace))));
        let Some(item) = request.send().await.map_err(failed)?.item else { return Ok(Standing::default()) };
        let known = workspace_of(&item);
        Ok(Standing {
            known: known.is_some(),
            organization: known.and_then(|workspace| workspace.organization),
            unclaimed: item.contains_key(UNCLAIMED),
        })
    }
}

/// A field's attribute: its value, and the position of the activity that set it.
pub(super) fn encode(set: &Set) -> AttributeValue {
    let value = match &set.value {
        serde_json::Value::String(text) => string(text),
        serde_json::Value::Bool(flag) => AttributeValue::Bool(*flag),
        _ => AttributeValue::Null(true),
    };
    AttributeValue::M(HashMap::from([(VALUE.into(), value), (AT.into(), string(set.at.as_str()))]))
}

/// A field's value, when it was ever set.
fn field(item: &Item, field: Field) -> Option<&AttributeValue> {
    item.get(field.name())?.as_m().ok()?.get(VALUE)
}

fn role(value: &AttributeValue) -> Option<Role> {
    value.as_s().ok().and_then(|text| Role::parse(text))
}

/// A workspace's entry, once its `workspace.created` was recorded; before, there may only be settings.
fn workspace_of(item: &Item) -> Option<Workspace> {
    let text = |name| field(item, name).and_then(|value| value.as_s().ok()).cloned();
    let flag = |name| field(item, name).and_then(|value| value.as_bool().ok()).copied();
    Some(Workspace {
        name: text(Field::Name)?,
        slug: text(Field::Slug),
        organization: text(Field::Organization).and_then(|id| OrganizationId::parse("organization", id).ok()),
        activity_enabled: flag(Field::ActivityEnabled).unwrap_or(true),
        privacy: match text(Field::Privacy).as_deref() {
            None | Some("members") => Privacy::Members,
            // Anything else hides rather than shows.
            Some(_) => Privacy::Admins,
        },
        archived: flag(Field::Archived).unwrap_or(false),
    })
}
