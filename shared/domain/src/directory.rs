//! The directory: workspaces and memberships, a projection of the log itself.
//!
//! Recording an activity of one of the actions below changes the directory in the same transaction. Every
//! field remembers the position of the activity that set it, so that an older one arriving late changes
//! nothing that a newer one decided.

use serde_json::Value;

use crate::activity::Activity;
use crate::ids::{ActorId, OrganizationId, Slug};
use crate::keys::{self, Position};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the workspace.
    Owner,
    /// Administers it.
    Admin,
    /// Works in it.
    Member,
    /// Is a guest, with limited sight of administration.
    Client,
}

impl Role {
    /// Reads a role as the catalog spells it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "owner" => Some(Self::Owner),
            "admin" => Some(Self::Admin),
            "member" => Some(Self::Member),
            "client" => Some(Self::Client),
            _ => None,
        }
    }
}

/// Who sees a workspace's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// All its members.
    Members,
    /// Owners and admins.
    Admins,
}

/// A workspace that is known: its `workspace.created` was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its name.
    pub name: String,
    /// Its readable address, when it has one.
    pub slug: Option<String>,
    /// The organization it belongs to.
    pub organization: Option<OrganizationId>,
    /// What that is called.
    pub organization_name: Option<String>,
    /// The slug of that.
    pub organization_slug: Option<String>,
    /// Whether any of its activities may be outside its organization's partition of by-organization.
    pub unclaimed: bool,
    /// Whether its activities are shown at all; true unless switched off.
    pub activity_enabled: bool,
    /// Who sees them; its members unless restricted.
    pub privacy: Privacy,
    /// Whether it is archived, which changes nothing for its readers.
    pub archived: bool,
}

impl Workspace {
    /// A workspace of which only the name is known.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            slug: None,
            organization: None,
            organization_name: None,
            organization_slug: None,
            unclaimed: false,
            activity_enabled: true,
            privacy: Privacy::Members,
            archived: false,
        }
    }
}

/// What the recorder has to know of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether the workspace is known.
    pub known: bool,
    /// Its organization.
    pub organization: Option<OrganizationId>,
    /// Whether it is marked as having activities that no organization's partition holds.
    pub unclaimed: bool,
}

/// A field of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A workspace's name.
    Name,
    /// A workspace's slug.
    Slug,
    /// A workspace's organization.
    Organization,
    /// What a workspace's organization is called.
    OrganizationName,
    /// The slug of a workspace's organization.
    OrganizationSlug,
    /// A workspace's tracking switch.
    ActivityEnabled,
    /// A workspace's privacy.
    Privacy,
    /// Whether a workspace is archived.
    Archived,
    /// A member's role; null once removed.
    Role,
}

impl Field {
    /// The attribute's name, which is also the name in an event's details.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Slug => "slug",
            Self::Organization => "organization",
            Self::OrganizationName => "organization_name",
            Self::OrganizationSlug => "organization_slug",
            Self::ActivityEnabled => "activity_enabled",
            Self::Privacy => "privacy",
            Self::Archived => "archived",
            Self::Role => "role",
        }
    }
}

/// A field's new value, and the position of the activity that decided it.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// Which field.
    pub field: Field,
    /// Its value: a string, a boolean or null.
    pub value: Value,
    /// Only a field that an earlier activity set changes.
    pub at: Position,
}

/// What changes in one item of the directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Key of the item.
    pub key: (String, String),
    /// At most one for each field.
    pub sets: Vec<Set>,
    /// Marks the workspace as having activities that no organization's partition holds.
    pub unclaimed: bool,
}

impl Change {
    /// Takes in what another activity sets in the same item: of two for one field, the later decides.
    pub fn merge(&mut self, other: Self) {
        for set in other.sets {
            match self.sets.iter_mut().find(|mine| mine.field == set.field) {
                Some(mine) if mine.at < set.at => *mine = set,
                Some(_) => {}
                None => self.sets.push(set),
            }
        }
        self.unclaimed |= other.unclaimed;
    }
}

/// What recording `activity` changes in the directory. Its details have been checked by the catalog.
pub fn changes(activity: &Activity) -> Vec<Change> {
    let entry = change(activity);
    if activity.action.as_str() != "workspace.created" {
        return entry.into_iter().collect();
    }
    // A listing is for ever: whether it still holds, the workspace's entry says.
    let listed = entry.iter().flat_map(|entry| &entry.sets).filter_map(|set| {
        let text = set.value.as_str()?;
        let partition = match set.field {
            Field::Organization => {
                keys::organization_workspaces(&OrganizationId::parse("organization", text).ok()?)
            }
            Field::Slug => keys::slug_workspaces(&Slug::parse("slug", text).ok()?),
            Field::OrganizationSlug => keys::organization_slug_workspaces(&Slug::parse("slug", text).ok()?),
            _ => return None,
        };
        let key = (partition, keys::listed_workspace(&activity.workspace_id));
        Some(Change { key, sets: vec![set.clone()], unclaimed: false })
    });
    let listed: Vec<Change> = listed.collect();
    entry.into_iter().chain(listed).collect()
}

/// What it changes in the one item that it is about.
fn change(activity: &Activity) -> Option<Change> {
    let detail = |field: Field| activity.details.get(field.name()).filter(|value| !value.is_null()).cloned();
    let given = |fields: &[Field]| fields.iter().filter_map(|&field| Some((field, detail(field)?))).collect();
    let mut key = keys::directory_workspace(&activity.workspace_id);
    let fields: Vec<(Field, Value)> = match activity.action.as_str() {
        "workspace.created" => given(&[
            Field::Name,
            Field::Slug,
            Field::Organization,
            Field::OrganizationName,
            Field::OrganizationSlug,
        ]),
        "workspace.settings_updated" => given(&[Field::ActivityEnabled, Field::Privacy]),
        "workspace.archived" => vec![(Field::Archived, true.into())],
        "workspace.unarchived" => vec![(Field::Archived, false.into())],
        "member.added" | "member.role_changed" | "member.removed" => {
            let user = ActorId::parse("details.user", activity.details.get("user")?.as_str()?).ok()?;
            key = keys::directory_member(&user, &activity.workspace_id);
            let removed = activity.action.as_str() == "member.removed";
            vec![(Field::Role, if removed { Value::Null } else { detail(Field::Role)? })]
        }
        _ => return None,
    };
    let set = |(field, value)| Set { field, value, at: activity.position() };
    (!fields.is_empty()).then(|| Change {
        key,
        sets: fields.into_iter().map(set).collect(),
        unclaimed: false,
    })
}

/// The organization that `activity` says its workspace belongs to.
pub fn organization_of(activity: &Activity) -> Option<OrganizationId> {
    if activity.action.as_str() != "workspace.created" {
        return None;
    }
    OrganizationId::parse("organization", activity.details.get("organization")?.as_str()?).ok()
}
