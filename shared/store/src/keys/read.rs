//! Keys read back: the mirror of the functions that spell them.

use chrono::NaiveDate;

use super::{ACTIVITY_PREFIX, LISTED_PREFIX, day_counter, directory_workspace, id_item, month_counter};
use crate::activity::Action;
use crate::ids::{ActivityId, ActorId, OrganizationId, Slug, WorkspaceId};
use crate::time::Timestamp;

/// What an item of the table is, as its key says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An activity.
    Activity(WorkspaceId, Timestamp, ActivityId),
    /// An id item.
    Id(WorkspaceId, ActivityId),
    /// A shard of a counter: the text is its sort key without the shard, such as `M#2025-01`.
    Counter(WorkspaceId, String),
    /// What the directory has of a workspace.
    Directory(WorkspaceId, DirectoryItem),
}

/// What the directory has of a workspace, an item each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirectoryItem {
    /// The workspace's own entry.
    Entry,
    /// A membership.
    Member(ActorId),
    /// That it is listed under an organization.
    OfOrganization(OrganizationId),
    /// That it is listed under a slug.
    Slug(Slug),
    /// That it is listed under a slug of its organization.
    OrganizationSlug(Slug),
}

impl Key {
    /// Reads a key of the table; `None` when it is not spelled as those of [`crate::keys`] are.
    pub fn parse(pk: &str, sk: &str) -> Option<Self> {
        let workspace = |text| WorkspaceId::parse("workspace", text).ok();
        let (kind, rest) = pk.split_once('#')?;
        match kind {
            "WS" => {
                let (time, id) = position(sk.strip_prefix(ACTIVITY_PREFIX)?)?;
                Some(Self::Activity(workspace(rest)?, time, id))
            }
            "ID" => {
                let (ws, id) = rest.split_once('#')?;
                let (ws, id) = (workspace(ws)?, ActivityId::parse("id", id).ok()?);
                (id_item(&ws, &id).1 == sk).then_some(Self::Id(ws, id))
            }
            "COUNT" => Some(Self::Counter(workspace(rest)?, counter(sk)?)),
            "DIR" => {
                let (kind, name) = rest.split_once('#')?;
                if kind == "WS" {
                    let ws = workspace(name)?;
                    return (directory_workspace(&ws).1 == sk)
                        .then_some(Self::Directory(ws, DirectoryItem::Entry));
                }
                let item = match kind {
                    "USER" => DirectoryItem::Member(ActorId::parse("user", name).ok()?),
                    "ORG" => DirectoryItem::OfOrganization(OrganizationId::parse("org", name).ok()?),
                    "SLUG" => DirectoryItem::Slug(Slug::parse("slug", name).ok()?),
                    "ORGSLUG" => DirectoryItem::OrganizationSlug(Slug::parse("slug", name).ok()?),
                    _ => return None,
                };
                Some(Self::Directory(listed_in(sk)?, item))
            }
            _ => None,
        }
    }
}

/// The time and id that a position's text names.
pub(super) fn position(text: &str) -> Option<(Timestamp, ActivityId)> {
    let (time, id) = text.split_once('#')?;
    let parsed = Timestamp::parse("time", time).ok()?;
    (parsed.key() == time).then_some(())?;
    Some((parsed, ActivityId::parse("id", id).ok()?))
}

/// The workspace that a sort key of [`super::listed_workspace`] names.
pub fn listed_in(sk: &str) -> Option<WorkspaceId> {
    WorkspaceId::parse("workspace", sk.strip_prefix(LISTED_PREFIX)?).ok()
}

/// Whether a text is a place in a feed by category.
pub(super) fn category_place(text: &str) -> Option<()> {
    let (category, rest) = text.split_once('#')?;
    let (action, place) = rest.split_once('#')?;
    let is_category = !category.is_empty() && category.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let is_action = Action::parse("action", action).is_ok();
    (is_category && is_action && position(place).is_some()).then_some(())
}

/// A counter's sort key without its shard.
fn counter(sk: &str) -> Option<String> {
    let (counter, shard) = sk.rsplit_once('#')?;
    let (kind, period) = counter.split_once('#')?;
    let day = if kind == "M" { format!("{period}-01") } else { period.to_owned() };
    let (day, shard): (NaiveDate, u64) = (day.parse().ok()?, shard.parse().ok()?);
    let spelled = [month_counter(day, shard), day_counter(day, shard)];
    spelled.iter().any(|spelled| spelled == sk).then(|| counter.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Position, activity, counters, directory_member, listed_workspace, organization_slug_workspaces,
        organization_workspaces, slug_workspaces, workspace,
    };
    use super::*;

    #[test]
    fn every_key_reads_back_and_nothing_else_does() {
        let ws = WorkspaceId::parse("w", "ws-1").unwrap();
        let id = ActivityId::parse("id", "act-1").unwrap();
        let user = ActorId::parse("id", "u-1").unwrap();
        let org = OrganizationId::parse("id", "org-1").unwrap();
        let slug = Slug::parse("slug", "apollo").unwrap();
        let time = Timestamp::parse("t", "2025-01-09T00:00:00.5Z").unwrap();
        let counter = |sk: String| (counters(&ws), sk);
        for ((pk, sk), key) in [
            (
                (workspace(&ws), activity(&Position::new(time, &id))),
                Key::Activity(ws.clone(), time, id.clone()),
            ),
            (id_item(&ws, &id), Key::Id(ws.clone(), id.clone())),
            (counter(month_counter(time.day(), 1)), Key::Counter(ws.clone(), "M#2025-01".into())),
            (counter(day_counter(time.day(), 12)), Key::Counter(ws.clone(), "D#2025-01-09".into())),
            (directory_workspace(&ws), Key::Directory(ws.clone(), DirectoryItem::Entry)),
            (directory_member(&user, &ws), Key::Directory(ws.clone(), DirectoryItem::Member(user.clone()))),
            (
                (organization_workspaces(&org), listed_workspace(&ws)),
                Key::Directory(ws.clone(), DirectoryItem::OfOrganization(org.clone())),
            ),
            (
                (slug_workspaces(&slug), listed_workspace(&ws)),
                Key::Directory(ws.clone(), DirectoryItem::Slug(slug.clone())),
            ),
            (
                (organization_slug_workspaces(&slug), listed_workspace(&ws)),
                Key::Directory(ws.clone(), DirectoryItem::OrganizationSlug(slug.clone())),
            ),
        ] {
            assert_eq!(Key::parse(&pk, &sk), Some(key), "{pk} {sk}");
            assert_eq!(Key::parse(&pk, &format!("{sk}#")), None, "{pk} {sk}#");
            assert_eq!(Key::parse(&format!("{pk}#"), &sk), None, "{pk}# {sk}");
            assert_eq!(Key::parse(&format!("X{pk}"), &sk), None, "X{pk} {sk}");
        }
        for (pk, sk) in [
            ("WS#ws-1", "AT#2025-01-09T00:00:00Z#act-1"),
            ("WS#ws 1", "AT#2025-01-09T00:00:00.000000#act-1"),
            ("ID#ws-1#act-1", "id"),
            ("COUNT#ws-1", "M#2025-1#0"),
            ("COUNT#ws-1", "M#2025-01-01#0"),
            ("COUNT#ws-1", "D#2025-02-30#0"),
            ("COUNT#ws-1", "D#2025-02-03#00"),
            ("DIR#WS#ws-1", "WS#ws-1"),
            ("DIR#USER#u-1", "WORKSPACE"),
            ("DIR", "WORKSPACE"),
        ] {
            assert_eq!(Key::parse(pk, sk), None, "{pk} {sk}");
        }
    }
}
