//! The directory: workspaces and memberships, a projection of the log itself.
//!
//! An activity of one of the actions below changes the directory in the transaction that records it. Every field keeps
//! when it was last said, so that an older activity that arrives late overwrites nothing newer. A field that decides who
//! may read keeps that for each of its values; [`holding`] says which of them holds.

mod precedence;

use serde_json::Value;

use crate::activity::Activity;
use crate::ids::{ActivityId, ActorId, OrganizationId, Slug, WorkspaceId};
use crate::json::Json;
use crate::time::Timestamp;

pub use precedence::{DEFAULT_TOLERANCE, Precedence, holding};

/// The role of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the workspace.
    Owner,
    /// Administers it.
    Admin,
    /// Works in it.
    Member,
    /// Is a guest, who does not see administration.
    Client,
}

impl Role {
    /// The role as the catalog spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Client => "client",
        }
    }

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

/// The readers of a workspace's feed.
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
    /// The organization's name.
    pub organization_name: Option<String>,
    /// The organization's slug.
    pub organization_slug: Option<String>,
    /// Whether it goes by versions of its system of record, as its first event did, and not by time.
    pub versioned: bool,
    /// Whether the organization's partition may lack some of its activities, because they were recorded before the
    /// organization was known or while it was another.
    pub unclaimed: bool,
    /// Whether people see its activities at all; true unless switched off.
    pub activity_enabled: bool,
    /// The readers of its activities: its members, unless restricted.
    pub privacy: Privacy,
    /// Whether it is archived, which makes no difference to its readers.
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
            versioned: false,
            unclaimed: false,
            activity_enabled: true,
            privacy: Privacy::Members,
            archived: false,
        }
    }
}

/// Everything the recorder has to know of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrgStanding {
    /// Whether the workspace is known.
    pub known: bool,
    /// Its organization.
    pub organization: Option<OrganizationId>,
    /// Whether it goes by versions.
    pub versioned: bool,
    /// Whether it is marked as having activities outside its organization's partition.
    pub unclaimed: bool,
}

/// The name of an entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// The workspace that the entry is about.
    pub workspace: WorkspaceId,
    /// Which of the workspace's entries it is.
    pub kind: EntryKind,
}

/// The entries that a workspace has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// The workspace itself.
    Workspace,
    /// The membership of a user.
    Member(ActorId),
    /// Its listing under an organization.
    Organization(OrganizationId),
    /// Its listing under a slug.
    Slug(Slug),
    /// Its listing under a slug of its organization.
    OrganizationSlug(Slug),
}

impl EntryKey {
    /// The entry of a workspace itself.
    pub fn workspace(workspace: &WorkspaceId) -> Self {
        Self { workspace: workspace.clone(), kind: EntryKind::Workspace }
    }

    /// The membership of a user.
    pub fn member(workspace: &WorkspaceId, user: &ActorId) -> Self {
        Self { workspace: workspace.clone(), kind: EntryKind::Member(user.clone()) }
    }
}

/// A field of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// A workspace's name.
    Name,
    /// A workspace's slug.
    Slug,
    /// A workspace's organization.
    Organization,
    /// The name of a workspace's organization.
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

    /// Whether it decides who may read. Such a field keeps when each of its values was last said.
    pub fn decides_access(self) -> bool {
        matches!(self, Self::Role | Self::Privacy | Self::ActivityEnabled)
    }
}

/// A field's new value, and when it was said.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// The field.
    pub field: Field,
    /// Its value: a string, a boolean or null.
    pub value: Value,
    /// When it was said. It overwrites only what was said earlier.
    pub at: Precedence,
    /// Whether the value is kept beside the field's other values, and not in their place. A field that decides access is
    /// changed in both ways. An activity without provenance knows only the second, and a build that records those may
    /// still be at work during a deployment.
    pub beside_others: bool,
}

impl FieldChange {
    /// The attribute that keeps it: the field's, or one of the field and the value, such as `role:removed`.
    pub fn attribute(&self) -> String {
        if self.beside_others {
            value_attribute(self.field, &self.value)
        } else {
            self.field.name().to_owned()
        }
    }
}

/// The attribute that keeps when `value` of a field was last said.
pub fn value_attribute(field: Field, value: &Value) -> String {
    let value = match value {
        Value::String(text) => text,
        Value::Bool(true) => "on",
        Value::Bool(false) => "off",
        _ => "removed",
    };
    format!("{}:{value}", field.name())
}

/// Something that was said of a workspace or a member without effect, because something else holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// The activity that said what holds.
    pub by: ActivityId,
    /// The time after which the same has an effect again, unless the workspace goes by versions.
    pub send_again_after: Option<Timestamp>,
}

/// Everything that changes in one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryChange {
    /// The entry.
    pub entry: EntryKey,
    /// At most one change for each attribute.
    pub fields: Vec<FieldChange>,
    /// Whether to mark the workspace as having activities outside its organization's partition.
    pub unclaimed: bool,
}

