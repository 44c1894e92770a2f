//! Access: how much a caller sees. It is decided at read time, from the directory as it is then.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::activity::Action;
use crate::directory::{Privacy, Role, Workspace};
use crate::error::{Forbidden, Missing};
use crate::grants::Grants;
use crate::ids::{ActorId, OrganizationId, WorkspaceId};
use crate::{Error, Result};

/// The scope that lets a service record.
pub const WRITE: &str = "activity:write";
/// The scope that a service needs besides [`WRITE`] to record what changes the directory: workspaces and members.
pub const ADMIN: &str = "activity:admin";
/// The scope that lets a service read every workspace.
pub const READ: &str = "activity:read";

/// The caller, as their verified token says.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's subject; `None` when it is no id that a member could have.
    pub user: Option<ActorId>,
    scopes: HashSet<String>,
    grants: Arc<Grants>,
}

impl Caller {
    /// A caller with these scopes for everything, whose token has the subject `sub`.
    pub fn new<'a>(sub: &str, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        Self { user: ActorId::parse("sub", sub).ok(), scopes, grants: Arc::default() }
    }

    /// The same caller, whose scopes are narrowed to `grants`.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { grants: Arc::new(grants), ..self }
    }

    /// The organizations and workspaces to which the scopes are narrowed.
    pub fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// Whether a scope lets the caller read a workspace that belongs to `organization`.
    pub fn reads(&self, workspace: &WorkspaceId, organization: Option<&OrganizationId>) -> bool {
        self.has(READ) && self.grants.cover(workspace, organization)
    }

    /// Whether a scope lets the caller read every workspace.
    pub fn reads_everything(&self) -> bool {
        self.has(READ) && self.grants.are_all()
    }

    /// Whether the token has `scope`.
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Checks that the caller may record.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without the scope [`WRITE`].
    pub fn may_record(&self) -> Result<()> {
        if self.has(WRITE) { Ok(()) } else { Err(Error::Forbidden(Forbidden::Record)) }
    }

    /// Whether the caller may record what changes the directory.
    pub fn may_change_directory(&self) -> bool {
        self.has(WRITE) && self.has(ADMIN)
    }
}

