//! Ids and slugs of workspaces and organizations, as readers name them.
//!
//! An id is unique, and a slug is not: any tenant may take the slug or the id of another for a slug. An id comes before a
//! slug, and what the reader sees before what they do not see, which makes nothing of theirs ambiguous.

use std::collections::{BTreeSet, HashMap, HashSet};

use domain::access::READ;
use domain::directory::Workspace;
use domain::error::{Forbidden, QueryError};
use domain::ids::{OrganizationId, Slug, WorkspaceId};
use domain::{Error, Result};

use super::{MAX_WORKSPACES, Membership, NO_ORGANIZATION, NO_WORKSPACE, Reader, VisibleOrganization, joined};

/// The most workspaces to read in search of one by its slug.
const MAX_CANDIDATES: usize = 100;

const AMBIGUOUS_WORKSPACE: Error = Error::Query(QueryError::AmbiguousWorkspace);
const AMBIGUOUS_ORGANIZATION: Error = Error::Query(QueryError::AmbiguousOrganization);

/// The workspaces that have a slug, or whose organization has it.
struct Candidates {
    workspaces: HashMap<WorkspaceId, Workspace>,
    /// Whether these are all that have it.
    are_all: bool,
}

impl Candidates {
    fn organizations(&self) -> BTreeSet<&OrganizationId> {
        self.workspaces.values().filter_map(|workspace| workspace.organization.as_ref()).collect()
    }
}

impl Reader {
    /// The result of `read` for the workspace that has `text` as its id, or else as its slug. If `organization` is given,
    /// a workspace with that slug must belong to it.
    ///
    /// # Errors
    /// Those of `read`, which are [`Error::NotFound`] and [`Error::Forbidden`] when no visible workspace has this id;
    /// [`QueryError::AmbiguousWorkspace`] when several have the slug.
    pub async fn by_id_or_slug<T, F: Future<Output = Result<T>>>(
        &self,
        text: &str,
        organization: Option<&str>,
        read: impl Fn(WorkspaceId) -> F,
    ) -> Result<T> {
        let id = WorkspaceId::parse("workspace", text).map_err(|_| NO_WORKSPACE)?;
        match read(id).await {
            // The text may be a slug, even when it is also another workspace's id.
            Err(refused @ (Error::NotFound(_) | Error::Forbidden(_))) => {
                match self.workspace_with_slug(text, organization).await {
                    Ok(id) => read(id).await,
                    Err(Error::NotFound(_)) => Err(refused),
                    Err(error) => Err(error),
                }
            }
            found => found,
        }
    }

    /// The workspace with a slug: among several, it is the one that the reader sees, in `organization` if one is given.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::Forbidden`] when the reader sees none;
    /// [`QueryError::AmbiguousWorkspace`] when that still leaves several, or when too many have the slug to find out.
    async fn workspace_with_slug(&self, slug: &str, organization: Option<&str>) -> Result<WorkspaceId> {
        let slug = Slug::parse("slug", slug).map_err(|_| NO_WORKSPACE)?;
        let has_it = |workspace: &Workspace| workspace.slug.as_deref() == Some(slug.as_str());
        let listed = self.store.workspaces_with_slug(&slug, MAX_CANDIDATES).await?;
        if listed.len() >= MAX_CANDIDATES {
            return self.workspace_among_many(has_it, organization).await;
        }
        let mut entries = self.store.workspaces(&listed).await?;
        entries.retain(|_, workspace| has_it(workspace));
        if entries.len() < 2 {
            return entries.into_keys().next().ok_or(NO_WORKSPACE);
        }
        let roles = self.roles_in(entries.keys().cloned().collect()).await?;
        let own = joined(roles, entries);
        self.seen_workspace(&own.iter().collect::<Vec<_>>(), organization).await
    }

    /// As [`Reader::workspace_with_slug`], when so many workspaces ever had the slug that they are not read.
    async fn workspace_among_many(
        &self,
        has_it: impl Fn(&Workspace) -> bool,
        organization: Option<&str>,
    ) -> Result<WorkspaceId> {
        if let Some(organization) = organization {
            let visible = match Box::pin(self.organization(organization)).await {
                Err(Error::NotFound(_)) => Err(NO_WORKSPACE),
                Err(Error::Forbidden(_)) => Err(Error::Forbidden(Forbidden::ReadWorkspace)),
                found => found,
            };
            let ids = visible?.1.into_iter().map(|visible| visible.workspace);
            let found = ids.filter(|id| self.entry(id).is_some_and(|entry| has_it(&entry))).collect();
            return only(found, AMBIGUOUS_WORKSPACE)?.ok_or(NO_WORKSPACE);
        }
        if self.caller.has(READ) {
            return Err(AMBIGUOUS_WORKSPACE);
        }
        let own = self.memberships().await?.ok_or(AMBIGUOUS_WORKSPACE)?.iter();
        self.seen_workspace(&own.filter(|own| has_it(&own.workspace)).collect::<Vec<_>>(), None).await
    }

