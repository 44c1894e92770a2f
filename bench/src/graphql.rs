//! GraphQL: what it costs, and how long it takes beside the REST list of the same page.

use std::time::Instant;

use harness::{Metered, World};
use serde_json::{Value, json};

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::reads::WARM_UP;
use crate::report::{Line, Report};
use crate::stats::Times;

/// The reference's examples.
const EXAMPLES: &str = include_str!("../../tests/reference/activity_list.graphql");
/// The most times longer that the first of them may take than the REST list.
const LONGER: f64 = 1.3;
/// The most times what they return that two filters may read.
const READ: f64 = 12.0;
/// Workspaces of the company, and activities of each.
const WORKSPACES: usize = 200;
const EACH: usize = 98;

/// A query, and what is promised of it.
#[derive(Debug)]
struct Case {
    name: String,
    query: String,
    entries: usize,
    /// The path of the same page.
    rest: Option<String>,
    requests: Option<usize>,
    /// At most so many times the read units of the first case.
    units: Option<f64>,
}

impl Case {
    fn list(name: &str, arguments: &str, requests: usize) -> Self {
        let fields = "activities { id html createdAt } pageInfo { hasNextPage endCursor }";
        Self {
            name: name.into(),
            query: format!("{{ activityList({arguments}, first: 50) {{ {fields} }} }}"),
            entries: 50,
            rest: None,
            requests: Some(requests),
            units: None,
        }
    }
}

/// The reads of the large workspace; the others are compared with the first.
fn of_workspace(data: &Data) -> Vec<Case> {
    let list = |name: &str, arguments: &str| {
        Case::list(name, &format!("projectId: \"{WORKSPACE}\", {arguments}"), 3)
    };
    let two = |name: &str, arguments: &str| Case {
        requests: None,
        units: Some(READ),
        ..list(name, &format!("{arguments}, categories: [MARK_TODO_AS_COMPLETE]"))
    };
    let basic = EXAMPLES.split("\n\n").find(|text| text.starts_with("query ")).unwrap_or_default();
    let basic = basic.replace("your-project-id", WORKSPACE);
    let path = format!("/api/v1/workspaces/{WORKSPACE}/activity?limit=20");
    vec![
        list("first page of 50", "orderBy: createdAt_DESC"),
        Case {
            name: "the basic example, without totalCount".into(),
            query: basic.replace("totalCount", ""),
            entries: 20,
            rest: Some(path.clone()),
            requests: Some(2),
            units: None,
        },
        Case {
            name: "the basic example".into(),
            query: basic,
            entries: 20,
            rest: Some(format!("{path}&include=total")),
            requests: Some(3),
            units: None,
        },
        list("by user, 1 in 40", "userId: \"actor-07\""),
        list("by category, 1 in 8", "categories: [MARK_TODO_AS_COMPLETE]"),
        Case { entries: 1, ..list("by category, 1 in a million", "categories: [CREATE_PROJECT]") },
        list("by date range", "startDate: \"2024-03-01T00:00:00Z\", endDate: \"2024-03-31T00:00:00Z\""),
        list("by category in order", "orderBy: category_ASC"),
        Case { requests: Some(4), ..list("at the deepest offset", &format!("skip: {}", data.depth)) },
        two("by user, 1 in 40, and category, 1 in 8", "userId: \"actor-07\""),
        two(
            "by four users, 1 in 10, and category, 1 in 8",
            "userIds: [\"actor-07\", \"actor-11\", \"actor-23\", \"actor-31\"]",
        ),
    ]
}

/// Measures the reads of the large workspace.
pub(crate) async fn of_one(
    world: &mut World,
    data: &Data,
    repetitions: usize,
    report: &mut Report,
) -> Result<()> {
    measure(world, "GraphQL", &of_workspace(data), repetitions, report).await
}

