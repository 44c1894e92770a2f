//! Access: how much a caller sees. It is decided at read time, from the directory as it is then.

use std::collections::HashSet;

use crate::directory::{Privacy, Role, Workspace};
use crate::error::{Forbidden, Missing};
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
}

impl Caller {
    /// A caller with these scopes, whose token has the subject `sub`.
    pub fn new<'a>(sub: &str, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            user: ActorId::parse("sub", sub).ok(),
            scopes: scopes.into_iter().map(str::to_owned).collect(),
        }
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

/// The scopes of a claim: words separated by spaces, as RFC 6749 (section 3.3) says. API Gateway passes a list of them
/// on as text in brackets, which stand around the whole claim and nowhere else.
pub fn scopes(claim: &str) -> impl Iterator<Item = &str> {
    let listed = claim.strip_prefix('[').and_then(|claim| claim.strip_suffix(']'));
    listed.unwrap_or(claim).split(' ').filter(|scope| !scope.is_empty())
}

/// How much of a workspace a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything.
    All,
    /// Everything but what is for staff.
    Client,
    /// Nothing, because activity tracking is off.
    Nothing,
}

impl View {
    /// Whether it shows an activity that is, or is not, for staff.
    pub fn shows(self, staff: bool) -> bool {
        match self {
            Self::All => true,
            Self::Client => !staff,
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
        let view = decide(caller, workspace, role)?;
        Ok(Self {
            workspace: id.clone(),
            view,
            organization: workspace.and_then(|workspace| workspace.organization.clone()),
            unclaimed: workspace.is_some_and(|workspace| workspace.unclaimed),
        })
    }

    /// The organization whose partition has all of its activities.
    pub fn shared_with(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().filter(|_| !self.unclaimed)
    }

    /// A workspace of which nothing is known yet. What is read for it must not be returned before access is decided.
    pub fn unchecked(workspace: &WorkspaceId) -> Self {
        Self { workspace: workspace.clone(), view: View::All, organization: None, unclaimed: false }
    }
}

/// Decides how much of a workspace `caller` sees.
///
/// # Errors
/// [`Error::NotFound`] when the workspace is unknown, [`Error::Forbidden`] when the caller may not read its feed.
pub fn decide(caller: &Caller, workspace: Option<&Workspace>, role: Option<Role>) -> Result<View> {
    let workspace = workspace.ok_or(Error::NotFound(Missing::Workspace))?;
    let view = match role {
        _ if caller.has(READ) => View::All,
        Some(Role::Owner | Role::Admin) => View::All,
        Some(Role::Member) if workspace.privacy == Privacy::Members => View::All,
        Some(Role::Client) if workspace.privacy == Privacy::Members => View::Client,
        _ => return Err(Error::Forbidden(Forbidden::ReadWorkspace)),
    };
    Ok(if workspace.activity_enabled { view } else { View::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_privacy_and_tracking_decide() {
        use Role::{Admin, Client, Member, Owner};
        let user = Caller::new("u", []);
        let service = Caller::new("s", scopes("openid activity:read"));
        let see = |caller: &Caller, privacy, activity_enabled, role| {
            let workspace = Workspace { privacy, activity_enabled, ..Workspace::named("w") };
            decide(caller, Some(&workspace), role).ok()
        };
        for (role, open, private) in [
            (Some(Owner), Some(View::All), Some(View::All)),
            (Some(Admin), Some(View::All), Some(View::All)),
            (Some(Member), Some(View::All), None),
            (Some(Client), Some(View::Client), None),
            (None, None, None),
        ] {
            assert_eq!(see(&user, Privacy::Members, true, role), open, "{role:?}");
            assert_eq!(see(&user, Privacy::Admins, true, role), private, "{role:?}");
            assert_eq!(see(&user, Privacy::Members, false, role), open.map(|_| View::Nothing), "{role:?}");
            assert_eq!(see(&service, Privacy::Admins, true, role), Some(View::All), "{role:?}");
            assert_eq!(see(&service, Privacy::Admins, false, role), Some(View::Nothing), "{role:?}");
        }
    }

    #[test]
    fn unknown_comes_before_forbidden() {
        let user = Caller::new("u", []);
        assert_eq!(decide(&user, None, None).unwrap_err().to_string(), "workspace not found");
    }

    #[test]
    fn scopes_are_whole_words() {
        let caller = Caller::new("u", scopes("activity:writer xactivity:read"));
        assert!(caller.may_record().is_err() && !caller.has(READ));
        let listed = Caller::new("u", scopes("[openid activity:write]"));
        assert!(listed.may_record().is_ok() && !listed.has(READ));
        for none in [
            "foo,activity:read",
            "activity:read,foo",
            "foo[activity:read]",
            "[activity:read",
            "activity:read]",
            "[[activity:read]]",
            "foo\tactivity:read",
            "activity:read\u{a0}",
            "ACTIVITY:READ",
        ] {
            assert!(!Caller::new("u", scopes(none)).has(READ), "{none}");
        }
    }
}
