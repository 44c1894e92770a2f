//! Lists compared with a plain model: random histories of several workspaces, random queries, paged in both directions.

use std::collections::BTreeSet;

use harness::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::workspace_events;

/// The workspaces, each with its organization and the reader's role. The reader has more than four in `org-1`, so that
/// the organization's partition is read, and no role in the fourth. Tracking is off in the last ones.
const WORKSPACES: &[(&str, Option<&str>, Option<&str>)] = &[
    ("w0", Some("org-1"), Some("owner")),
    ("w1", Some("org-1"), Some("client")),
    ("w2", Some("org-1"), Some("member")),
    ("w3", Some("org-1"), None),
    ("w4", Some("org-1"), Some("admin")),
    ("w5", Some("org-1"), Some("member")),
    ("w6", Some("org-2"), Some("member")),
    ("w7", None, Some("client")),
    ("w8", Some("org-1"), Some("owner")),
    ("w9", Some("org-2"), Some("admin")),
    ("wa", Some("org-1"), Some("member")),
];
/// The first workspace whose tracking is off.
const FIRST_OFF: usize = 8;
/// The actions, each with its category, and whether it is for staff. Of the two that the catalog does not know, the second
/// is recorded for everyone. The last two only create workspaces.
const ACTIONS: &[(&str, &str, bool)] = &[
    ("issue.reopened", "MARK_TODO_AS_INCOMPLETE", false),
    ("issue.completed", "MARK_TODO_AS_COMPLETE", false),
    ("deploy.started", "OTHER", true),
    ("deploy.finished", "OTHER", false),
    ("invitation.created", "CREATE_INVITATION", true),
    (SETTINGS, "UPDATE_PROJECT_SETTINGS", true),
    ("workspace.created", "CREATE_PROJECT", false),
    ("member.added", "ADD_USER_TO_PROJECT", true),
];
const SETTINGS: &str = "workspace.settings_updated";
/// The number of actions that random activities and queries use.
const RANDOM_ACTIONS: usize = 6;
/// The times. They are few, so that many activities share one.
const TIMES: &[&str] = &[
    "2023-12-31T23:59:59.999999Z",
    "2024-01-01T00:00:00.000000Z",
    "2024-02-29T23:50:00.000000Z",
    "2024-03-01T00:00:00.000001Z",
    "2024-03-01T00:10:00.000000Z",
    "2024-03-02T00:00:00.000000Z",
];
/// The time of the events that create the workspaces.
const WORKSPACES_CREATED_AT: &str = "2020-01-01T00:00:00.000000Z";

/// An activity of the model.
#[derive(Debug, Clone)]
struct Entry {
    workspace: usize,
    id: String,
    at: &'static str,
    actor: usize,
    action: usize,
    tags: BTreeSet<usize>,
}

impl Entry {
    fn uid(&self) -> String {
        format!("{}/{}", WORKSPACES[self.workspace].0, self.id)
    }

