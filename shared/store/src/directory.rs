//! Reads of the directory, all strongly consistent: a member removed is out at once.

mod fields;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};

use super::backoff::Backoff;
use super::keys::{self, ItemKey};
use super::parallel::try_all;
use super::{Item, Store, failed, key};
use domain::directory::{EntryChange, EntryKey, EntryKind, Field, OrgStanding, Precedence, Role, Workspace};
use domain::ids::{ActorId, OrganizationId, Slug, WorkspaceId};
use domain::{Error, Result};

use fields::{entry_key, held, listed_workspace, role_of, workspace_of};

pub(super) use fields::{AT, UNCLAIMED, VALUE, VERSIONED, encode, organization_in, said_at};

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
        let role = member_key.as_ref().and_then(item).and_then(|item| role_of(item, self.tolerance));
        let workspace = item(&workspace_key).and_then(|item| workspace_of(item, self.tolerance));
        Ok((workspace, role))
    }

    /// A user's memberships, in the order of the workspaces' ids; `None` when there are more than `limit`, those that ended
    /// included. A request for each 1 MB, some 4,000 memberships.
    pub async fn memberships(
        &self,
        user: &ActorId,
        limit: usize,
    ) -> Result<Option<Vec<(WorkspaceId, Role)>>> {
        let items = self.listed(keys::memberships(user), limit + 1).await?;
        let member = |item: &Item| Some((listed_workspace(item)?, role_of(item, self.tolerance)?));
        Ok((items.len() <= limit).then(|| items.iter().filter_map(member).collect()))
    }

    /// The entries of those workspaces that are known: a request for each hundred, a few at a time.
    pub async fn workspaces(&self, ids: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, Workspace>> {
        let entry = |item: &Item| match entry_key(item)? {
            EntryKey { workspace, kind: EntryKind::Workspace } => {
                Some((workspace, workspace_of(item, self.tolerance)?))
            }
            _ => None,
        };
        let items = self.batch_get(ids, |id| keys::directory(&EntryKey::workspace(id))).await?;
        Ok(items.iter().filter_map(entry).collect())
    }

    /// Up to `limit` workspaces that ever belonged to an organization, in the order of their ids. Their entries say which
    /// organization they belong to now.
    pub async fn organization_workspaces(
        &self,
        organization: &OrganizationId,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::organization_workspaces(organization), limit).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// Up to `limit` workspaces that ever had a slug. Their entries say whether they still do.
    pub async fn workspaces_with_slug(&self, slug: &Slug, limit: usize) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::slug_workspaces(slug), limit).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// Up to `limit` workspaces whose organization ever had a slug. Their entries say whether it still does.
    pub async fn workspaces_with_organization_slug(
        &self,
        slug: &Slug,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>> {
        let items = self.listed(keys::organization_slug_workspaces(slug), limit).await?;
        Ok(items.iter().filter_map(listed_workspace).collect())
    }

    /// The first `limit` memberships or listings of a partition.
    async fn listed(&self, partition: String, limit: usize) -> Result<Vec<Item>> {
        let mut items = self.partition(partition, keys::LISTED_PREFIX, Some(limit)).await?;
        items.truncate(limit);
        Ok(items)
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
                Some(((user, workspace), role_of(item, self.tolerance)?))
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
        let known = workspace_of(&item, self.tolerance);
        Ok(OrgStanding {
            known: known.is_some(),
            versioned: item.contains_key(VERSIONED),
            organization: known.and_then(|workspace| workspace.organization),
            unclaimed: item.contains_key(UNCLAIMED),
        })
    }

    /// The values that hold of the fields that decide access and that `changes` change, with when each was said, by the
    /// changes' entries: a request for each entry, a few at a time.
    pub async fn held(
        &self,
        changes: &[EntryChange],
    ) -> Result<HashMap<(EntryKey, Field), (serde_json::Value, Precedence)>> {
        let reads = changes.iter().map(|change| self.item(keys::directory(&change.entry))).collect();
        let items = try_all(MAX_CONCURRENT_BATCHES, reads).await?;
        let mut found = HashMap::new();
        for (change, item) in changes.iter().zip(items) {
            let Some(item) = item else { continue };
            for field in [Field::Role, Field::Privacy, Field::ActivityEnabled] {
                if let Some(holds) = held(&item, field, self.tolerance) {
                    found.insert((change.entry.clone(), field), holds);
                }
            }
        }
        Ok(found)
    }
}