/// The scopes in the claims of a verified token. Most issuers write them as one string, whose words are separated by spaces
/// (RFC 6749, section 3.3), and some as a list. An item of a list that has a space is no scope.
pub fn scopes(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let values = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    let scopes = values.flat_map(|value| match value {
        Value::Array(items) => {
            items.iter().filter_map(Value::as_str).filter(|item| !item.contains(' ')).collect()
        }
        Value::String(text) => text.split(' ').collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    scopes.filter(|scope| !scope.is_empty())
}

/// The subject of a verified token. Some issuers write a whole number. One that does not fit 64 bits is nobody's, because it
/// was read inexactly, and two users could look alike.
pub fn subject(claims: &Map<String, Value>) -> Option<String> {
    match claims.get("sub")? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// The action that switches tracking off, and shows who did.
pub const SETTINGS_UPDATED: &str = "workspace.settings_updated";

/// How much of a workspace a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything.
    All,
    /// Everything but what is for staff.
    Client,
    /// Changes of the settings only, because activity tracking is off.
    Settings,
    /// Nothing, because activity tracking is off.
    Nothing,
}

impl View {
    /// Whether it shows an activity with an action, which is, or is not, for staff.
    pub fn shows(self, action: &Action, staff: bool) -> bool {
        match self {
            Self::All => true,
            Self::Client => !staff,
            Self::Settings => action.as_str() == SETTINGS_UPDATED,
            Self::Nothing => false,
        }
    }
}

/// A workspace that a caller may read, and how much of it they see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleWorkspace {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// How much the caller sees.
    pub view: View,
    /// The organization it belongs to.
    pub organization: Option<OrganizationId>,
    /// Whether its organization's partition may lack some of its activities.
    pub unclaimed: bool,
    /// Whether the caller sees when and by whom its activities were recorded.
    pub sees_provenance: bool,
}

impl VisibleWorkspace {
    /// The workspace that `caller` asks for, given its entry in the directory and their role in it.
    ///
    /// # Errors
    /// Those of [`decide`].
    pub fn of(
        caller: &Caller,
        id: &WorkspaceId,
        workspace: Option<&Workspace>,
        role: Option<Role>,
    ) -> Result<Self> {
        let view = decide(caller, id, workspace, role)?;
        Ok(Self {
            workspace: id.clone(),
            view,
            organization: workspace.and_then(|workspace| workspace.organization.clone()),
            unclaimed: workspace.is_some_and(|workspace| workspace.unclaimed),
            sees_provenance: sees_provenance(caller, id, workspace, role),
        })
    }

    /// The organization whose partition it is read from: one that has all of its activities, unless few of them are shown.
    pub fn shared_with(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().filter(|_| !self.unclaimed && self.view != View::Settings)
    }

    /// A workspace of which nothing is known yet. What is read for it must not be returned before access is decided.
    pub fn unchecked(workspace: &WorkspaceId) -> Self {
        let (workspace, view, organization) = (workspace.clone(), View::All, None);
        Self { workspace, view, organization, unclaimed: false, sees_provenance: false }
    }
}

/// Decides how much of a workspace `caller` sees.
///
/// # Errors
/// [`Error::NotFound`] when the workspace is unknown, [`Error::Forbidden`] when the caller may not read its feed.
pub fn decide(
    caller: &Caller,
    id: &WorkspaceId,
    workspace: Option<&Workspace>,
    role: Option<Role>,
) -> Result<View> {
    let workspace = workspace.ok_or(Error::NotFound(Missing::Workspace))?;
    let (view, without_tracking) = match role {
        // Tracking is for people. An auditor sees that it was off, and what happened then.
        _ if caller.reads(id, workspace.organization.as_ref()) => (View::All, View::All),
        Some(Role::Owner | Role::Admin) => (View::All, View::Settings),
        Some(Role::Member) if workspace.privacy == Privacy::Members => (View::All, View::Nothing),
        Some(Role::Client) if workspace.privacy == Privacy::Members => (View::Client, View::Nothing),
        _ => return Err(Error::Forbidden(Forbidden::ReadWorkspace)),
    };
    Ok(if workspace.activity_enabled { view } else { without_tracking })
}

/// Whether `caller`, who may read a workspace in this role, also sees when and by whom its activities were recorded.
pub fn sees_provenance(
    caller: &Caller,
    id: &WorkspaceId,
    workspace: Option<&Workspace>,
    role: Option<Role>,
) -> bool {
    let organization = workspace.and_then(|workspace| workspace.organization.as_ref());
    caller.reads(id, organization) || matches!(role, Some(Role::Owner | Role::Admin))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> WorkspaceId {
        WorkspaceId::parse("w", "ws-1").unwrap()
    }

    #[test]
    fn role_privacy_and_tracking_decide() {
        use Role::{Admin, Client, Member, Owner};
        let user = Caller::new("u", []);
        let service = Caller::new("s", ["openid", "activity:read"]);
        let see = |caller: &Caller, privacy, activity_enabled, role| {
            let workspace = Workspace { privacy, activity_enabled, ..Workspace::named("w") };
            decide(caller, &id(), Some(&workspace), role).ok()
        };
        let (all, settings, nothing) = (Some(View::All), Some(View::Settings), Some(View::Nothing));
        // With privacy for members and for admins, each with tracking on and off.
        for (role, open, open_off, private, private_off) in [
            (Some(Owner), all, settings, all, settings),
            (Some(Admin), all, settings, all, settings),
            (Some(Member), all, nothing, None, None),
            (Some(Client), Some(View::Client), nothing, None, None),
            (None, None, None, None, None),
        ] {
            assert_eq!(see(&user, Privacy::Members, true, role), open, "{role:?}");
            assert_eq!(see(&user, Privacy::Members, false, role), open_off, "{role:?}");
            assert_eq!(see(&user, Privacy::Admins, true, role), private, "{role:?}");
            assert_eq!(see(&user, Privacy::Admins, false, role), private_off, "{role:?}");
            for (privacy, tracked) in [Privacy::Members, Privacy::Admins]
                .into_iter()
                .flat_map(|privacy| [(privacy, true), (privacy, false)])
            {
                assert_eq!(see(&service, privacy, tracked, role), all, "{role:?}");
            }
            let is_trusted = matches!(role, Some(Owner | Admin));
            let workspace = Workspace::named("w");
            let sees = |caller| sees_provenance(caller, &id(), Some(&workspace), role);
            assert_eq!((sees(&user), sees(&service)), (is_trusted, true), "{role:?}");
        }
    }

    #[test]
    fn view_shows_its_part() {
        let [settings, invitation, comment] = [SETTINGS_UPDATED, "invitation.created", "comment.created"]
            .map(|text| Action::parse("a", text).unwrap());
        let shown = |view: View| {
            [(&settings, true), (&invitation, true), (&comment, false)].map(|(a, staff)| view.shows(a, staff))
        };
        assert_eq!(shown(View::All), [true; 3]);
        assert_eq!(shown(View::Client), [false, false, true]);
        assert_eq!(shown(View::Settings), [true, false, false]);
        assert_eq!(shown(View::Nothing), [false; 3]);
    }

    #[test]
    fn unknown_comes_before_forbidden() {
        let user = Caller::new("u", []);
        assert_eq!(decide(&user, &id(), None, None).unwrap_err().to_string(), "workspace not found");
    }

    #[test]
    fn grants_narrow_what_a_service_reads() {
        let grants = |organization: &str| Grants {
            organizations: Some([organization.to_owned()].into()),
            workspaces: None,
        };
        let organization = OrganizationId::parse("o", "org-1").ok();
        let workspace = Workspace { organization, ..Workspace::named("w") };
        let see = |caller: &Caller, role| decide(caller, &id(), Some(&workspace), role).ok();
        let service = Caller::new("s", [READ]);
        assert!(service.reads_everything());
        let granted = service.clone().with_grants(grants("org-1"));
        assert_eq!((see(&granted, None), granted.reads_everything()), (Some(View::All), false));
        let other = service.with_grants(grants("org-2"));
        assert_eq!(see(&other, None), None);
        assert_eq!(see(&other, Some(Role::Client)), Some(View::Client), "a member needs no scope");
        let sees = |caller, role| sees_provenance(caller, &id(), Some(&workspace), role);
        assert!(sees(&granted, None) && !sees(&other, Some(Role::Member)) && sees(&other, Some(Role::Owner)));
    }

    #[test]
    fn scopes_are_whole_words() {
        let of = |claims: &Value| {
            let claims = claims.as_object().unwrap();
            Caller::new("u", scopes(claims))
        };
        let scope = |scope: &str| of(&json!({ "scope": scope }));
        let caller = scope("activity:writer xactivity:read");
        assert!(caller.may_record().is_err() && !caller.has(READ));
        let listed = of(&json!({ "scp": ["openid", "activity:write"] }));
        assert!(listed.may_record().is_ok() && !listed.has(READ));
        for none in [
            "foo,activity:read",
            "activity:read,foo",
            "foo[activity:read]",
            "[activity:read]",
            "[activity:read",
            "activity:read]",
            "foo\tactivity:read",
            "activity:read\u{a0}",
            "ACTIVITY:READ",
        ] {
            assert!(!scope(none).has(READ), "{none}");
        }
        for none in [json!({ "scp": ["a activity:read"] }), json!({ "scope": 1 }), json!({ "scope": null })] {
            assert!(!of(&none).has(READ), "{none}");
        }
        assert!(of(&json!({ "scope": "a", "scp": ["activity:read"] })).has(READ));
    }
}