    /// The one of several workspaces that the reader sees, in `organization` if they see several.
    async fn seen_workspace(&self, own: &[&Membership], organization: Option<&str>) -> Result<WorkspaceId> {
        let seen = own.iter().filter(|own| own.visible_to(&self.caller).is_some());
        let mut seen: Vec<&Membership> = seen.copied().collect();
        if seen.is_empty() {
            return Err(Error::Forbidden(Forbidden::ReadWorkspace));
        }
        if let Some(text) = organization.filter(|_| seen.len() > 1) {
            let has_id = |own: &&Membership| has_organization_id(&own.workspace, text);
            if seen.iter().any(has_id) {
                seen.retain(has_id);
            } else {
                let candidates = self.candidates(text).await?;
                let with_slug = candidates.organizations();
                seen.retain(|Membership { workspace, .. }| {
                    let has_slug = workspace.organization.as_ref().is_some_and(|id| with_slug.contains(id));
                    has_slug || has_organization_slug(workspace, text)
                });
            }
        }
        only(seen.into_iter().map(|own| own.id.clone()).collect(), AMBIGUOUS_WORKSPACE)?.ok_or(NO_WORKSPACE)
    }

    /// The organization that has `text` as its id or slug, among those of the reader's memberships.
    pub(super) async fn own_organization(
        &self,
        text: &str,
        memberships: &[Membership],
    ) -> Result<VisibleOrganization> {
        let seen = memberships.iter().filter(|membership| membership.visible_to(&self.caller).is_some());
        let mut organization = named(seen, text)?;
        if organization.is_none() {
            organization = named(memberships.iter(), text)?;
        }
        if organization.is_none() {
            // The slug may have been recorded with other workspaces only.
            let candidates = self.candidates(text).await?;
            let own: HashSet<&OrganizationId> =
                memberships.iter().filter_map(|own| own.workspace.organization.as_ref()).collect();
            let found = candidates.organizations().into_iter().filter(|id| own.contains(id)).collect();
            organization = only(found, AMBIGUOUS_ORGANIZATION)?.cloned();
            if organization.is_none() {
                return Err(self.not_seen(text, &candidates).await?);
            }
        }
        let organization = organization.ok_or(NO_ORGANIZATION)?;
        let visible = self.visible(memberships, Some(&organization));
        Ok((organization, visible))
    }

    /// The organization that has `text` as its id or slug, for a service, or for a reader with too many memberships to
    /// list: it is found by its workspaces, and they by their roles in those.
    pub(super) async fn listed_organization(&self, text: &str) -> Result<VisibleOrganization> {
        let id = OrganizationId::parse("organization", text).map_err(|_| NO_ORGANIZATION)?;
        let own = self.memberships_of(&id).await?;
        if !own.is_empty() {
            return self.visible_organization(id, &own);
        }
        let candidates = self.candidates(text).await?;
        let roles = self.roles_in(candidates.workspaces.keys().cloned().collect()).await?;
        let own = roles.iter().filter_map(|(id, _)| {
            let organization = candidates.workspaces.get(id)?.organization.as_ref()?;
            // A service has no role anywhere; its token says what it sees.
            let is_own = !self.caller.has(READ) || self.caller.reads(id, Some(organization));
            is_own.then_some(organization)
        });
        let own: BTreeSet<&OrganizationId> = own.collect();
        // A reader may have the role in other workspaces of the organization than those that have its slug.
        let found = if own.is_empty() { candidates.organizations() } else { own };
        let found = match only(found, AMBIGUOUS_ORGANIZATION)? {
            Some(_) if !candidates.are_all => return Err(AMBIGUOUS_ORGANIZATION),
            Some(organization) => organization,
            None => {
                return match self.not_seen(text, &candidates).await? {
                    // All workspaces have left it.
                    Error::Forbidden(_) if self.caller.reads_everything() => Ok((id, Vec::new())),
                    error => Err(error),
                };
            }
        };
        let own = self.memberships_of(found).await?;
        if own.is_empty() {
            return Err(Error::Forbidden(Forbidden::ReadOrganization));
        }
        self.visible_organization(found.clone(), &own)
    }

