//! The access of one reader, found out once a request however many workspaces it asks for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use domain::access::{Caller, READ, VisibleWorkspace};
use domain::directory::{Role, Workspace};
use domain::error::{Forbidden, Missing, QueryError};
use domain::ids::{OrganizationId, Slug, WorkspaceId};
use domain::{Error, Result};
use store::Store;

/// The most workspaces to read in search of one by its slug, or of an organization by its own.
const MAX_CANDIDATES: usize = 100;

const NO_WORKSPACE: Error = Error::NotFound(Missing::Workspace);
const NO_ORGANIZATION: Error = Error::NotFound(Missing::Organization);

/// The reader of one request.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    caller: Caller,
    memberships: OnceCell<Vec<Membership>>,
    organizations: Mutex<HashMap<String, Arc<OnceCell<VisibleOrganization>>>>,
    entries: Mutex<HashMap<WorkspaceId, Workspace>>,
}

/// An organization, and the workspaces of it that the reader sees.
type VisibleOrganization = (OrganizationId, Vec<VisibleWorkspace>);

/// A workspace, and the reader's role in it.
#[derive(Debug)]
struct Membership {
    id: WorkspaceId,
    workspace: Workspace,
    role: Option<Role>,
}

impl Reader {
    /// A reader of whom nothing was read yet.
    pub fn new(store: Store, caller: Caller) -> Self {
        let (memberships, organizations, entries) = (OnceCell::new(), Mutex::default(), Mutex::default());
        Self { store, caller, memberships, organizations, entries }
    }

