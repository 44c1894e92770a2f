//! Keys read back: the mirror of the functions that spell them.

use chrono::NaiveDate;

use super::{ACTIVITY_PREFIX, day_counter, directory_workspace, id_item, month_counter};
use crate::ids::{ActivityId, ActorId, WorkspaceId};
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
    /// A workspace's directory entry.
    Workspace(WorkspaceId),
    /// A membership.
    Member(WorkspaceId, ActorId),
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
            "DIR" => match rest.split_once('#')? {
                ("WS", ws) => {
                    let ws = workspace(ws)?;
                    (directory_workspace(&ws).1 == sk).then_some(Self::Workspace(ws))
                }
                ("USER", user) => {
                    let ws = workspace(sk.strip_prefix("WS#")?)?;
                    Some(Self::Member(ws, ActorId::parse("user", user).ok()?))
                }
                _ => None,
            },
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
    use super::super::{Position, activity, counters, directory_member, workspace};
    use super::*;

    #[test]
    fn every_key_reads_back_and_nothing_else_does() {
        let ws = WorkspaceId::parse("w", "ws-1").unwrap();
        let id = ActivityId::parse("id", "act-1").unwrap();
        let user = ActorId::parse("id", "u-1").unwrap();
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
            (directory_workspace(&ws), Key::Workspace(ws.clone())),
            (directory_member(&user, &ws), Key::Member(ws.clone(), user.clone())),
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