/// Measures the reads of a company with many workspaces, in a table of its own.
pub(crate) async fn of_many(repetitions: usize, report: &mut Report) -> Result<()> {
    let mut world = World::embedded(None).await?;
    let data = Data::new(WORKSPACES * EACH);
    for n in 0..WORKSPACES {
        let ws = format!("ws-{n:03}");
        world
            .given([
                own(&ws, "workspace.created", json!({ "name": ws, "organization": "org" })),
                own(&ws, "member.added", json!({ "user": "owner", "role": "member" })),
            ])
            .await;
        // By turns, so that a page is of many workspaces.
        let events = (0..EACH).map(|index| {
            let mut event = data.row(index * WORKSPACES + n).event();
            event["workspace_id"] = json!(ws);
            event
        });
        world.given(events).await;
    }
    let cases = [
        Case::list("first page of 50", "companyId: \"org\"", 6),
        Case::list("… of all that one may see", "orderBy: createdAt_DESC", 6),
        Case::list("… by category", "companyId: \"org\", categories: [MARK_TODO_AS_COMPLETE]", 6),
    ];
    let title = format!("GraphQL, {WORKSPACES} workspaces");
    let measured = measure(&mut world, &title, &cases, repetitions, report).await;
    world.stop().await;
    measured
}

fn own(ws: &str, action: &str, details: Value) -> Value {
    json!({
        "id": action, "workspace_id": ws, "actor_type": "user", "actor_id": "owner", "action": action,
        "details": details, "created_at": "2020-01-01T00:00:00Z"
    })
}

async fn measure(
    world: &mut World,
    title: &str,
    cases: &[Case],
    repetitions: usize,
    report: &mut Report,
) -> Result<()> {
    let mut metered: Vec<Metered> = Vec::new();
    for case in cases {
        world.transport.take();
        let answer = world.ask("owner", "", &case.query, Value::Null).await;
        metered.push(world.transport.take());
        let entries = answer["data"]["activityList"]["activities"].as_array().map_or(0, Vec::len);
        if entries != case.entries {
            return Err(format!("{}: {entries} entries, {}", case.name, answer["errors"]).into());
        }
    }
    world.meter(false);
    let mut times: Vec<(Times, Times)> = cases.iter().map(|_| Default::default()).collect();
    for round in 0..WARM_UP + repetitions {
        for (case, (ours, rest)) in cases.iter().zip(&mut times) {
            let began = Instant::now();
            world.ask_raw("owner", &case.query).await;
            let asked = began.elapsed();
            if round >= WARM_UP {
                ours.push(asked);
            }
            let Some(path) = &case.rest else { continue };
            let began = Instant::now();
            world.get_raw(path).await;
            if round >= WARM_UP {
                rest.push(began.elapsed());
            }
        }
    }
    world.meter(true);
    let first = metered.first().map_or(f64::NAN, |metered| metered.units);
    for ((case, metered), (ours, rest)) in cases.iter().zip(&metered).zip(&times) {
        report.add(line(title, case, metered, first, (ours, rest)));
    }
    Ok(())
}

fn line(title: &str, case: &Case, metered: &Metered, first: f64, (ours, rest): (&Times, &Times)) -> Line {
    let (requests, units, median) = (metered.total(), metered.units, ours.median());
    let mut figures =
        format!("{requests} requests, {units} read units, median {median:.2} ms, p99 {:.2} ms", ours.p99());
    let mut targets = Vec::new();
    let mut met = true;
    if let Some(most) = case.requests {
        targets.push(format!("≤ {most} requests"));
        met &= requests <= most;
    }
    if let Some(times) = case.units {
        targets.push(format!("≤ {:.1} units", times * first));
        met &= units <= times * first;
    }
    if case.rest.is_some() {
        let ratio = median / rest.median();
        figures += &format!(", {ratio:.2} times the REST list's {:.2} ms", rest.median());
        targets.push(format!("≤ {LONGER} times"));
        met &= ratio <= LONGER;
    }
    let name = format!("{title}: {}", case.name);
    Line { what: name, figures, postgres: String::new(), target: targets.join(", "), met: Some(met) }
}