    /// The directory's entry of a workspace, if this request has read it.
    pub fn entry(&self, id: &WorkspaceId) -> Option<Workspace> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn keep_entry(&self, id: &WorkspaceId, workspace: &Workspace) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), workspace.clone());
    }

    /// A workspace. If `organization` is given, an id or a slug, the workspace must belong to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, [`Error::Forbidden`] when the reader may not read it.
    pub async fn workspace(&self, id: &WorkspaceId, organization: Option<&str>) -> Result<VisibleWorkspace> {
        let (workspace, role) = self.store.access(id, self.caller.user.as_ref()).await?;
        // Access is decided first, so that nobody else can find out which organization the workspace belongs to.
        let visible = VisibleWorkspace::of(&self.caller, id, workspace.as_ref(), role)?;
        let workspace = workspace.ok_or(NO_WORKSPACE)?;
        if let Some(organization) = organization
            && !belongs_to(&workspace, organization)
            // The slug may have been recorded with other workspaces of the organization only.
            && (visible.organization.is_none()
                || Box::pin(self.find_organization(organization)).await? != visible.organization)
        {
            return Err(NO_WORKSPACE);
        }
        self.keep_entry(id, &workspace);
        Ok(visible)
    }

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

    /// The workspace with a slug. Slugs are not unique: among several workspaces, it is the one that belongs to
    /// `organization` and that the reader is a member of.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`QueryError::AmbiguousWorkspace`] when that still leaves several.
    async fn workspace_with_slug(&self, slug: &str, organization: Option<&str>) -> Result<WorkspaceId> {
        let slug = Slug::parse("slug", slug).map_err(|_| NO_WORKSPACE)?;
        let listed = self.store.workspaces_with_slug(&slug, MAX_CANDIDATES).await?;
        let has_it = |workspace: &Workspace| workspace.slug.as_deref() == Some(slug.as_str());
        let mut entries = self.store.workspaces(&listed).await?;
        entries.retain(|_, workspace| has_it(workspace));
        if (entries.len() != 1 || listed.len() >= MAX_CANDIDATES) && !self.caller.has(READ) {
            let own = self.memberships().await?.iter().filter(|membership| has_it(&membership.workspace));
            let own: HashMap<_, _> =
                own.map(|membership| (membership.id.clone(), membership.workspace.clone())).collect();
            if own.is_empty() {
                // The reader may see none of them, so it makes no difference which one is refused.
                return entries.into_keys().min().ok_or(NO_WORKSPACE);
            }
            entries = own;
        }
        if let Some(text) = organization.filter(|_| entries.len() > 1) {
            let organization = Box::pin(self.find_organization(text)).await?;
            entries.retain(|_, workspace| {
                belongs_to(workspace, text)
                    || organization.is_some() && workspace.organization == organization
            });
        }
        let mut found: BTreeSet<WorkspaceId> = entries.into_keys().collect();
        if found.len() > 1 {
            return Err(QueryError::AmbiguousWorkspace.into());
        }
        found.pop_first().ok_or(NO_WORKSPACE)
    }

    /// The organization that has `text` as its id or slug, and the workspaces of it that the reader sees.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::Forbidden`] when the reader is a member of none of its
    /// workspaces; [`QueryError::AmbiguousOrganization`] when several have the slug.
    pub async fn organization(&self, text: &str) -> Result<VisibleOrganization> {
        let cell = {
            let mut organizations = self.organizations.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(organizations.entry(text.to_owned()).or_default())
        };
        cell.get_or_try_init(|| self.read_organization(text)).await.cloned()
    }

    async fn read_organization(&self, text: &str) -> Result<VisibleOrganization> {
        if self.caller.has(READ) {
            let organization = self.find_organization(text).await?.ok_or(NO_ORGANIZATION)?;
            let listed = self.store.organization_workspaces(&organization, None).await?;
            let all = self.with_entries(listed.into_iter().map(|id| (id, None)).collect()).await?;
            return Ok((organization.clone(), self.visible(all.iter(), Some(&organization))));
        }
        let memberships = self.memberships().await?;
        let matching = memberships.iter().filter(|membership| belongs_to(&membership.workspace, text));
        let found: BTreeSet<&OrganizationId> =
            matching.filter_map(|membership| membership.workspace.organization.as_ref()).collect();
        // An id is unique, and a slug is not.
        let organization = match found.iter().find(|id| id.as_str() == text) {
            Some(id) => Some(*id),
            None if found.len() > 1 => return Err(QueryError::AmbiguousOrganization.into()),
            None => found.first().copied(),
        };
        let organization = match organization {
            Some(organization) => (*organization).clone(),
            // The slug may have been recorded with other workspaces only.
            None => {
                let organization = self.find_organization(text).await?.ok_or(NO_ORGANIZATION)?;
                let mut own =
                    memberships.iter().filter_map(|membership| membership.workspace.organization.as_ref());
                if !own.any(|own| *own == organization) {
                    return Err(Error::Forbidden(Forbidden::ReadOrganization));
                }
                organization
            }
        };
        let visible = self.visible(memberships.iter(), Some(&organization));
        Ok((organization, visible))
    }

    /// All workspaces that the reader sees.
    ///
    /// # Errors
    /// [`QueryError::ScopeRequired`] for a service, which is a member of nothing and may read everything.
    pub async fn everything(&self) -> Result<Vec<VisibleWorkspace>> {
        if self.caller.has(READ) {
            return Err(QueryError::ScopeRequired.into());
        }
        Ok(self.visible(self.memberships().await?.iter(), None))
    }

    /// The reader's memberships of known workspaces.
    async fn memberships(&self) -> Result<&Vec<Membership>> {
        let read = || async {
            let Some(user) = &self.caller.user else { return Ok(Vec::new()) };
            let memberships = self.store.memberships(user).await?;
            self.with_entries(memberships.into_iter().map(|(id, role)| (id, Some(role))).collect()).await
        };
        self.memberships.get_or_try_init(read).await
    }

    /// Adds the workspaces' entries, and leaves out workspaces that have none.
    async fn with_entries(&self, roles: Vec<(WorkspaceId, Option<Role>)>) -> Result<Vec<Membership>> {
        let ids: Vec<WorkspaceId> = roles.iter().map(|(id, _)| id.clone()).collect();
        let mut entries = self.store.workspaces(&ids).await?;
        let membership = |(id, role)| entries.remove(&id).map(|workspace| Membership { id, workspace, role });
        Ok(roles.into_iter().filter_map(membership).collect())
    }

    /// Those workspaces that the reader sees, only of `organization` if one is given.
    fn visible<'a>(
        &self,
        memberships: impl Iterator<Item = &'a Membership>,
        organization: Option<&OrganizationId>,
    ) -> Vec<VisibleWorkspace> {
        let is_of_it = |membership: &&Membership| {
            organization
                .is_none_or(|organization| membership.workspace.organization.as_ref() == Some(organization))
        };
        let visible = |Membership { id, workspace, role }: &Membership| {
            let visible = VisibleWorkspace::of(&self.caller, id, Some(workspace), *role).ok()?;
            self.keep_entry(id, workspace);
            Some(visible)
        };
        memberships.filter(is_of_it).filter_map(visible).collect()
    }

    /// The organization that has `text` as its id or slug, whether the reader may see it or not.
    async fn find_organization(&self, text: &str) -> Result<Option<OrganizationId>> {
        let Ok(id) = OrganizationId::parse("organization", text) else { return Ok(None) };
        if !self.store.organization_workspaces(&id, Some(1)).await?.is_empty() {
            return Ok(Some(id));
        }
        let slug = Slug::parse("slug", text)?;
        let listed = self.store.workspaces_with_organization_slug(&slug, MAX_CANDIDATES).await?;
        let entries = self.store.workspaces(&listed).await?;
        let with_it = entries.into_values().filter(|entry| entry.organization_slug.as_deref() == Some(text));
        let mut found: BTreeSet<OrganizationId> = with_it.filter_map(|entry| entry.organization).collect();
        if found.len() > 1 {
            return Err(QueryError::AmbiguousOrganization.into());
        }
        Ok(found.pop_first())
    }
}

/// Whether a workspace belongs to the organization that has `text` as its id or slug.
fn belongs_to(workspace: &Workspace, text: &str) -> bool {
    workspace.organization.as_ref().is_some_and(|id| id.as_str() == text)
        || workspace.organization_slug.as_deref() == Some(text)
}
