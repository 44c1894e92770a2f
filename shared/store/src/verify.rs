//! Checks that everything in a table agrees with everything else.
//!
//! The activities decide what the rest of the table must be. The check derives days and slots anew, from the text of the
//! keys, so that it does not repeat a fault of the code that counts.

mod counters;
mod directory;
mod fault;
mod workspace;

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};

use domain::Result;
use domain::ids::{ActivityId, WorkspaceId};
use domain::position::TimePosition;

use self::directory::Directory;
use self::workspace::WorkspaceCheck;
use super::client::scan_config;
use super::keys::{self, Index, Key};
use super::{Item, Store, failed};

pub use fault::{Fault, Wrong};

/// How many items are read between two lines of progress in the log.
const PROGRESS: usize = 100_000;

/// The contents of a table, and its faults.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The ids of each workspace's activities, in the order of the ids.
    pub activities: BTreeMap<WorkspaceId, Vec<ActivityId>>,
    /// Everything that contradicts the rest of the table, in the order of the texts. A good table has none.
    pub faults: Vec<Fault>,
}

impl Store {
    /// Reads the whole table, then its indexes side by side, and checks that
    /// - every item is of a known kind, decodes, and is what encoding it again gives,
    /// - an id names one activity of its workspace, and its id item has its time and the fingerprint of its content,
    /// - the counters count every day and slot, for all and for staff,
    /// - each index holds what it must, as it is in the table,
    /// - the directory is what the activities come to, and organizations are those that `workspace.created` names.
    ///
    /// Check a table at rest: whatever is recorded meanwhile causes false faults.
    ///
    /// It takes a read unit for every 4 KB of the table and every 8 KB of each index. Measured, it takes 150 bytes of
    /// memory for each activity of a workspace with a million, 200 bytes where a workspace has twenty, and 90 bytes for
    /// each day and each ten minutes that have activities.
    ///
    /// # Errors
    /// As any read: the table cannot be read to its end, and nothing is known.
    pub async fn verify(&self) -> Result<Report> {
        let mut check = Check::default();
        let mut table = pin!(self.pages(None));
        while let Some(items) = table.try_next().await? {
            check.progress(items.len());
            items.into_iter().for_each(|item| check.item(item));
        }
        let indexes =
            Index::ALL.map(|index| self.pages(Some(index)).map_ok(move |items| (index, items)).boxed());
        let mut indexes = stream::select_all(indexes);
        while let Some((index, items)) = indexes.try_next().await? {
            check.progress(items.len());
            items.iter().for_each(|item| check.indexed(index, item));
        }
        Ok(check.report())
    }

    /// Everything in the table, or in one of its indexes.
    fn pages(&self, index: Option<Index>) -> impl Stream<Item = Result<Vec<Item>>> + Send {
        // An index cannot be read consistently.
        let scan = self.client.scan().table_name(&self.table).consistent_read(index.is_none());
        let scan = scan.set_index_name(index.map(|index| index.name().to_owned()));
        stream::try_unfold(Some(None), move |start| {
            let scan = scan.clone();
            async move {
                let Some(start) = start else { return Ok(None) };
                let request = scan.set_exclusive_start_key(start).customize().config_override(scan_config());
                let page = request.send().await.map_err(failed)?;
                Ok(Some((page.items.unwrap_or_default(), page.last_evaluated_key.map(Some))))
            }
        })
    }
}

/// Everything that was read so far.
#[derive(Default)]
struct Check {
    workspaces: BTreeMap<WorkspaceId, WorkspaceCheck>,
    directory: Directory,
    faults: Vec<Fault>,
    read: usize,
}

impl Check {
    fn progress(&mut self, more: usize) {
        let before = self.read;
        self.read += more;
        if before / PROGRESS != self.read / PROGRESS {
            tracing::info!(items = self.read, "read items");
        }
    }

    /// Takes in an item of the table.
    fn item(&mut self, item: Item) {
        let (pk, sk) = (text(&item, keys::PK), text(&item, keys::SK));
        match Key::parse(pk, sk) {
            Some(Key::Activity(workspace, position)) => {
                let check = self.workspaces.entry(workspace.clone()).or_default();
                let id = &position.id;
                match check.activity(&workspace, &position, &item) {
                    Ok((activity, wrong)) => {
                        self.faults.extend(wrong.into_iter().map(|wrong| fault(&workspace, id, wrong)));
                        domain::directory::changes(&activity)
                            .into_iter()
                            .for_each(|change| self.directory.replay(change));
                    }
                    Err(wrong) => self.faults.push(fault(&workspace, id, wrong)),
                }
            }
            Some(Key::Id(workspace, id)) => {
                let check = self.workspaces.entry(workspace.clone()).or_default();
                if let Err(wrong) = check.id_item(&workspace, &id, item) {
                    self.faults.push(fault(&workspace, &id, wrong));
                }
            }
            Some(Key::Counter(workspace, counter)) => {
                self.workspaces.entry(workspace).or_default().counters.add(&counter, &item);
            }
            Some(Key::Directory(entry)) => self.directory.entry(entry, &item),
            None => self.stray("the table", &item),
        }
    }

