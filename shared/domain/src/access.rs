//! Who may see what. Decided at read time, from the directory as it is then.

use std::collections::HashSet;

use crate::directory::{Privacy, Role, Workspace};
use crate::ids::{ActorId, OrganizationId, WorkspaceId};
use crate::{Error, Result};

/// Scope of those who may record.
pub const WRITE: &str = "activity:write";
/// Scope of services that may read every workspace.
pub const READ: &str = "activity:read";

/// Who is asking, as their verified token says.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's subject; `None` when it is no id we could know, so that it is nobody's member.
    pub user: Option<ActorId>,
    scopes: HashSet<String>,
}

impl Caller {
    /// A caller from the claims `sub` and `scope` of a verified token.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] without a subject.
    pub fn from_claims(sub: Option<&str>, scope: Option<&str>) -> Result<Self> {
        let sub = sub.ok_or(Error::Unauthenticated("The token has no subject"))?;
        // The gateway hands a list on as text in brackets.
        let scopes = scope.unwrap_or_default().split([' ', ',', '[', ']']).filter(|scope| !scope.is_empty());
        let scopes = scopes.map(str::to_owned).collect();
        Ok(Self { user: ActorId::parse("sub", sub).ok(), scopes })
    }

    /// Whether the token has `scope`.
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Checks that the caller may record.
    pub fn may_record(&self) -> Result<()> {
        if self.has(WRITE) {
            Ok(())
        } else {
            Err(Error::Forbidden("Recording needs the scope activity:write"))
        }
    }
}

/// What a caller sees of a workspace they may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything.
    All,
    /// Everything but what is for staff.
    Client,
    /// Nothing: activity tracking is off.
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

/// A workspace, and what a caller sees of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which one.
    pub workspace: WorkspaceId,
    /// What they see.
    pub view: View,
    /// Whose it is.
    pub organization: Option<OrganizationId>,
    /// Whether any of its activities may be outside its organization's partition.
    pub unclaimed: bool,
}

impl Place {
    /// A workspace that `caller` asks for, with its entry in the directory and their role in it.
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
    pub(crate) fn shared_with(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().filter(|_| !self.unclaimed)
    }

    /// A workspace of which nothing is known yet.
    pub(crate) fn unchecked(workspace: &WorkspaceId) -> Self {
        Self { workspace: workspace.clone(), view: View::All, organization: None, unclaimed: false }
    }
}

/// Decides what `caller` sees.
///
/// # Errors
/// [`Error::NotFound`] when the workspace is unknown, [`Error::Forbidden`] when its feed is not for them.
pub fn decide(caller: &Caller, workspace: Option<&Workspace>, role: Option<Role>) -> Result<View> {
    let workspace = workspace.ok_or(Error::NotFound("Project not found"))?;
    let view = match role {
        _ if caller.has(READ) => View::All,
        Some(Role::Owner | Role::Admin) => View::All,
        Some(Role::Member) if workspace.privacy == Privacy::Members => View::All,
        Some(Role::Client) if workspace.privacy == Privacy::Members => View::Client,
        _ => return Err(Error::Forbidden("You do not have permission to view activities for this project")),
    };
    Ok(if workspace.activity_enabled { view } else { View::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_privacy_and_tracking_decide() {
        use Role::{Admin, Client, Member, Owner};
        let user = Caller::from_claims(Some("u"), None).unwrap();
        let service = Caller::from_claims(Some("s"), Some("openid activity:read")).unwrap();
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
        let user = Caller::from_claims(Some("u"), None).unwrap();
        assert_eq!(decide(&user, None, None).unwrap_err().to_string(), "Project not found");
    }

    #[test]
    fn scopes_are_whole_words() {
        let caller = Caller::from_claims(Some("u"), Some("activity:writer xactivity:read")).unwrap();
        assert!(caller.may_record().is_err() && !caller.has(READ));
        let listed = Caller::from_claims(Some("u"), Some("[openid activity:write]")).unwrap();
        assert!(listed.may_record().is_ok() && !listed.has(READ));
        assert!(Caller::from_claims(None, Some("activity:read")).is_err());
    }
}