impl EntryChange {
    /// A change that only marks a workspace as having activities outside its organization's partition.
    pub fn unclaimed(workspace: &WorkspaceId) -> Self {
        Self { entry: EntryKey::workspace(workspace), fields: Vec::new(), unclaimed: true }
    }

    /// Whether it comes with a version of the system of record.
    pub fn is_versioned(&self) -> bool {
        self.fields.iter().any(|change| matches!(change.at, Precedence::Version(..)))
    }

    /// Adds the change that another activity makes to the same entry. The later activity decides an attribute of both.
    pub fn merge(&mut self, other: Self) {
        for change in other.fields {
            match self.fields.iter_mut().find(|ours| ours.attribute() == change.attribute()) {
                Some(ours) if ours.at < change.at => *ours = change,
                Some(_) => {}
                None => self.fields.push(change),
            }
        }
        self.unclaimed |= other.unclaimed;
    }
}

/// Whether recording `activity` changes the directory. The catalog has checked its details.
pub fn is_changed_by(activity: &Activity) -> bool {
    own_change(activity).is_some()
}

/// Whether `activity` makes somebody a member, changes their role, or removes them. The catalog has checked its details.
pub fn is_membership(activity: &Activity) -> bool {
    own_change(activity).is_some_and(|change| matches!(change.entry.kind, EntryKind::Member(_)))
}

/// Whether an action tells of workspaces or members, so that only who may change the directory may record it. These are
/// all actions of the two nouns, also those that change nothing yet.
pub fn is_about(action: &str) -> bool {
    matches!(action.split('.').next(), Some("workspace" | "member"))
}

/// The changes that recording `activity` makes to the directory. The catalog has checked its details.
pub fn changes(activity: &Activity) -> Vec<EntryChange> {
    let Some(own) = own_change(activity) else { return Vec::new() };
    if activity.action.as_str() != WORKSPACE_CREATED {
        return vec![own];
    }
    // Listings are never removed: the workspace's own entry says whether they still hold.
    let listings: Vec<EntryChange> =
        own.fields.iter().filter_map(|change| listing(&own.entry, change)).collect();
    std::iter::once(own).chain(listings).collect()
}

/// The action that makes a workspace known.
const WORKSPACE_CREATED: &str = "workspace.created";

/// The listing under which a field lets its workspace be found.
fn listing(entry: &EntryKey, change: &FieldChange) -> Option<EntryChange> {
    let text = change.value.as_str()?;
    let kind = match change.field {
        Field::Organization => EntryKind::Organization(OrganizationId::parse("organization", text).ok()?),
        Field::Slug => EntryKind::Slug(Slug::parse("slug", text).ok()?),
        Field::OrganizationSlug => EntryKind::OrganizationSlug(Slug::parse("slug", text).ok()?),
        _ => return None,
    };
    let entry = EntryKey { workspace: entry.workspace.clone(), kind };
    Some(EntryChange { entry, fields: vec![change.clone()], unclaimed: false })
}

/// The changes that an activity makes to the one entry that it is about.
fn own_change(activity: &Activity) -> Option<EntryChange> {
    let details = activity.details.members();
    // Fields are texts and switches; nothing else passes the catalog.
    let detail = |field: Field| match details.get(field.name())? {
        Json::String(text) => Some(Value::from(text.as_str())),
        Json::Bool(value) => Some(Value::from(*value)),
        _ => None,
    };
    let given = |fields: &[Field]| fields.iter().filter_map(|&field| Some((field, detail(field)?))).collect();
    let mut entry = EntryKey::workspace(&activity.workspace_id);
    let fields: Vec<(Field, Value)> = match activity.action.as_str() {
        WORKSPACE_CREATED => given(&[
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
            let user = ActorId::parse("details.user", details.get("user")?.as_str()?).ok()?;
            entry = EntryKey::member(&activity.workspace_id, &user);
            let removed = activity.action.as_str() == "member.removed";
            vec![(Field::Role, if removed { Value::Null } else { detail(Field::Role)? })]
        }
        _ => return None,
    };
    let at = Precedence::of(activity);
    let is_kept = |field: Field| field.decides_access() && activity.recorded.is_some();
    let change = |(field, value): (Field, Value)| {
        let newest = FieldChange { field, value, at: at.clone(), beside_others: false };
        let kept = is_kept(field).then(|| FieldChange { beside_others: true, ..newest.clone() });
        std::iter::once(newest).chain(kept)
    };
    (!fields.is_empty()).then(|| EntryChange {
        entry,
        fields: fields.into_iter().flat_map(change).collect(),
        unclaimed: false,
    })
}

/// Whether recording `activity` makes its workspace known.
pub fn creates_workspace(activity: &Activity) -> bool {
    activity.action.as_str() == WORKSPACE_CREATED
}

/// The organization that `activity` says its workspace belongs to.
pub fn organization_of(activity: &Activity) -> Option<OrganizationId> {
    if !creates_workspace(activity) {
        return None;
    }
    OrganizationId::parse("organization", activity.details.members().get("organization")?.as_str()?).ok()
}