    /// Takes in an item of an index, after all those of the table.
    fn indexed(&mut self, index: Index, item: &Item) {
        let key = Key::parse(text(item, keys::PK), text(item, keys::SK));
        let Some(Key::Activity(workspace, position)) = key else { return self.stray(index.name(), item) };
        let TimePosition { created_at, id } = &position;
        let wrong = match self.workspaces.get_mut(&workspace) {
            None => Some(Wrong::OnlyIndexed(index.name(), *created_at)),
            Some(check) => check.indexed(index, &workspace, &position, item),
        };
        self.faults.extend(wrong.map(|wrong| fault(&workspace, id, wrong)));
    }

    fn stray(&mut self, location: &'static str, item: &Item) {
        let (pk, sk) = (text(item, keys::PK).to_owned(), text(item, keys::SK).to_owned());
        self.faults.push(Fault::Stray { location, pk, sk });
    }

    fn report(self) -> Report {
        let Self { workspaces, mut directory, mut faults, .. } = self;
        let mut activities = BTreeMap::new();
        for (workspace, check) in workspaces {
            if check.is_scattered() {
                directory.unclaimed(&workspace);
            }
            faults.extend(check.miscounted(&workspace));
            let (ids, wrong) = check.ids();
            faults.extend(wrong.into_iter().map(|(id, wrong)| fault(&workspace, &id, wrong)));
            if !ids.is_empty() {
                activities.insert(workspace, ids);
            }
        }
        faults.extend(directory.contradictions());
        faults.sort_by_cached_key(ToString::to_string);
        Report { activities, faults }
    }
}

fn fault(workspace: &WorkspaceId, id: &ActivityId, wrong: Wrong) -> Fault {
    Fault::Activity { workspace: workspace.clone(), id: id.clone(), wrong }
}

/// A string attribute, such as every key; empty when it is none.
fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Item, item, string};
    use super::*;
    use crate::keys::OrgPartition;
    use domain::event::{Defaults, InputEvent};
    use domain::time::Timestamp;

    /// The faults of by-issue when it holds what `index` makes of an activity's item.
    fn with_index(index: impl Fn(Item) -> Vec<Item>) -> Vec<String> {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let event = json!({
            "id": "act-1", "workspace_id": "ws", "issue_id": "issue-1", "actor_type": "user", "actor_id": "ada",
            "action": "issue.closed", "created_at": "2025-01-01T00:00:00Z"
        });
        let recorded_by = domain::provenance::RecordedBy::new(domain::provenance::Source::Http, &["ada"]);
        let defaults =
            Defaults { id: ("unused".into(), "id"), workspace: None, created_at: now, now, recorded_by };
        let activity = InputEvent::parse(event, &defaults).unwrap().activity;
        let mut item = item::encode(&activity).unwrap();
        item::index(&activity, &OrgPartition::Unclaimed, &mut item);
        let mut check = Check::default();
        check.item(item.clone());
        for other in Index::ALL.into_iter().filter(|index| *index != Index::Issue) {
            check.indexed(other, &item);
        }
        index(item).iter().for_each(|item| check.indexed(Index::Issue, item));
        let faults = check.report().faults.into_iter();
        // The rest of the table is not there, so only the faults of the index count.
        faults.map(|fault| fault.to_string()).filter(|fault| fault.contains("by-issue")).collect()
    }

    /// No engine lets an index go wrong, so only this test can.
    #[test]
    fn an_index_holds_exactly_what_it_must() {
        let changed = |mut item: Item, name: &str, value: &str| {
            item.insert(name.into(), string(value));
            item
        };
        assert_eq!(with_index(|item| vec![item]), [""; 0]);
        assert_eq!(with_index(|_| vec![]), ["ws: act-1 is missing in by-issue"]);
        let other_content = |item| vec![changed(item, "details", "{\"a\":1}")];
        assert_eq!(with_index(other_content), ["ws: act-1 differs in by-issue"]);
        assert_eq!(
            with_index(|item| vec![item.clone(), item]),
            ["ws: act-1 should not be in by-issue, where it is at 2025-01-01T00:00:00"]
        );
        let other_time = "AT#2025-01-01T00:00:01.000000#act-1";
        assert_eq!(
            with_index(|item| vec![item.clone(), changed(item, "sk", other_time)]),
            ["ws: act-1 should not be in by-issue, where it is at 2025-01-01T00:00:01"]
        );
        assert_eq!(
            with_index(|item| vec![item.clone(), changed(item, "pk", "WS#elsewhere")]),
            ["elsewhere: act-1 should not be in by-issue, where it is at 2025-01-01T00:00:00"]
        );
        assert_eq!(
            with_index(|item| vec![item.clone(), changed(item, "pk", "XY#\n")]),
            [r#"by-issue holds "XY#\n" "AT#2025-01-01T00:00:00.000000#act-1", an item of no known kind"#]
        );
    }
}
