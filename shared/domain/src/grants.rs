//! Grants: the organizations and workspaces to which a token's scopes are narrowed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{OrganizationId, WorkspaceId};

/// The claims that narrow scopes, as the issuer names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantClaims {
    /// The claim with the ids of organizations.
    pub organizations: String,
    /// The claim with the ids of workspaces.
    pub workspaces: String,
    /// Whether a token with neither claim is granted nothing. Otherwise it is granted everything.
    pub are_required: bool,
}

impl Default for GrantClaims {
    fn default() -> Self {
        Self { organizations: "organizations".into(), workspaces: "workspaces".into(), are_required: false }
    }
}

/// The tenants that the scopes of a token are for. Each list narrows them further; `None` does not narrow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Grants {
    /// The organizations.
    pub organizations: Option<BTreeSet<String>>,
    /// The workspaces.
    pub workspaces: Option<BTreeSet<String>>,
}

impl Grants {
    /// The grants of a verified token: a claim is a list of ids, or ids separated by spaces. A claim of another shape grants
    /// nothing.
    pub fn of_claims(claims: &Map<String, Value>, names: &GrantClaims) -> Self {
        let listed = |name: &str| match claims.get(name)? {
            Value::String(text) => Some(words(text)),
            Value::Array(items) => {
                let ids: Option<BTreeSet<String>> =
                    items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                Some(ids.unwrap_or_default())
            }
            _ => Some(BTreeSet::new()),
        };
        let grants =
            Self { organizations: listed(&names.organizations), workspaces: listed(&names.workspaces) };
        if names.are_required && grants.are_all() { Self::none() } else { grants }
    }

    /// Nothing.
    pub fn none() -> Self {
        Self { organizations: Some(BTreeSet::new()), workspaces: Some(BTreeSet::new()) }
    }

    /// Whether they narrow nothing.
    pub fn are_all(&self) -> bool {
        self.organizations.is_none() && self.workspaces.is_none()
    }

    /// Whether they cover a workspace that belongs to `organization`.
    pub fn cover(&self, workspace: &WorkspaceId, organization: Option<&OrganizationId>) -> bool {
        let in_organization = self.organizations.as_ref().is_none_or(|granted| {
            organization.is_some_and(|organization| granted.contains(organization.as_str()))
        });
        self.cover_id(workspace) && in_organization
    }

    /// Whether they cover a workspace's id, whatever organization it belongs to.
    pub fn cover_id(&self, workspace: &WorkspaceId) -> bool {
        self.workspaces.as_ref().is_none_or(|granted| granted.contains(workspace.as_str()))
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn covers(claims: &Value, names: &GrantClaims, workspace: &str, organization: Option<&str>) -> bool {
        let workspace = WorkspaceId::parse("w", workspace).unwrap();
        let organization = organization.map(|id| OrganizationId::parse("o", id).unwrap());
        Grants::of_claims(claims.as_object().unwrap(), names).cover(&workspace, organization.as_ref())
    }

    #[test]
    fn each_claim_narrows() {
        let names = GrantClaims::default();
        let required = GrantClaims { are_required: true, ..names.clone() };
        for (claims, ours, other_workspace, other_organization, none, if_required) in [
            (json!({}), true, true, true, true, false),
            (json!({ "workspaces": ["ws-1"] }), true, false, true, true, true),
            (json!({ "workspaces": "ws-0 ws-1" }), true, false, true, true, true),
            (json!({ "organizations": ["org-1"] }), true, true, false, false, true),
            (json!({ "organizations": ["org-1"], "workspaces": ["ws-1"] }), true, false, false, false, true),
            (json!({ "organizations": ["org-1 org-2"] }), false, false, false, false, false),
            (json!({ "organizations": [], "workspaces": ["ws-1"] }), false, false, false, false, false),
            (json!({ "workspaces": null }), false, false, false, false, false),
            (json!({ "workspaces": ["ws-1", 7] }), false, false, false, false, false),
            (json!({ "workspaces": "[ws-1]" }), false, false, false, false, false),
            (json!({ "workspaces": { "ws-1": true } }), false, false, false, false, false),
        ] {
            assert_eq!(covers(&claims, &names, "ws-1", Some("org-1")), ours, "{claims}");
            assert_eq!(covers(&claims, &names, "ws-2", Some("org-1")), other_workspace, "{claims}");
            assert_eq!(covers(&claims, &names, "ws-1", Some("org-2")), other_organization, "{claims}");
            assert_eq!(covers(&claims, &names, "ws-1", None), none, "{claims}");
            assert_eq!(covers(&claims, &required, "ws-1", Some("org-1")), if_required, "{claims}");
        }
        let own = GrantClaims { workspaces: "https://example.com/ws".into(), ..names };
        let claims = json!({ "https://example.com/ws": ["ws-1"], "workspaces": ["ws-2"] });
        assert!(covers(&claims, &own, "ws-1", None) && !covers(&claims, &own, "ws-2", None));
    }
}
