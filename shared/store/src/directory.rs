//! Reads of the directory, all strongly consistent: a member removed is out at once.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};

use super::backoff::Backoff;
use super::keys::{self, ItemKey, Key};
use super::parallel::try_all;
use super::{Item, Store, failed, key, string};
use domain::directory::{EntryKey, EntryKind, Field, FieldChange, OrgStanding, Privacy, Role, Workspace};
use domain::ids::{ActorId, OrganizationId, Slug, WorkspaceId};
use domain::{Error, Result};

/// The attribute that marks a workspace with activities outside its organization's partition.
pub(super) const UNCLAIMED: &str = "unclaimed";
/// In a field's map: its value.
pub(super) const VALUE: &str = "v";
/// In a field's map: the position of the activity that set it.
pub(super) const AT: &str = "at";

/// The most keys of a BatchGetItem.
const MAX_BATCH_KEYS: usize = 100;
/// The most BatchGetItem requests in flight for one call.
const MAX_CONCURRENT_BATCHES: usize = 4;
/// Requests for keys that a busy table left unprocessed, before giving up.
const ATTEMPTS: u32 = 4;
/// The longest first pause between those requests.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
/// The longest pause between them.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

impl Store {
    /// A workspace and a user's role in it, in one request.
    pub async fn access(
        &self,
        workspace: &WorkspaceId,
        user: Option<&ActorId>,
    ) -> Result<(Option<Workspace>, Option<Role>)> {
        let workspace_key = key(keys::directory(&EntryKey::workspace(workspace)));
        let member_key = user.map(|user| key(keys::directory(&EntryKey::member(workspace, user))));
        let found = self.items(std::iter::once(&workspace_key).chain(&member_key).cloned().collect()).await?;
        let item = |at: &Item| found.iter().find(|item| at.iter().all(|(k, v)| item.get(k) == Some(v)));
        let role = member_key.as_ref().and_then(item).and_then(role_of);
        Ok((item(&workspace_key).and_then(workspace_of), role))
    }

    /// A user's memberships, in the order of the workspaces' ids: a request for each 1 MB, some 8,000 memberships.
    pub async fn memberships(&self, user: &ActorId) -> Result<Vec<(WorkspaceId, Role)>> {
        let items = self.listed(keys::memberships(user), None).await?;
        let member = |item: &Item| Some((listed_workspace(item)?, role_of(item)?));
        Ok(items.iter().filter_map(member).collect())
    }

    /// The entries of those workspaces that are known: a request for each hundred, a few at a time.
    pub async fn workspaces(&self, ids: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, Workspace>> {
        let entry = |item: &Item| match entry_key(item)? {
            EntryKey { workspace, kind: EntryKind::Workspace } => Some((workspace, workspace_of(item)?)),
            _ => None,
        };
        let items = self.batch_get(ids, |id| keys::directory(&EntryKey::workspace(id))).await?;
        Ok(items.iter().filter_map(entry).collect())
    }

    /// The workspaces that ever belonged to an organization, in the order of their ids, or the first `limit` of them.
    /// Their entries say which organization they belong to now.
    pub async fn organization_workspaces(
        &self,
        organization: &OrganizationId,
        limit: Option<usize>,
    ) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::organization_workspaces(organization), limit).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// Up to `limit` workspaces that ever had a slug. Their entries say whether they still do.
    pub async fn workspaces_with_slug(&self, slug: &Slug, limit: usize) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::slug_workspaces(slug), Some(limit)).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// Up to `limit` workspaces whose organization ever had a slug. Their entries say whether it still does.
    pub async fn workspaces_with_organization_slug(
        &self,
        slug: &Slug,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::organization_slug_workspaces(slug), Some(limit)).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// The memberships or listings of a partition, or the first `limit` of them.
    async fn listed(&self, partition: String, limit: Option<usize>) -> Result<Vec<Item>> {
        self.partition(partition, keys::LISTED_PREFIX, limit).await
    }

    /// The roles of users in workspaces, of those who are members: a request for each hundred, a few at a time.
    pub async fn roles(
        &self,
        wanted: &[(ActorId, WorkspaceId)],
    ) -> Result<HashMap<(ActorId, WorkspaceId), Role>> {
        let found = self
            .batch_get(wanted, |(user, workspace)| keys::directory(&EntryKey::member(workspace, user)))
            .await?;
        let role = |item: &Item| match entry_key(item)? {
            EntryKey { workspace, kind: EntryKind::Member(user) } => {
                Some(((user, workspace), role_of(item)?))
            }
            _ => None,
        };
        Ok(found.iter().filter_map(role).collect())
    }

    /// The items that exist for any number of distinct keys: a request for each hundred, a few at a time.
    pub(super) async fn batch_get<T>(
        &self,
        wanted: &[T],
        key_of: impl Fn(&T) -> ItemKey,
    ) -> Result<Vec<Item>> {
        let chunks = wanted
            .chunks(MAX_BATCH_KEYS)
            .map(|chunk| chunk.iter().map(|wanted| key(key_of(wanted))).collect());
        let requests = chunks.map(|keys| self.items(keys)).collect();
        Ok(try_all(MAX_CONCURRENT_BATCHES, requests).await?.into_iter().flatten().collect())
    }

    /// The items that exist for up to a hundred keys.
    async fn items(&self, mut wanted: Vec<Item>) -> Result<Vec<Item>> {
        let mut found: Vec<Item> = Vec::with_capacity(wanted.len());
        let mut backoff = Backoff::new(self.jitter(), FIRST_PAUSE, LONGEST_PAUSE);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                backoff.wait().await;
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

    /// Everything the recorder has to know of a workspace before it records there.
    pub async fn org_standing(&self, workspace: &WorkspaceId) -> Result<OrgStanding> {
        let found = self.item(keys::directory(&EntryKey::workspace(workspace))).await?;
        let Some(item) = found else { return Ok(OrgStanding::default()) };
        let known = workspace_of(&item);
        Ok(OrgStanding {
            known: known.is_some(),
            organization: known.and_then(|workspace| workspace.organization),
            unclaimed: item.contains_key(UNCLAIMED),
        })
    }
}

/// A field's attribute: its value, and the position of the activity that set it.
pub(super) fn encode(change: &FieldChange) -> AttributeValue {
    let value = match &change.value {
        serde_json::Value::String(text) => string(text),
        serde_json::Value::Bool(flag) => AttributeValue::Bool(*flag),
        _ => AttributeValue::Null(true),
    };
    let at = string(keys::time_position(&change.at));
    AttributeValue::M(HashMap::from([(VALUE.into(), value), (AT.into(), at)]))
}

/// The entry that an item is.
fn entry_key(item: &Item) -> Option<EntryKey> {
    let text = |name| item.get(name)?.as_s().ok();
    match Key::parse(text(keys::PK)?, text(keys::SK)?)? {
        Key::Directory(entry) => Some(entry),
        _ => None,
    }
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
    keys::listed_workspace(item.get(keys::SK)?.as_s().ok()?)
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
