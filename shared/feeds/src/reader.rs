//! What a reader may see, found out once a request however many workspaces it asks for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::access::{Caller, Place, READ};
use crate::directory::{Role, Workspace};
use crate::ids::{OrganizationId, Slug, WorkspaceId};
use crate::store::Store;
use crate::{Error, Result};

/// The most workspaces that are looked at to find one by its slug, or an organization by its own.
const CANDIDATES: usize = 100;

const NO_PROJECT: Error = Error::NotFound("Project not found");
const NO_COMPANY: Error = Error::NotFound("Company not found");
const NOT_THIS_COMPANY: Error =
    Error::Forbidden("You do not have permission to view activities for this company");

/// Who reads, in one request.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    caller: Caller,
    mine: OnceCell<Vec<Known>>,
    companies: Mutex<HashMap<String, Arc<OnceCell<Company>>>>,
    met: Mutex<HashMap<WorkspaceId, Workspace>>,
}

/// An organization, and what of it is for the reader.
type Company = (OrganizationId, Vec<Place>);

/// A workspace, and the reader's role in it.
#[derive(Debug)]
struct Known {
    id: WorkspaceId,
    workspace: Workspace,
    role: Option<Role>,
}

impl Reader {
    /// A reader of whom nothing is known yet.
    pub fn new(store: Store, caller: Caller) -> Self {
        Self { store, caller, mine: OnceCell::new(), companies: Mutex::default(), met: Mutex::default() }
    }

