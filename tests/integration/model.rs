//! Lists compared with a plain model: random histories, random queries, every page by offset and by cursor.

use std::collections::BTreeSet;

use harness::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// An activity of the model. Fields are indexes into the tables below.
#[derive(Debug, Clone)]
struct Entry {
    id: String,
    at: usize,
    issue: Option<usize>,
    actor: usize,
    agent: bool,
    action: usize,
    /// The audience that its event asks for.
    audience: Option<&'static str>,
    tags: BTreeSet<usize>,
}

/// The times. They are few, so that many activities share one, and lie at the edges of slots, days, months and years.
const TIMES: &[&str] = &[
    "2023-12-31T23:59:59.999999Z",
    "2024-01-01T00:00:00Z",
    "2024-02-29T23:50:00Z",
    "2024-02-29T23:59:59.999999Z",
    "2024-03-01T00:00:00Z",
    "2024-03-01T00:00:00.000001Z",
    "2024-03-01T00:09:59.999999Z",
    "2024-03-01T00:10:00Z",
    "2024-03-01T12:34:56.789Z",
    "2024-03-02T00:00:00Z",
];
/// The actions. The catalog does not know the first. The last two only create the workspace.
const ACTIONS: &[&str] = &[
    "deploy.finished",
    "status_update.created",
    "invitation.created",
    "workspace.settings_updated",
    "workspace.created",
    "member.added",
];
/// The number of actions that random activities and queries use.
const RANDOM_ACTIONS: usize = 4;
/// The actions that the catalog has for staff.
const STAFF: &[usize] = &[2, SETTINGS, ADDED];
const UNKNOWN: usize = 0;
const STATUS_UPDATE: usize = 1;
const SETTINGS: usize = 3;
const CREATED: usize = 4;
const ADDED: usize = 5;

fn entry() -> impl Strategy<Value = Entry> {
    let tags = prop::collection::btree_set(0..3usize, 0..3);
    let action = (0..RANDOM_ACTIONS, prop::option::of(prop::sample::select(vec!["everyone", "staff"])));
    (0..TIMES.len(), prop::option::of(0..2usize), 0..3usize, any::<bool>(), action, tags).prop_map(
        |(at, issue, actor, agent, (action, audience), tags)| {
            // Nobody can ask that everyone sees what is for staff.
            let audience = audience.filter(|audience| *audience == "staff" || !STAFF.contains(&action));
            Entry { id: String::new(), at, issue, actor, agent, action, audience, tags }
        },
    )
}

impl Entry {
    fn is_for_staff(&self) -> bool {
        let by_itself = STAFF.contains(&self.action) || self.action == UNKNOWN;
        self.audience.map_or(by_itself, |audience| audience == "staff")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Owner,
    Client,
    Service,
}

/// A query: its reader, filters and time range.
#[derive(Debug, Clone)]
struct ModelQuery {
    reader: Reader,
    issue: Option<usize>,
    actors: BTreeSet<usize>,
    actions: BTreeSet<usize>,
    tags: BTreeSet<usize>,
    agent: Option<bool>,
    since: Option<usize>,
    until: Option<usize>,
    ascending: bool,
    limit: usize,
}

fn query() -> impl Strategy<Value = ModelQuery> {
    let some =
        |of: usize| prop_oneof![3 => Just(BTreeSet::new()), 2 => prop::collection::btree_set(0..of, 1..=2)];
    let bound = || prop::option::weighted(0.3, 0..TIMES.len());
    let reader = prop_oneof![3 => Just(Reader::Owner), 2 => Just(Reader::Client), 1 => Just(Reader::Service)];
    let flags = (reader, any::<bool>(), prop::option::weighted(0.2, any::<bool>()));
    let filters = (some(3), some(RANDOM_ACTIONS), some(3), prop::option::weighted(0.3, 0..2usize));
    (flags, filters, (bound(), bound()), 1..12usize).prop_map(
        |((reader, ascending, agent), (actors, actions, tags, issue), (since, until), limit)| {
            let is_range = since.zip(until).is_none_or(|(since, until)| since < until);
            let until = until.filter(|until| is_range && *until > 0);
            ModelQuery { reader, issue, actors, actions, tags, agent, since, until, ascending, limit }
        },
    )
}

impl ModelQuery {
    fn shows(&self, entry: &Entry, tracked: bool) -> bool {
        let any = |wanted: &BTreeSet<usize>, has: usize| wanted.is_empty() || wanted.contains(&has);
        let is_visible = match self.reader {
            Reader::Owner => tracked || entry.action == SETTINGS,
            Reader::Client => tracked && !entry.is_for_staff(),
            Reader::Service => true,
        };
        is_visible
            && self.issue.is_none_or(|issue| entry.issue == Some(issue))
            && any(&self.actors, entry.actor)
            && any(&self.actions, entry.action)
            && (self.tags.is_empty() || !self.tags.is_disjoint(&entry.tags))
            && self.agent.is_none_or(|agent| entry.agent == agent)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }

