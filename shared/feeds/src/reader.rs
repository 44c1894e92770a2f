//! The access of one reader, found out once a request however many workspaces it asks for.

mod names;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use domain::access::{Caller, READ, VisibleWorkspace};
use domain::directory::{Role, Workspace};
use domain::error::{Missing, QueryError};
use domain::ids::{OrganizationId, WorkspaceId};
use domain::{Error, Result};
use store::Store;

use names::belongs_to;

/// The most workspaces whose entries are read to decide access to one feed: ten requests, of a unit for each workspace.
pub const MAX_WORKSPACES: usize = 1_000;
/// The most memberships of a reader to list, those that ended included: some 1 MB.
const MAX_MEMBERSHIPS: usize = 4_000;

const NO_WORKSPACE: Error = Error::NotFound(Missing::Workspace);
const NO_ORGANIZATION: Error = Error::NotFound(Missing::Organization);
const TOO_MANY: Error = Error::Query(QueryError::TooManyToCheck);

/// The reader of one request.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    caller: Caller,
    /// `None` when there are too many.
    memberships: OnceCell<Option<Vec<Membership>>>,
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

impl Membership {
    /// How the reader sees the workspace, if they do.
    fn visible_to(&self, caller: &Caller) -> Option<VisibleWorkspace> {
        VisibleWorkspace::of(caller, &self.id, Some(&self.workspace), self.role).ok()
    }

    fn is_of(&self, organization: &OrganizationId) -> bool {
        self.workspace.organization.as_ref() == Some(organization)
    }
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
        if let Some(text) = organization
            && !belongs_to(&workspace, text)
        {
            let own = visible.organization.as_ref().ok_or(NO_WORKSPACE)?;
            if !Box::pin(self.has_slug(own, text)).await? {
                return Err(NO_WORKSPACE);
            }
        }
        self.keep_entry(id, &workspace);
        Ok(visible)
    }

    /// The organization that has `text` as its id or slug, and the workspaces of it that the reader sees.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::Forbidden`] when the reader is a member of none of its
    /// workspaces; [`QueryError::AmbiguousOrganization`] when several have the slug; [`QueryError::TooManyToCheck`] when
    /// it has more than [`MAX_WORKSPACES`], and so has the reader.
    pub async fn organization(&self, text: &str) -> Result<VisibleOrganization> {
        let cell = {
            let mut organizations = self.organizations.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(organizations.entry(text.to_owned()).or_default())
        };
        let read = || async {
            let memberships = if self.caller.has(READ) { None } else { self.memberships().await? };
            match memberships {
                Some(memberships) => self.own_organization(text, memberships).await,
                None => self.listed_organization(text).await,
            }
        };
        cell.get_or_try_init(read).await.cloned()
    }

    /// All workspaces that the reader sees.
    ///
    /// # Errors
    /// [`QueryError::ScopeRequired`] for a service, which is a member of nothing and may read everything;
    /// [`QueryError::TooManyToCheck`] when the reader is a member of more than [`MAX_WORKSPACES`].
    pub async fn everything(&self) -> Result<Vec<VisibleWorkspace>> {
        if self.caller.has(READ) {
            return Err(QueryError::ScopeRequired.into());
        }
        Ok(self.visible(self.memberships().await?.ok_or(TOO_MANY)?, None))
    }

    /// The reader's memberships of known workspaces; `None` when there are more than [`MAX_WORKSPACES`], or more than
    /// [`MAX_MEMBERSHIPS`] with those that ended. Anybody who may record can make anybody a member of something, so that
    /// this must not cost without bound, and must not keep a reader from an organization of their own.
    async fn memberships(&self) -> Result<Option<&[Membership]>> {
        let read = || async {
            let Some(user) = &self.caller.user else { return Ok(Some(Vec::new())) };
            match self.store.memberships(user, MAX_MEMBERSHIPS).await? {
                Some(memberships) if memberships.len() <= MAX_WORKSPACES => {
                    let roles = memberships.into_iter().map(|(id, role)| (id, Some(role)));
                    self.with_entries(roles.collect()).await.map(Some)
                }
                _ => Ok(None),
            }
        };
        Ok(self.memberships.get_or_try_init(read).await?.as_deref())
    }

    /// The reader's roles in those workspaces, without those in which they have none; all of them for a service.
    async fn roles_in(&self, ids: Vec<WorkspaceId>) -> Result<Vec<(WorkspaceId, Option<Role>)>> {
        if self.caller.has(READ) {
            return Ok(ids.into_iter().map(|id| (id, None)).collect());
        }
        let Some(user) = &self.caller.user else { return Ok(Vec::new()) };
        let wanted: Vec<_> = ids.into_iter().map(|id| (user.clone(), id)).collect();
        let roles = self.store.roles(&wanted).await?;
        Ok(roles.into_iter().map(|((_, id), role)| (id, Some(role))).collect())
    }

    /// The reader's memberships of the workspaces of an organization; all of those for a service.
    ///
    /// # Errors
    /// [`QueryError::TooManyToCheck`] when more than [`MAX_WORKSPACES`] ever belonged to it.
    async fn memberships_of(&self, organization: &OrganizationId) -> Result<Vec<Membership>> {
        let roles = self.roles_in(self.workspaces_of(organization).await?).await?;
        let mut memberships = self.with_entries(roles).await?;
        memberships.retain(|membership| membership.is_of(organization));
        Ok(memberships)
    }

    /// Adds the workspaces' entries, and leaves out workspaces that have none.
    async fn with_entries(&self, roles: Vec<(WorkspaceId, Option<Role>)>) -> Result<Vec<Membership>> {
        let ids: Vec<WorkspaceId> = roles.iter().map(|(id, _)| id.clone()).collect();
        Ok(joined(roles, self.store.workspaces(&ids).await?))
    }

    /// The workspaces that ever belonged to an organization.
    ///
    /// # Errors
    /// [`QueryError::TooManyToCheck`] when they are more than [`MAX_WORKSPACES`].
    async fn workspaces_of(&self, organization: &OrganizationId) -> Result<Vec<WorkspaceId>> {
        let listed = self.store.organization_workspaces(organization, MAX_WORKSPACES + 1).await?;
        if listed.len() > MAX_WORKSPACES { Err(TOO_MANY) } else { Ok(listed) }
    }

    /// Those workspaces that the reader sees, only of `organization` if one is given.
    fn visible(
        &self,
        memberships: &[Membership],
        organization: Option<&OrganizationId>,
    ) -> Vec<VisibleWorkspace> {
        let is_of_it = |membership: &&Membership| organization.is_none_or(|id| membership.is_of(id));
        let visible = |membership: &Membership| {
            let visible = membership.visible_to(&self.caller)?;
            self.keep_entry(&membership.id, &membership.workspace);
            Some(visible)
        };
        memberships.iter().filter(is_of_it).filter_map(visible).collect()
    }
}

/// The memberships with these roles in the workspaces of these entries.
fn joined(
    roles: Vec<(WorkspaceId, Option<Role>)>,
    mut entries: HashMap<WorkspaceId, Workspace>,
) -> Vec<Membership> {
    let membership = |(id, role)| entries.remove(&id).map(|workspace| Membership { id, workspace, role });
    roles.into_iter().filter_map(membership).collect()
}
