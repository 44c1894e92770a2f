//! Costs and times of GraphQL, compared with the REST list of the same page.

use std::time::Instant;

use harness::{Metered, World};
use serde_json::{Value, json};

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::reads::WARM_UP;
use crate::report::{Line, Report};
use crate::stats::Times;

/// The examples of the reference.
const EXAMPLES: &str = include_str!("../../tests/reference/activity_list.graphql");
/// The longest time of the basic example, as a multiple of the REST list's.
const MAX_REST_RATIO: f64 = 1.3;
/// The most read units of two filters, as a multiple of the first page's.
const MAX_FILTER_UNITS: f64 = 12.0;
/// Workspaces of the company.
const WORKSPACES: usize = 200;
/// Activities of each workspace.
const WORKSPACE_ACTIVITIES: usize = 98;

/// A query and its targets.
#[derive(Debug)]
struct Case {
    name: String,
    query: String,
    entries: usize,
    /// The REST path of the same page.
    rest: Option<String>,
    requests: Option<usize>,
    /// The most read units, as a multiple of the first case's.
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

/// The reads of the large workspace. The others are compared with the first one.
fn workspace_cases(data: &Data) -> Vec<Case> {
    let list = |name: &str, arguments: &str| {
        Case::list(name, &format!("projectId: \"{WORKSPACE}\", {arguments}"), 3)
    };
    let two = |name: &str, arguments: &str| Case {
        requests: None,
        units: Some(MAX_FILTER_UNITS),
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
pub(crate) async fn measure_workspace(
    world: &mut World,
    data: &Data,
    repetitions: usize,
    report: &mut Report,
) -> Result<()> {
    measure(world, "GraphQL", &workspace_cases(data), repetitions, report).await
}

/// Measures the reads of a company with many workspaces, in a table of its own.
pub(crate) async fn measure_company(repetitions: usize, report: &mut Report) -> Result<()> {
    let mut world = World::embedded(None).await?;
    let data = Data::new(WORKSPACES * WORKSPACE_ACTIVITIES);
    for n in 0..WORKSPACES {
        let ws = format!("ws-{n:03}");
        world
            .given([
                workspace_event(&ws, "workspace.created", json!({ "name": ws, "organization": "org" })),
                workspace_event(&ws, "member.added", json!({ "user": "owner", "role": "member" })),
            ])
            .await;
        // The workspaces take turns, so that a page has activities of many.
        let events = (0..WORKSPACE_ACTIVITIES).map(|index| {
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

fn workspace_event(ws: &str, action: &str, details: Value) -> Value {
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
        world.transport.take_metered();
        let answer = world.ask("owner", "", &case.query, Value::Null).await;
        metered.push(world.transport.take_metered());
        let entries = answer["data"]["activityList"]["activities"].as_array().map_or(0, Vec::len);
        if entries != case.entries {
            return Err(format!("{}: {entries} entries, {}", case.name, answer["errors"]).into());
        }
    }
    world.set_metering(false);
    let mut times: Vec<(Times, Times)> = cases.iter().map(|_| Default::default()).collect();
    for round in 0..WARM_UP + repetitions {
        for (case, (ours, rest)) in cases.iter().zip(&mut times) {
            let began = Instant::now();
            world.ask_text("owner", &case.query).await;
            let asked = began.elapsed();
            if round >= WARM_UP {
                ours.push(asked);
            }
            let Some(path) = &case.rest else { continue };
            let began = Instant::now();
            world.get_text(path).await;
            if round >= WARM_UP {
                rest.push(began.elapsed());
            }
        }
    }
    world.set_metering(true);
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
        targets.push(format!("≤ {MAX_REST_RATIO} times"));
        met &= ratio <= MAX_REST_RATIO;
    }
    let name = format!("{title}: {}", case.name);
    Line { what: name, figures, postgres: String::new(), target: targets.join(", "), met: Some(met) }
}