    fn expected_ids(&self, history: &[Entry], tracked: bool) -> Vec<String> {
        let mut shown: Vec<&Entry> = history.iter().filter(|entry| self.shows(entry, tracked)).collect();
        shown.sort_by_key(|entry| (entry.at, &entry.id));
        if !self.ascending {
            shown.reverse();
        }
        shown.into_iter().map(|entry| entry.id.clone()).collect()
    }

    fn path(&self) -> String {
        let mut path = match self.issue {
            None => format!("/api/v1/workspaces/ws/activity?limit={}", self.limit),
            Some(issue) => {
                format!("/api/v1/workspaces/ws/issues/issue-{issue}/activity?limit={}", self.limit)
            }
        };
        let mut add = |name: &str, value: &str| path.push_str(&format!("&{name}={value}"));
        self.actors.iter().for_each(|actor| add("actor_id", &format!("actor-{actor}")));
        self.actions.iter().for_each(|action| add("action", ACTIONS[*action]));
        self.tags.iter().for_each(|tag| add("tag", &format!("tag-{tag}")));
        self.agent.iter().for_each(|agent| add("actor_type", if *agent { "agent" } else { "user" }));
        self.since.iter().for_each(|since| add("since", TIMES[*since]));
        self.until.iter().for_each(|until| add("until", TIMES[*until]));
        if self.ascending {
            add("order", "asc");
        }
        path
    }
}

fn value(entry: &Entry) -> Value {
    let details = match entry.action {
        STATUS_UPDATE => json!({ "status_update": "status-1", "text": "on track" }),
        SETTINGS => json!({ "privacy": "members" }),
        _ => json!({}),
    };
    json!({
        "id": entry.id, "workspace_id": "ws", "issue_id": entry.issue.map(|issue| format!("issue-{issue}")),
        "actor_type": if entry.agent { "agent" } else { "user" }, "actor_id": format!("actor-{}", entry.actor),
        "action": ACTIONS[entry.action], "details": details, "audience": entry.audience,
        "tags": entry.tags.iter().map(|tag| format!("tag-{tag}")).collect::<Vec<_>>(),
        "created_at": TIMES[entry.at]
    })
}

/// A world with the workspace, and the entries of the events that create it.
async fn world(tracked: bool) -> (World, Vec<Entry>) {
    let world = World::new().await;
    let made = [
        ("0", CREATED, json!({ "name": "Apollo" })),
        ("1", ADDED, json!({ "user": "owner", "role": "owner" })),
        ("2", ADDED, json!({ "user": "client", "role": "client" })),
        ("3", SETTINGS, json!({ "activity_enabled": tracked })),
    ];
    let mut entries = Vec::new();
    for (id, action, details) in made {
        let id = id.to_owned();
        let (audience, tags) = (None, BTreeSet::new());
        let entry = Entry { id, at: 0, issue: None, actor: 3, agent: false, action, audience, tags };
        let mut event = value(&entry);
        event["details"] = details;
        world.given([event]).await;
        entries.push(entry);
    }
    (world, entries)
}

async fn check_history(history: Vec<Entry>, tracked: bool, late: usize, queries: Vec<ModelQuery>) {
    let (world, mut known) = world(tracked).await;
    let late = late.min(history.len());
    let (early, late) = history.split_at(history.len() - late);
    world.given(early.iter().map(value)).await;
    // Late events are recorded one by one.
    for entry in late {
        world.given([value(entry)]).await;
    }
    known.extend(history);
    for query in queries {
        check_pages(&world, &known, tracked, &query).await;
    }
    harness::check(&world.client, &world.table).await;
    world.stop().await;
}

async fn check_pages(world: &World, history: &[Entry], tracked: bool, query: &ModelQuery) {
    let (sub, scope) = match query.reader {
        Reader::Owner => ("owner", ""),
        Reader::Client => ("client", ""),
        Reader::Service => ("service", "activity:read"),
    };
    let expected = query.expected_ids(history, tracked);
    let path = query.path();
    for offset in (0..expected.len() + 2).step_by(query.limit.div_ceil(2)) {
        let reply = world.get_as(sub, scope, &format!("{path}&offset={offset}&include=total")).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        let end = (offset + query.limit).min(expected.len());
        assert_eq!(reply.ids(), expected[offset.min(end)..end], "offset {offset} of {path}");
        assert_eq!(reply.headers["x-total-count"], expected.len().to_string(), "total of {path}");
        assert_eq!(reply.next().is_some(), end < expected.len(), "next of offset {offset} of {path}");
    }
    let walked = world.walk_as(sub, scope, &path, |_| {}).await;
    assert_eq!(walked, expected, "the walk of {path}");
}

#[test]
fn pages_match_the_model() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let history = prop::collection::vec(entry(), 0..70);
    let queries = prop::collection::vec(query(), 1..6);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let tracked = prop::bool::weighted(0.6);
    let result =
        runner.run(&(history, tracked, 0..10usize, queries), |(mut history, tracked, late, queries)| {
            for (n, entry) in history.iter_mut().enumerate() {
                // Ids are not in the order of recording.
                entry.id = format!("act-{:03}", (n * 37) % 101);
            }
            runtime.block_on(check_history(history, tracked, late, queries));
            Ok(())
        });
    if let Err(error) = result {
        panic!("{error}");
    }
}
