//! Reads of the directory, all strongly consistent: a member removed is out at once.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};

use super::{Item, Store, failed, key, string};
use crate::directory::{Field, Privacy, Role, Set, Standing, Workspace};
use crate::ids::{ActorId, OrganizationId, Slug, WorkspaceId};
use crate::keys::{self, DirectoryItem, Key};
use crate::parallel::all;
use crate::{Error, Result};

/// Name of the attribute that marks a workspace with activities in no organization's partition.
pub(super) const UNCLAIMED: &str = "unclaimed";
/// In a field's map: its value.
pub(super) const VALUE: &str = "v";
/// In a field's map: the position of the activity that set it.
pub(super) const AT: &str = "at";

/// The most keys of one request.
const BATCH: usize = 100;
/// Requests in flight for one reader's directory.
const AT_ONCE: usize = 4;
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
        let found = self.items(std::iter::once(&workspace_key).chain(&member_key).cloned().collect()).await?;
        let item = |at: &Item| found.iter().find(|item| at.iter().all(|(k, v)| item.get(k) == Some(v)));
        let role = member_key.as_ref().and_then(item).and_then(role_of);
        Ok((item(&workspace_key).and_then(workspace_of), role))
    }

    /// Everything a user is a member of, in the order of the ids: a request for each 1 MB, some 8,000 memberships.
    pub async fn memberships(&self, user: &ActorId) -> Result<Vec<(WorkspaceId, Role)>> {
        let items = self.listed(keys::memberships(user), None).await?;
        let member = |item: &Item| Some((listed_workspace(item)?, role_of(item)?));
        Ok(items.iter().filter_map(member).collect())
    }

    /// The entries of workspaces, of those that are known: a request for each hundred, a few at a time.
    pub async fn workspaces(&self, ids: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, Workspace>> {
        let entry = |item: &Item| {
            let AttributeValue::S(pk) = item.get(keys::PK)? else { return None };
            let AttributeValue::S(sk) = item.get(keys::SK)? else { return None };
            let Some(Key::Directory(id, DirectoryItem::Entry)) = Key::parse(pk, sk) else { return None };
            Some((id, workspace_of(item)?))
        };
        Ok(self.all_items(ids, keys::directory_workspace).await?.iter().filter_map(entry).collect())
    }

    /// The workspaces that were ever said to be an organization's, in the order of the ids; `most` of them when given.
    /// Their entries say whose they are now.
    pub async fn of_organization(
        &self,
        organization: &OrganizationId,
        most: Option<usize>,
    ) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::organization_workspaces(organization), most).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// The workspaces that ever had a slug, `most` at the most. Their entries say whether they still do.
    pub async fn with_slug(&self, slug: &Slug, most: usize) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::slug_workspaces(slug), Some(most)).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// The workspaces whose organization ever had a slug, `most` at the most. Their entries say whether it still does.
    pub async fn with_organization_slug(&self, slug: &Slug, most: usize) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::organization_slug_workspaces(slug), Some(most)).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// What a partition lists of workspaces, or its first `most` items.
    async fn listed(&self, partition: String, most: Option<usize>) -> Result<Vec<Item>> {
        self.partition(partition, keys::LISTED_PREFIX, most).await
    }

    /// Which members users are of workspaces, of those that are: a request for each hundred, a few at a time.
    pub async fn roles(
        &self,
        wanted: &[(ActorId, WorkspaceId)],
    ) -> Result<HashMap<(ActorId, WorkspaceId), Role>> {
        let found =
            self.all_items(wanted, |(user, workspace)| keys::directory_member(user, workspace)).await?;
        let role = |item: &Item| {
            let AttributeValue::S(pk) = item.get(keys::PK)? else { return None };
            let AttributeValue::S(sk) = item.get(keys::SK)? else { return None };
            let Some(Key::Directory(id, DirectoryItem::Member(user))) = Key::parse(pk, sk) else {
                return None;
            };
            Some(((user, id), role_of(item)?))
        };
        Ok(found.iter().filter_map(role).collect())
    }

    /// The items that there are of any number of things, each with a key of its own: a request for each hundred, a few
    /// at a time.
    pub(super) async fn all_items<T>(
        &self,
        things: &[T],
        key_of: impl Fn(&T) -> (String, String),
    ) -> Result<Vec<Item>> {
        let chunks =
            things.chunks(BATCH).map(|things| things.iter().map(|thing| key(key_of(thing))).collect());
        let requests = chunks.map(|keys| self.items(keys)).collect();
        Ok(all(AT_ONCE, requests).await?.into_iter().flatten().collect())
    }

    /// The items that there are of up to a hundred keys.
    async fn items(&self, mut wanted: Vec<Item>) -> Result<Vec<Item>> {
        let mut found: Vec<Item> = Vec::with_capacity(wanted.len());
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
                return Ok(found);
            }
        }
        Err(Error::Throttled("keys of the directory were left unread".into()))
    }

    /// What the recorder has to know of a workspace before it records there.
    pub async fn standing(&self, workspace: &WorkspaceId) -> Result<Standing> {
        let found = self.item(keys::directory_workspace(workspace)).await?;
        let Some(item) = found else { return Ok(Standing::default()) };
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

/// A membership's role; none once it ended.
fn role_of(item: &Item) -> Option<Role> {
    field(item, Field::Role)?.as_s().ok().and_then(|text| Role::parse(text))
}

/// The workspace that an item of a listing names.
fn listed_workspace(item: &Item) -> Option<WorkspaceId> {
    keys::listed_in(item.get(keys::SK)?.as_s().ok()?)
}

/// A workspace's entry, once its `workspace.created` was recorded; before, there may only be settings.
fn workspace_of(item: &Item) -> Option<Workspace> {
    let text = |name| field(item, name).and_then(|value| value.as_s().ok()).cloned();
    let flag = |name| field(item, name).and_then(|value| value.as_bool().ok()).copied();
    Some(Workspace {
        name: text(Field::Name)?,
        slug: text(Field::Slug),
        organization: text(Field::Organization).and_then(|id| OrganizationId::parse("organization", id).ok()),
        organization_name: text(Field::OrganizationName),
        organization_slug: text(Field::OrganizationSlug),
        unclaimed: item.contains_key(UNCLAIMED),
        activity_enabled: flag(Field::ActivityEnabled).unwrap_or(true),
        privacy: match text(Field::Privacy).as_deref() {
            None | Some("members") => Privacy::Members,
            // Anything else hides rather than shows.
            Some(_) => Privacy::Admins,
        },
        archived: flag(Field::Archived).unwrap_or(false),
    })
}
