//! Keys read back: the mirror of the functions that spell them.

use chrono::NaiveDate;
use domain::activity::Action;
use domain::directory::{EntryKey, EntryKind, Precedence};
use domain::ids::{ActivityId, ActorId, OrganizationId, Slug, WorkspaceId};
use domain::position::{CategoryPosition, TimePosition};
use domain::time::Timestamp;

use super::{ACTIVITY_PREFIX, LISTED_PREFIX, VERSION_PREFIX, day_counter, directory, id_item, month_counter};

/// The kind of an item of the table, as its key says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// An activity.
    Activity(WorkspaceId, TimePosition),
    /// An id item.
    Id(WorkspaceId, ActivityId),
    /// A shard of a counter: the text is its sort key without the shard, such as `M#2025-01`.
    Counter(WorkspaceId, String),
    /// An entry of the directory.
    Directory(EntryKey),
}

impl Key {
    /// Reads a key of the table; `None` when it is not spelled as those of [`crate::keys`] are.
    pub(crate) fn parse(pk: &str, sk: &str) -> Option<Self> {
        let workspace = WorkspaceId::from_key;
        let (kind, rest) = pk.split_once('#')?;
        match kind {
            "WS" => Some(Self::Activity(workspace(rest)?, time_position(sk.strip_prefix(ACTIVITY_PREFIX)?)?)),
            "ID" => {
                let (ws, id) = rest.split_once('#')?;
                let (ws, id) = (workspace(ws)?, ActivityId::from_key(id)?);
                (id_item(&ws, &id).1 == sk).then_some(Self::Id(ws, id))
            }
            "COUNT" => Some(Self::Counter(workspace(rest)?, counter(sk)?)),
            "DIR" => {
                let (kind, name) = rest.split_once('#')?;
                let entry = match kind {
                    "WS" => EntryKey::workspace(&workspace(name)?),
                    "USER" => listed(sk, EntryKind::Member(ActorId::from_key(name)?))?,
                    "ORG" => listed(sk, EntryKind::Organization(OrganizationId::from_key(name)?))?,
                    "SLUG" => listed(sk, EntryKind::Slug(Slug::from_key(name)?))?,
                    "ORGSLUG" => listed(sk, EntryKind::OrganizationSlug(Slug::from_key(name)?))?,
                    _ => return None,
                };
                (directory(&entry).1 == sk).then_some(Self::Directory(entry))
            }
            _ => None,
        }
    }
}

fn listed(sk: &str, kind: EntryKind) -> Option<EntryKey> {
    Some(EntryKey { workspace: listed_workspace(sk)?, kind })
}

/// The position that a text names.
pub(crate) fn time_position(text: &str) -> Option<TimePosition> {
    let (time, id) = text.split_once('#')?;
    let created_at = Timestamp::parse("time", time).ok()?;
    (created_at.key() == time).then_some(())?;
    Some(TimePosition { created_at, id: ActivityId::from_key(id)? })
}

/// When something was said of the directory, as a text names it.
pub(crate) fn precedence(text: &str) -> Option<Precedence> {
    let Some(rest) = text.strip_prefix(VERSION_PREFIX) else {
        return time_position(text).map(Precedence::Time);
    };
    let (version, id) = rest.split_once('#')?;
    let at = Precedence::Version(version.parse().ok()?, ActivityId::from_key(id)?);
    (super::precedence(&at) == text).then_some(at)
}

/// The position in a feed by category that a text names.
pub(crate) fn category_position(text: &str) -> Option<CategoryPosition> {
    let (category, rest) = text.split_once('#')?;
    let (action, position) = rest.split_once('#')?;
    let is_category = !category.is_empty() && category.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    is_category.then_some(())?;
    let action = Action::parse("action", action).ok()?;
    Some(CategoryPosition { category: category.to_owned(), action, time: time_position(position)? })
}

/// The workspace that the sort key of a membership or a listing names.
pub(crate) fn listed_workspace(sk: &str) -> Option<WorkspaceId> {
    WorkspaceId::from_key(sk.strip_prefix(LISTED_PREFIX)?)
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
    use super::super::{activity, counters, workspace};
    use super::*;

    #[test]
    fn every_key_reads_back_and_nothing_else_does() {
        let ws = WorkspaceId::parse("w", "ws-1").unwrap();
        let id = ActivityId::parse("id", "act-1").unwrap();
        let user = ActorId::parse("id", "u-1").unwrap();
        let org = OrganizationId::parse("id", "org-1").unwrap();
        let slug = Slug::parse("slug", "apollo").unwrap();
        let created_at = Timestamp::parse("t", "2025-01-09T00:00:00.5Z").unwrap();
        let position = TimePosition { created_at, id: id.clone() };
        let counter = |sk: String| (counters(&ws), sk);
        let entry = |kind| EntryKey { workspace: ws.clone(), kind };
        let kinds = [
            EntryKind::Workspace,
            EntryKind::Member(user),
            EntryKind::Organization(org),
            EntryKind::Slug(slug.clone()),
            EntryKind::OrganizationSlug(slug),
        ];
        let entries = kinds.map(|kind| (directory(&entry(kind.clone())), Key::Directory(entry(kind))));
        let others = [
            ((workspace(&ws), activity(&position)), Key::Activity(ws.clone(), position)),
            (id_item(&ws, &id), Key::Id(ws.clone(), id.clone())),
            (counter(month_counter(created_at.day(), 1)), Key::Counter(ws.clone(), "M#2025-01".into())),
            (counter(day_counter(created_at.day(), 12)), Key::Counter(ws.clone(), "D#2025-01-09".into())),
        ];
        for ((pk, sk), key) in others.into_iter().chain(entries) {
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