    fn value(&self) -> Value {
        let tags: Vec<String> = self.tags.iter().map(|tag| format!("tag-{tag}")).collect();
        let (action, category, staff) = ACTIONS[self.action];
        json!({
            "audience": (category == "OTHER" && !staff).then_some("everyone"),
            "id": self.id, "workspace_id": WORKSPACES[self.workspace].0, "issue_id": "issue-1", "actor_type": "user",
            "actor_id": format!("actor-{}", self.actor), "action": action, "tags": tags,
            "details": if action == SETTINGS { json!({ "privacy": "members" }) } else { json!({}) },
            "created_at": self.at
        })
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let tags = prop::collection::btree_set(0..3usize, 0..3);
    // Ids are few, so that workspaces share ids and times.
    (0..WORKSPACES.len(), 0..12usize, 0..TIMES.len(), 0..3usize, 0..RANDOM_ACTIONS, tags).prop_map(
        |(workspace, id, at, actor, action, tags)| Entry {
            workspace,
            id: format!("a{id}"),
            at: TIMES[at],
            actor,
            action,
            tags,
        },
    )
}

#[derive(Debug, Clone, Copy)]
enum Scope {
    Project(usize),
    Company(&'static str),
    Everything,
}

#[derive(Debug, Clone)]
struct ModelQuery {
    scope: Scope,
    by_slug: bool,
    with_company: bool,
    actors: BTreeSet<usize>,
    categories: BTreeSet<&'static str>,
    tags: BTreeSet<usize>,
    start: Option<usize>,
    end: Option<usize>,
    by_category: bool,
    updated: bool,
    ascending: bool,
    skip: usize,
    page: usize,
}

fn query() -> impl Strategy<Value = ModelQuery> {
    let some =
        |of: usize| prop_oneof![3 => Just(BTreeSet::new()), 2 => prop::collection::btree_set(0..of, 1..=2)];
    let scope = prop_oneof![
        2 => (0..WORKSPACES.len()).prop_filter("the reader has no role", |n| *n != 3).prop_map(Scope::Project),
        2 => Just(Scope::Company("org-1")),
        1 => Just(Scope::Company("org-2")),
        2 => Just(Scope::Everything),
    ];
    let scope = (scope, prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    let bound = || prop::option::weighted(0.3, 0..TIMES.len());
    let order = (prop::bool::weighted(0.4), any::<bool>(), any::<bool>());
    let skip = prop_oneof![3 => Just(0usize), 1 => 1..6usize];
    (scope, some(3), some(RANDOM_ACTIONS), some(3), (bound(), bound()), order, skip, 1..9usize).prop_map(
        |(
            (scope, by_slug, with_company),
            actors,
            categories,
            tags,
            (start, end),
            (by_category, updated, ascending),
            skip,
            page,
        )| {
            let end = end.filter(|end| start.is_none_or(|start| start < *end));
            let categories = categories.into_iter().map(|action| ACTIONS[action].1).collect();
            ModelQuery {
                scope,
                by_slug,
                with_company,
                actors,
                categories,
                tags,
                start,
                end,
                by_category,
                updated,
                ascending,
                skip,
                page,
            }
        },
    )
}

impl ModelQuery {
    fn shows(&self, entry: &Entry) -> bool {
        let (name, organization, role) = WORKSPACES[entry.workspace];
        let (action, category, staff) = ACTIONS[entry.action];
        let is_tracked = entry.workspace < FIRST_OFF;
        let in_scope = match self.scope {
            Scope::Project(workspace) => name == WORKSPACES[workspace].0,
            Scope::Company(company) => organization == Some(company),
            Scope::Everything => true,
        };
        in_scope
            && role.is_some_and(|role| role != "client" || !staff)
            && (is_tracked || action == SETTINGS && matches!(role, Some("owner" | "admin")))
            && (self.actors.is_empty() || self.actors.contains(&entry.actor))
            && (self.categories.is_empty() || self.categories.contains(category))
            && (self.tags.is_empty() || !self.tags.is_disjoint(&entry.tags))
            && self.start.is_none_or(|start| entry.at >= TIMES[start])
            && self.end.is_none_or(|end| entry.at <= TIMES[end])
    }

    fn expected_uids(&self, history: &[Entry]) -> Vec<String> {
        let mut shown: Vec<&Entry> = history.iter().filter(|entry| self.shows(entry)).collect();
        shown.sort_by_key(|entry| {
            let (action, category, _) = ACTIONS[entry.action];
            let sort = if self.by_category { (category, action) } else { ("", "") };
            (sort, entry.at, &entry.id, entry.workspace)
        });
        if !self.ascending {
            shown.reverse();
        }
        shown.into_iter().map(Entry::uid).collect()
    }

    /// The query of the page that `paging` selects.
    fn document(&self, paging: &str) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let mut arguments = vec![paging.to_owned()];
        let slug = if self.by_slug { "slug-of-" } else { "" };
        match self.scope {
            Scope::Project(workspace) => {
                let (name, company, _) = WORKSPACES[workspace];
                arguments.push(format!("projectId: \"{slug}{name}\""));
                if let Some(company) = company.filter(|_| self.with_company) {
                    arguments.push(format!("companyId: \"{slug}{company}\""));
                }
            }
            Scope::Company(company) => arguments.push(format!("companyId: \"{slug}{company}\"")),
            Scope::Everything => {}
        }
        if !self.actors.is_empty() {
            let actors = self.actors.iter().map(|actor| format!("\"actor-{actor}\"")).collect();
            arguments.push(format!("userIds: {}", list(actors)));
        }
        if !self.categories.is_empty() {
            let categories = self.categories.iter().map(|category| (*category).to_owned()).collect();
            arguments.push(format!("categories: {}", list(categories)));
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter().map(|tag| format!("\"tag-{tag}\"")).collect();
            arguments.push(format!("tagIds: {}", list(tags)));
        }
        self.start.iter().for_each(|start| arguments.push(format!("startDate: \"{}\"", TIMES[*start])));
        self.end.iter().for_each(|end| arguments.push(format!("endDate: \"{}\"", TIMES[*end])));
        let by = match (self.by_category, self.updated) {
            (true, _) => "category",
            (false, true) => "updatedAt",
            (false, false) => "createdAt",
        };
        arguments.push(format!("orderBy: {by}_{}", if self.ascending { "ASC" } else { "DESC" }));
        let fields = "activities { uid category createdAt } totalCount \
                      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }";
        format!("{{ activityList({}) {{ {fields} }} }}", arguments.join(", "))
    }
}

struct Page {
    uids: Vec<String>,
    has_next: bool,
    has_previous: bool,
    start: Option<String>,
    end: Option<String>,
    total: usize,
}

async fn page(world: &World, query: &ModelQuery, paging: &str) -> Page {
    let document = query.document(paging);
    let mut answer = world.ask("reader", "", &document, Value::Null).await;
    assert!(answer.get("errors").is_none(), "{document}: {answer}");
    let list = answer["data"]["activityList"].take();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let info = &list["pageInfo"];
    Page {
        uids: list["activities"].as_array().unwrap().iter().map(|node| text(&node["uid"]).unwrap()).collect(),
        has_next: info["hasNextPage"].as_bool().unwrap(),
        has_previous: info["hasPreviousPage"].as_bool().unwrap(),
        start: text(&info["startCursor"]),
        end: text(&info["endCursor"]),
        total: usize::try_from(list["totalCount"].as_u64().unwrap()).unwrap(),
    }
}

/// Pages through a feed from its start, and returns the cursor at the end of each page with its index.
async fn forward(world: &World, query: &ModelQuery, expected: &[String]) -> Vec<(usize, String)> {
    let (mut at, mut after) = (query.skip.min(expected.len()), None);
    let mut cursors = Vec::new();
    loop {
        let mut paging = format!("first: {}", query.page);
        match &after {
            Some(after) => paging.push_str(&format!(", after: \"{after}\"")),
            None => paging.push_str(&format!(", skip: {}", query.skip)),
        }
        let page = page(world, query, &paging).await;
        let end = (at + query.page).min(expected.len());
        let shown = query.document(&paging);
        assert_eq!(page.uids, expected[at..end], "{shown}");
        assert_eq!(page.total, expected.len(), "totalCount of {shown}");
        assert_eq!(page.has_next, end < expected.len(), "hasNextPage of {shown}");
        assert_eq!(page.has_previous, at > 0, "hasPreviousPage of {shown}");
        at = end;
        if let Some(cursor) = page.end.clone() {
            cursors.push((at, cursor));
        }
        if !page.has_next {
            return cursors;
        }
        after = page.end;
    }
}

/// Pages through a feed from its end.
async fn backward(world: &World, query: &ModelQuery, expected: &[String]) {
    let (mut at, mut before) = (expected.len() - query.skip.min(expected.len()), None);
    loop {
        let mut paging = format!("last: {}", query.page);
        match &before {
            Some(before) => paging.push_str(&format!(", before: \"{before}\"")),
            None => paging.push_str(&format!(", skip: {}", query.skip)),
        }
        let page = page(world, query, &paging).await;
        let start = at.saturating_sub(query.page);
        let shown = query.document(&paging);
        assert_eq!(page.uids, expected[start..at], "{shown}");
        assert_eq!(page.has_previous, start > 0, "hasPreviousPage of {shown}");
        assert_eq!(page.has_next, at < expected.len(), "hasNextPage of {shown}");
        at = start;
        if !page.has_previous {
            return;
        }
        before = page.start;
    }
}

/// Reads pages between two cursors, from either end.
async fn between(world: &World, query: &ModelQuery, expected: &[String], cursors: &[(usize, String)]) {
    let [(from, after), .., (to, before)] = cursors else { return };
    // The page ends before the activity of the last cursor.
    let expected_between = &expected[*from..to - 1];
    for (word, slice) in [
        ("first", &expected_between[..expected_between.len().min(query.page)]),
        ("last", &expected_between[expected_between.len().saturating_sub(query.page)..]),
    ] {
        let paging = format!("{word}: {}, after: \"{after}\", before: \"{before}\"", query.page);
        let page = page(world, query, &paging).await;
        assert_eq!(page.uids, slice, "{}", query.document(&paging));
        let left_out = expected_between.len() > slice.len();
        let (next, previous) = if word == "first" { (left_out, true) } else { (true, left_out) };
        assert_eq!((page.has_next, page.has_previous), (next, previous), "{}", query.document(&paging));
    }
}

async fn check_history(history: Vec<Entry>, late: usize, queries: Vec<ModelQuery>) {
    let world = World::new().await.allowing_unknown_workspaces();
    let mut known = Vec::new();
    let (early, rest) = history.split_at(late.min(history.len()));
    // These activities are recorded before their workspaces are created.
    world.given(early.iter().map(Entry::value)).await;
    for (workspace, (name, organization, role)) in WORKSPACES.iter().enumerate() {
        let details = match organization {
            Some(organization) => json!({
                "name": name, "slug": format!("slug-of-{name}"), "organization": organization,
                "organization_slug": format!("slug-of-{organization}")
            }),
            None => json!({ "name": name, "slug": format!("slug-of-{name}") }),
        };
        let members: Vec<(&str, &str)> = role.iter().map(|role| ("reader", *role)).collect();
        let mut events = workspace_events(name, details, &members);
        if workspace >= FIRST_OFF {
            events.push(json!({
                "id": "off", "workspace_id": name, "actor_type": "user", "actor_id": "maker", "action": SETTINGS,
                "details": { "activity_enabled": false }, "created_at": WORKSPACES_CREATED_AT
            }));
        }
        let of = |event: &Value| Entry {
            workspace,
            id: event["id"].as_str().unwrap().to_owned(),
            at: WORKSPACES_CREATED_AT,
            actor: 9,
            action: ACTIONS.iter().position(|(action, ..)| event["action"] == *action).unwrap(),
            tags: BTreeSet::new(),
        };
        known.extend(events.iter().map(of));
        world.given(events).await;
    }
    world.given(rest.iter().map(Entry::value)).await;
    known.extend(history);
    for query in queries {
        let expected = query.expected_uids(&known);
        let cursors = forward(&world, &query, &expected).await;
        backward(&world, &query, &expected).await;
        between(&world, &query, &expected, &cursors).await;
    }
    harness::check(&world.client, &world.table).await;
    world.stop().await;
}

#[test]
fn pages_match_the_model_in_both_directions() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let history = prop::collection::vec(entry(), 0..90);
    let queries = prop::collection::vec(query(), 1..6);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&(history, 0..10usize, queries), |(mut history, late, queries)| {
        // An id exists once in a workspace.
        let mut seen = BTreeSet::new();
        history.retain(|entry| seen.insert(entry.uid()));
        runtime.block_on(check_history(history, late, queries));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
