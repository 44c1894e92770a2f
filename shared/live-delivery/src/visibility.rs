//! Decides which updates a subscriber may see.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::Result;
use domain::access::{self, Caller, View};
use domain::directory::{Role, Workspace};
use domain::ids::{ActorId, WorkspaceId};
use domain::subscription::{Session, Subscription, Topic};
use store::Store;

use crate::dispatcher::Update;

/// The part of the directory that decides who sees some updates, as it was when they were delivered.
pub(crate) struct DirectorySnapshot {
    workspaces: HashMap<WorkspaceId, Arc<Workspace>>,
    roles: HashMap<(ActorId, WorkspaceId), Role>,
}

/// An update that a subscriber may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VisibleUpdate {
    /// Its index.
    pub(crate) index: usize,
    /// Whether they may see when and by whom it was recorded.
    pub(crate) shows_provenance: bool,
}

impl DirectorySnapshot {
    /// Reads the roles of all subscribers in the workspaces of all updates; `workspaces` has those that exist.
    pub(crate) async fn read(
        store: &Store,
        subscriptions: &[Subscription],
        updates: &[Update],
        workspaces: HashMap<WorkspaceId, Workspace>,
    ) -> Result<Self> {
        let ids: HashSet<&WorkspaceId> = updates.iter().map(|update| &update.activity.workspace_id).collect();
        let sessions: HashSet<&Session> =
            subscriptions.iter().map(|subscription| &subscription.session).collect();
        let users: HashSet<ActorId> = sessions
            .iter()
            .filter_map(|session| Some(session.caller()).filter(|caller| !caller.reads_everything())?.user)
            .collect();
        let wanted = users.iter().flat_map(|user| ids.iter().map(|&id| (user.clone(), id.clone())));
        let roles = store.roles(&wanted.collect::<Vec<_>>()).await?;
        let workspaces = workspaces.into_iter().map(|(id, entry)| (id, Arc::new(entry))).collect();
        Ok(Self { workspaces, roles })
    }

    /// The entry of a workspace, if the workspace exists.
    pub(crate) fn workspace(&self, id: &WorkspaceId) -> Option<Arc<Workspace>> {
        self.workspaces.get(id).cloned()
    }

    /// The updates that a subscriber to `topic` may see.
    ///
    /// # Errors
    /// Those of [`access::decide`], when the topic is a workspace.
    pub(crate) fn visible_updates(
        &self,
        topic: &Topic,
        session: &Session,
        updates: &[Update],
    ) -> Result<Vec<VisibleUpdate>> {
        let caller = session.caller();
        let mut views: HashMap<&WorkspaceId, (View, bool)> = HashMap::new();
        let mut visible = Vec::new();
        for (index, update) in updates.iter().enumerate() {
            let workspace = &update.activity.workspace_id;
            let (view, shows_provenance) = match views.get(workspace) {
                Some(seen) => *seen,
                None => {
                    let seen = self.view(topic, &caller, workspace)?;
                    views.insert(workspace, seen);
                    seen
                }
            };
            if view.shows(&update.activity.action, update.staff) {
                visible.push(VisibleUpdate { index, shows_provenance });
            }
        }
        Ok(visible)
    }

    /// How much of a workspace a subscriber sees, and whether of that also when and by whom it was recorded.
    fn view(&self, topic: &Topic, caller: &Caller, workspace: &WorkspaceId) -> Result<(View, bool)> {
        let entry = self.workspaces.get(workspace).map(Arc::as_ref);
        let role = caller.user.as_ref().and_then(|user| self.roles.get(&(user.clone(), workspace.clone())));
        let role = role.copied();
        let decided = access::decide(caller, workspace, entry, role);
        let view = match topic {
            Topic::Workspace(_) => decided?,
            // A subscriber to an organization sees those of its workspaces that they may read. The workspace may have left
            // the organization since the batch was listed.
            Topic::Organization(organization) => {
                let belongs = entry.is_some_and(|entry| entry.organization.as_ref() == Some(organization));
                decided.ok().filter(|_| belongs).unwrap_or(View::Nothing)
            }
        };
        Ok((view, access::sees_provenance(caller, workspace, entry, role)))
    }
}