    /// An organization with those of its workspaces that the reader sees.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a service whose token is for others. A member sees an organization whose workspaces hide
    /// from them.
    fn visible_organization(
        &self,
        organization: OrganizationId,
        own: &[Membership],
    ) -> Result<VisibleOrganization> {
        let visible = self.visible(own, None);
        if visible.is_empty() && self.caller.has(READ) && !self.caller.reads_everything() {
            return Err(Error::Forbidden(Forbidden::ReadOrganization));
        }
        Ok((organization, visible))
    }

    /// The error of a name that is of no organization that the reader sees. `candidates` are those of the slug.
    async fn not_seen(&self, text: &str, candidates: &Candidates) -> Result<Error> {
        if !candidates.are_all {
            return Ok(AMBIGUOUS_ORGANIZATION);
        }
        let is_id = async {
            let Ok(id) = OrganizationId::parse("organization", text) else { return Ok(false) };
            Ok::<_, Error>(!self.store.organization_workspaces(&id, 1).await?.is_empty())
        };
        let exists = !candidates.organizations().is_empty() || is_id.await?;
        Ok(if exists { Error::Forbidden(Forbidden::ReadOrganization) } else { NO_ORGANIZATION })
    }

    /// Whether an organization has a slug, which may have been recorded with any of its workspaces.
    ///
    /// # Errors
    /// [`QueryError::AmbiguousOrganization`] when too many workspaces have the slug to find out.
    pub(super) async fn has_slug(&self, organization: &OrganizationId, slug: &str) -> Result<bool> {
        let candidates = self.candidates(slug).await?;
        let is_among_them = candidates.organizations().contains(organization);
        if is_among_them || candidates.are_all {
            return Ok(is_among_them);
        }
        // Others may have taken the slug so often that the organization's own workspaces are not among the first.
        let listed = match self.workspaces_of(organization).await {
            Err(Error::Query(_)) => return Err(AMBIGUOUS_ORGANIZATION),
            listed => listed?,
        };
        let entries = self.store.workspaces(&listed).await?;
        let is_it = |entry: &Workspace| {
            entry.organization.as_ref() == Some(organization) && has_organization_slug(entry, slug)
        };
        Ok(entries.values().any(is_it))
    }

    /// The workspaces whose organization has a slug.
    async fn candidates(&self, text: &str) -> Result<Candidates> {
        let Ok(slug) = Slug::parse("slug", text) else {
            return Ok(Candidates { workspaces: HashMap::new(), are_all: true });
        };
        let mut listed = self.store.workspaces_with_organization_slug(&slug, MAX_WORKSPACES + 1).await?;
        let are_all = listed.len() <= MAX_WORKSPACES;
        listed.truncate(MAX_WORKSPACES);
        let mut workspaces = self.store.workspaces(&listed).await?;
        workspaces.retain(|_, workspace| has_organization_slug(workspace, text));
        Ok(Candidates { workspaces, are_all })
    }
}

/// The only one that was found; `several` is the error when there are more.
fn only<T: Ord>(mut found: BTreeSet<T>, several: Error) -> Result<Option<T>> {
    if found.len() > 1 { Err(several) } else { Ok(found.pop_first()) }
}

/// The organization of those workspaces that has `text` as its id, or else as its slug.
///
/// # Errors
/// [`QueryError::AmbiguousOrganization`] when several have the slug, and none the id.
fn named<'a>(workspaces: impl Iterator<Item = &'a Membership>, text: &str) -> Result<Option<OrganizationId>> {
    let matching = workspaces.filter(|membership| belongs_to(&membership.workspace, text));
    let found: BTreeSet<&OrganizationId> =
        matching.filter_map(|membership| membership.workspace.organization.as_ref()).collect();
    match found.iter().find(|id| id.as_str() == text) {
        Some(id) => Ok(Some((*id).clone())),
        None => Ok(only(found, AMBIGUOUS_ORGANIZATION)?.cloned()),
    }
}

fn has_organization_id(workspace: &Workspace, id: &str) -> bool {
    workspace.organization.as_ref().is_some_and(|own| own.as_str() == id)
}

fn has_organization_slug(workspace: &Workspace, slug: &str) -> bool {
    workspace.organization_slug.as_deref() == Some(slug)
}

/// Whether a workspace belongs to the organization that has `text` as its id or slug.
pub(super) fn belongs_to(workspace: &Workspace, text: &str) -> bool {
    has_organization_id(workspace, text) || has_organization_slug(workspace, text)
}
