//! Memory of the largest reads: GraphQL documents of many lists, and pages of REST.

use std::path::Path;
use std::time::Duration;

use harness::World;
use serde_json::{Value, json};

use crate::Result;
use crate::lambda::{Lambda, http_event};
use crate::report::Report;

/// The most memory of a function, in MB, as in the template.
const MAX_MB: f64 = 256.0;
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of each activity's details, close to the most that an event may have.
const DETAILS: usize = 60_000;
/// Actors of a workspace, which take turns: as many as a filter takes.
const ACTORS: usize = 20;
/// Workspaces of the company, each with [`EACH`] activities.
const WORKSPACES: usize = 120;
const EACH: usize = 6;

/// The details of an activity, of [`DETAILS`] bytes.
type Details = fn() -> Value;

fn text() -> Value {
    json!({ "text": "x".repeat(DETAILS) })
}

/// JSON that takes a hundred times its size in memory: an object for each seven bytes.
fn objects() -> Value {
    json!({ "text": "x", "objects": vec![json!({ "": 0 }); DETAILS / 7] })
}

pub(crate) async fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    let world = World::embedded(None).await?;
    for (ws, details) in [("text", text as Details), ("objects", objects)] {
        given_workspace(&world, ws, 20 * ACTORS, details).await;
    }
    for n in 0..WORKSPACES {
        given_workspace(&world, &format!("company-{n:03}"), EACH, text).await;
    }
    let users: Vec<String> = (0..ACTORS).map(|n| format!("\"user-{n}\"")).collect();
    let users = users.join(", ");
    for ws in ["text", "objects"] {
        let of_users = format!("projectId: \"{ws}\", userIds: [{users}]");
        let page = format!("projectId: \"{ws}\"");
        for (name, arguments, lists, first, fields) in [
            ("a page", &page, 1, 200, "id html metadata"),
            ("eleven lists", &page, 11, 45, "id"),
            ("eight lists", &page, 8, 200, "id"),
            ("seven lists with comments", &page, 7, 200, "comment { text }"),
            ("a page of 20 users", &of_users, 1, 200, "id"),
            ("eight lists of 20 users", &of_users, 8, 200, "id"),
        ] {
            measure_document(&world, directory, (ws, name), (arguments, lists, first, fields), report)
                .await?;
        }
        let actors: String = (0..ACTORS).map(|n| format!("&actor_id=user-{n}")).collect();
        for (name, query) in [("a page", String::new()), ("a page of 20 actors", actors)] {
            let path = format!("/api/v1/workspaces/{ws}/activity");
            let event = http_event("GET", &path, &format!("limit=200{query}"), String::new())?;
            measure_event(
                &world,
                &directory.join("list-workspace-activity"),
                &format!("REST, {ws}: {name}"),
                &event,
                report,
            )
            .await?;
        }
    }
    let company = "companyId: \"org\", orderBy: category_ASC".to_owned();
    for (name, lists) in [("a page", 1), ("eight lists", 8)] {
        measure_document(&world, directory, ("company", name), (&company, lists, 200, "id"), report).await?;
    }
    world.stop().await;
    Ok(())
}

async fn measure_document(
    world: &World,
    directory: &Path,
    (ws, name): (&str, &str),
    (arguments, lists, first, fields): (&str, usize, usize, &str),
    report: &mut Report,
) -> Result<()> {
    let list =
        |n: usize| format!("l{n}: activityList({arguments}, first: {first}) {{ activities {{ {fields} }} }}");
    let query = format!("{{ {} }}", (0..lists).map(list).collect::<Vec<_>>().join(" "));
    let event = http_event("POST", "/graphql", "", json!({ "query": query }).to_string())?;
    measure_event(world, &directory.join("graphql"), &format!("GraphQL, {ws}: {name}"), &event, report).await
}

async fn measure_event(
    world: &World,
    program: &Path,
    name: &str,
    event: &Value,
    report: &mut Report,
) -> Result<()> {
    let mut function = Lambda::start(program, world.endpoint(), &[], LIMIT).await?;
    let idle = function.peak_memory()? as f64 / 1e6;
    let (took, response) = function.invoke(event.to_string()).await?;
    let peak = function.peak_memory()? as f64 / 1e6;
    let response: Value = serde_json::from_str(&response)?;
    let body = response["body"].as_str().unwrap_or_default();
    let body: Value = serde_json::from_str(body)?;
    let outcome = match body["errors"][0]["extensions"]["code"].as_str() {
        Some(code) => format!("{code}: {}", body["errors"][0]["message"]),
        None => entries(&body).to_string(),
    };
    report.check(
        format!("memory, {name}"),
        format!(
            "peak {peak:.0} MB, {idle:.0} MB at start, {:.1} s, {} {outcome}",
            took.as_secs_f64(),
            response["statusCode"]
        ),
        format!("< {MAX_MB} MB"),
        peak < MAX_MB,
    );
    Ok(())
}

/// How many activities each list has.
fn entries(body: &Value) -> Value {
    match body["data"].as_object() {
        Some(lists) => {
            let len = |list: &Value| list["activities"].as_array().map_or(0, Vec::len);
            lists.values().map(len).collect::<Vec<_>>().into()
        }
        None => body.as_array().map_or(0, Vec::len).into(),
    }
}

async fn given_workspace(world: &World, ws: &str, activities: usize, details: Details) {
    let event = |id: String, actor: &str, action: &str, details: Value, created_at: &str| {
        json!({
            "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": actor, "action": action,
            "details": details, "created_at": created_at
        })
    };
    let made = "2020-01-01T00:00:00Z";
    let details_of_it = json!({ "name": ws, "organization": "org" });
    let member = json!({ "user": "owner", "role": "owner" });
    let mut events = vec![
        event("made".into(), "owner", "workspace.created", details_of_it, made),
        event("added".into(), "owner", "member.added", member, made),
    ];
    events.extend((0..activities).map(|n| {
        let time = format!("2025-01-01T{:02}:{:02}:00Z", n / 60, n % 60);
        event(format!("a-{n}"), &format!("user-{}", n % ACTORS), "comment.created", details(), &time)
    }));
    world.given(events).await;
}