    /// What was read of a workspace in the course of the request.
    pub fn met(&self, id: &WorkspaceId) -> Option<Workspace> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn meet(&self, id: &WorkspaceId, workspace: &Workspace) {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), workspace.clone());
    }

    /// A workspace, which must be of `company`, an organization's id or slug, if that is given.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, [`Error::Forbidden`] when it is not for this reader.
    pub async fn project(&self, id: &WorkspaceId, company: Option<&str>) -> Result<Place> {
        let (workspace, role) = self.store.access(id, self.caller.user.as_ref()).await?;
        // First, so that whose it is cannot be found out by those whom it does not concern.
        let place = Place::of(&self.caller, id, workspace.as_ref(), role)?;
        let workspace = workspace.ok_or(NO_PROJECT)?;
        if let Some(company) = company
            && !is_of(&workspace, company)
            // The slug may have been told of other workspaces of the organization only.
            && (place.organization.is_none() || Box::pin(self.any_organization(company)).await? != place.organization)
        {
            return Err(NO_PROJECT);
        }
        self.meet(id, &workspace);
        Ok(place)
    }

    /// What `read` makes of the workspace whose id `project` is, or else whose slug, which must be of `company` if that is
    /// given.
    ///
    /// # Errors
    /// Those of `read`, which are [`Error::NotFound`] and [`Error::Forbidden`] when it is another's id or none; and
    /// [`Error::BadInput`] when the slug is that of several.
    pub async fn any_project<T, F: Future<Output = Result<T>>>(
        &self,
        project: &str,
        company: Option<&str>,
        read: impl Fn(WorkspaceId) -> F,
    ) -> Result<T> {
        let id = WorkspaceId::parse("projectId", project).map_err(|_| NO_PROJECT)?;
        match read(id).await {
            // It may be a slug, be it another workspace's id or not.
            Err(refused @ (Error::NotFound(_) | Error::Forbidden(_))) => {
                match self.project_with_slug(project, company).await {
                    Ok(id) => read(id).await,
                    Err(Error::NotFound(_)) => Err(refused),
                    Err(error) => Err(error),
                }
            }
            found => found,
        }
    }

    /// The workspace with a slug. Slugs are not unique: of several, it is the one that is of `company`, and that this
    /// reader is a member of.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::BadInput`] when that still leaves several.
    async fn project_with_slug(&self, slug: &str, company: Option<&str>) -> Result<WorkspaceId> {
        let slug = Slug::parse("projectId", slug).map_err(|_| NO_PROJECT)?;
        let listed = self.store.with_slug(&slug, CANDIDATES).await?;
        let has_it = |workspace: &Workspace| workspace.slug.as_deref() == Some(slug.as_str());
        let mut entries = self.store.workspaces(&listed).await?;
        entries.retain(|_, workspace| has_it(workspace));
        if (entries.len() != 1 || listed.len() >= CANDIDATES) && !self.caller.has(READ) {
            let mine = self.mine().await?.iter().filter(|known| has_it(&known.workspace));
            let mine: HashMap<_, _> = mine.map(|known| (known.id.clone(), known.workspace.clone())).collect();
            if mine.is_empty() {
                // Whichever it is, it is not for them.
                return entries.into_keys().min().ok_or(NO_PROJECT);
            }
            entries = mine;
        }
        if let Some(company) = company.filter(|_| entries.len() > 1) {
            let organization = Box::pin(self.any_organization(company)).await?;
            entries.retain(|_, workspace| {
                is_of(workspace, company) || organization.is_some() && workspace.organization == organization
            });
        }
        let mut found: BTreeSet<WorkspaceId> = entries.into_keys().collect();
        if found.len() > 1 {
            let detail = "is the slug of several projects; give the project's id, or companyId too";
            return Err(Error::bad_input("projectId", detail));
        }
        found.pop_first().ok_or(NO_PROJECT)
    }

    /// An organization, by its id or slug, and what of it is for this reader.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::Forbidden`] when they are a member of none of its workspaces;
    /// [`Error::BadInput`] when it is the slug of several.
    pub async fn company(&self, company: &str) -> Result<Company> {
        let cell = {
            let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(companies.entry(company.to_owned()).or_default())
        };
        cell.get_or_try_init(|| self.find_company(company)).await.cloned()
    }

    async fn find_company(&self, company: &str) -> Result<Company> {
        if self.caller.has(READ) {
            let organization = self.any_organization(company).await?.ok_or(NO_COMPANY)?;
            let listed = self.store.of_organization(&organization, None).await?;
            let known = self.known(listed.into_iter().map(|id| (id, None)).collect()).await?;
            return Ok((organization.clone(), self.places(known.iter(), Some(&organization))));
        }
        let mine = self.mine().await?;
        let theirs = mine.iter().filter(|known| is_of(&known.workspace, company));
        let found: BTreeSet<&OrganizationId> =
            theirs.filter_map(|known| known.workspace.organization.as_ref()).collect();
        // An id is exact; a slug may be several organizations'.
        let organization = match found.iter().find(|id| id.as_str() == company) {
            Some(id) => Some(*id),
            None if found.len() > 1 => return Err(several_companies()),
            None => found.first().copied(),
        };
        let organization = match organization {
            Some(organization) => (*organization).clone(),
            // The slug may have been told of other workspaces only.
            None => {
                let organization = self.any_organization(company).await?.ok_or(NO_COMPANY)?;
                if !mine.iter().any(|known| known.workspace.organization.as_ref() == Some(&organization)) {
                    return Err(NOT_THIS_COMPANY);
                }
                organization
            }
        };
        let places = self.places(mine.iter(), Some(&organization));
        Ok((organization, places))
    }

    /// All that is for this reader.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a service, which is a member of nothing and may read everything.
    pub async fn everything(&self) -> Result<Vec<Place>> {
        if self.caller.has(READ) {
            let detail = "or projectId is required with a token of the scope activity:read";
            return Err(Error::bad_input("companyId", detail));
        }
        Ok(self.places(self.mine().await?.iter(), None))
    }

    /// What the reader is a member of, and is still there.
    async fn mine(&self) -> Result<&Vec<Known>> {
        let read = || async {
            let Some(user) = &self.caller.user else { return Ok(Vec::new()) };
            let memberships = self.store.memberships(user).await?;
            self.known(memberships.into_iter().map(|(id, role)| (id, Some(role))).collect()).await
        };
        self.mine.get_or_try_init(read).await
    }

    async fn known(&self, roles: Vec<(WorkspaceId, Option<Role>)>) -> Result<Vec<Known>> {
        let ids: Vec<WorkspaceId> = roles.iter().map(|(id, _)| id.clone()).collect();
        let mut entries = self.store.workspaces(&ids).await?;
        let known = |(id, role)| entries.remove(&id).map(|workspace| Known { id, workspace, role });
        Ok(roles.into_iter().filter_map(known).collect())
    }

    /// Those of some workspaces that are for this reader, and of an organization if one is given.
    fn places<'a>(
        &self,
        known: impl Iterator<Item = &'a Known>,
        organization: Option<&OrganizationId>,
    ) -> Vec<Place> {
        let of = |known: &&Known| {
            organization
                .is_none_or(|organization| known.workspace.organization.as_ref() == Some(organization))
        };
        let place = |Known { id, workspace, role }: &Known| {
            let place = Place::of(&self.caller, id, Some(workspace), *role).ok()?;
            self.meet(id, workspace);
            Some(place)
        };
        known.filter(of).filter_map(place).collect()
    }

    /// An organization, by its id or slug, whoever may see it.
    async fn any_organization(&self, company: &str) -> Result<Option<OrganizationId>> {
        let Ok(id) = OrganizationId::parse("companyId", company) else { return Ok(None) };
        if !self.store.of_organization(&id, Some(1)).await?.is_empty() {
            return Ok(Some(id));
        }
        let slug = Slug::parse("companyId", company)?;
        let listed = self.store.with_organization_slug(&slug, CANDIDATES).await?;
        let entries = self.store.workspaces(&listed).await?;
        let with_it =
            entries.into_values().filter(|entry| entry.organization_slug.as_deref() == Some(company));
        let mut found: BTreeSet<OrganizationId> = with_it.filter_map(|entry| entry.organization).collect();
        if found.len() > 1 {
            return Err(several_companies());
        }
        Ok(found.pop_first())
    }
}

/// Whether a workspace is of `company`, an organization's id or slug.
fn is_of(workspace: &Workspace, company: &str) -> bool {
    workspace.organization.as_ref().is_some_and(|id| id.as_str() == company)
        || workspace.organization_slug.as_deref() == Some(company)
}

fn several_companies() -> Error {
    Error::bad_input("companyId", "is the slug of several companies; give the company's id")
}
