//! When and by whom an activity was recorded: shown to owners, admins and `activity:read`, on every way out.

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Reply, World, check, token_claims};
use serde_json::{Value, json};

use crate::event;
use crate::graphql::workspace_events;

const FEED: &str = "/api/v1/workspaces/ws/activity";
const ISSUE: &str = "/api/v1/workspaces/ws/issues/issue-1/activity";
const AT: &str = "2025-01-01T00:00:00Z";
/// Readers of the workspace `ws`: their ids, their scopes, and whether they see provenance.
const READERS: [(&str, &str, bool); 6] = [
    ("owner", "", true),
    ("admin", "", true),
    ("member", "", false),
    ("client", "", false),
    ("service", "activity:read", true),
    ("client", "activity:read", true),
];

/// The provenance of an activity that [`given`] recorded.
fn recorded() -> (Value, Value) {
    (json!("2026-11-23T00:00:00"), json!({ "source": "http", "principal": "tracker app-1" }))
}

/// Records an activity over HTTP, as a service that has a client.
async fn given(world: &World, ws: &str, id: &str) {
    let mut claims = token_claims("tracker", "activity:write");
    claims["client_id"] = json!("app-1");
    let mut event = event(id, AT);
    event["workspace_id"] = json!(ws);
    let path = format!("/api/v1/workspaces/{ws}/activity");
    let posted = world.send("POST", &path, Some(claims), &[], Some(&event.to_string())).await;
    // The producer does not learn what the log keeps of it.
    assert_eq!((posted.status, posted.body.get("recorded_at")), (201, None), "{}", posted.body);
}

/// Takes the provenance away from an activity, as of one that was recorded before it was kept.
pub(crate) async fn forget_provenance(world: &World, id: &str) {
    let sk = format!("AT#2025-01-01T00:00:00.000000#{id}");
    let update = world.client.update_item().table_name(&world.table);
    let update = update.key("pk", AttributeValue::S("WS#ws".into())).key("sk", AttributeValue::S(sk));
    update.update_expression("REMOVE recorded").send().await.unwrap();
}

fn members(entry: &Value) -> Vec<&str> {
    entry.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn rest_shows_provenance_to_those_who_may_see_it() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    given(&world, "ws", "act-1").await;
    let first = |reply: Reply| {
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.body.as_array().map_or(reply.body.clone(), |list| list[0].clone())
    };
    for (sub, scope, sees) in READERS {
        let reader = format!("{sub} {scope}");
        for (path, is_asked) in [
            (FEED.to_owned(), false),
            (format!("{FEED}?include=total"), false),
            (format!("{FEED}?include=provenance"), true),
            (format!("{FEED}?include=total&include=provenance&actor_id=ada&order=desc"), true),
            (ISSUE.to_owned(), false),
            (format!("{ISSUE}?include=provenance&limit=1"), true),
            (format!("{FEED}/act-1"), true),
        ] {
            let entry = first(world.get_as(sub, scope, &path).await);
            assert_eq!(entry["id"], "act-1", "{reader}: {path}");
            if sees && is_asked {
                let found = (entry["recorded_at"].clone(), entry["recorded_by"].clone());
                assert_eq!(found, recorded(), "{reader}: {path}");
                assert!(members(&entry).len() == 10, "{reader}: {path}: {entry}");
            } else {
                assert!(members(&entry).len() == 8, "{reader}: {path}: {entry}");
                assert!(!entry.to_string().contains("tracker"), "{reader}: {path}: {entry}");
            }
        }
        // The pages that follow keep what was asked for.
        let page = world.get_as(sub, scope, &format!("{FEED}?limit=1&include=provenance")).await;
        let next = world.get_as(sub, scope, page.next().unwrap()).await;
        assert_eq!(next.body[0].get("recorded_by").is_some(), sees, "{reader}");
    }
    let stranger = world.get_as("stranger", "", &format!("{FEED}?include=provenance")).await;
    assert_eq!(stranger.status, 403);
    for query in ["include=everything", "include=total,provenance", "include=provenance&include="] {
        let refused = world.get(&format!("{FEED}?{query}")).await;
        assert_eq!((refused.status, &refused.body["field"]), (400, &json!("include")), "{query}");
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn provenance_comes_after_all_other_members() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let mut event = event("full", AT);
    event["actor_type"] = json!("agent");
    event["on_behalf_of"] = json!({ "id": "u" });
    event["affected"] = json!({ "id": "v" });
    event["tags"] = json!(["t"]);
    world.given([event]).await;
    let text = world.get_text(&format!("{FEED}/full")).await;
    let (_, end) = text.split_once("\"created_at\":\"2025-01-01T00:00:00\",").unwrap();
    insta::assert_snapshot!(end, @r#""on_behalf_of":{"id":"u"},"affected":{"id":"v"},"tags":["t"],"recorded_at":"2026-11-23T00:00:00","recorded_by":{"source":"http","principal":"harness"}}"#);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn older_activities_have_no_provenance() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    given(&world, "ws", "act-1").await;
    forget_provenance(&world, "act-1").await;
    for path in [format!("{FEED}?include=provenance&limit=1"), format!("{FEED}/act-1")] {
        let reply = world.get(&path).await;
        let entry = reply.body.as_array().map_or(&reply.body, |list| &list[0]);
        assert_eq!((&entry["id"], members(entry).len()), (&json!("act-1"), 8), "{path}");
    }
    let query =
        "{ activityList(projectId: \"ws\", first: 1) { activities { recordedAt recordedBy { source } } } }";
    let answer = world.ask("owner", "", query, Value::Null).await;
    let node = &answer["data"]["activityList"]["activities"][0];
    assert_eq!(*node, json!({ "recordedAt": null, "recordedBy": null }));
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn etags_differ_between_those_who_see_and_those_who_do_not() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    given(&world, "ws", "act-1").await;
    for path in [format!("{FEED}/act-1"), format!("{FEED}?include=provenance")] {
        let tag = world.get(&path).await.headers["etag"].clone();
        for (sub, status) in [("owner", 304), ("admin", 304), ("member", 200), ("client", 200)] {
            let headers = [("if-none-match", tag.as_str())];
            let reply = world.send("GET", &path, Some(token_claims(sub, "")), &headers, None).await;
            assert_eq!(reply.status, status, "{sub}: {path}");
        }
    }
    // A reader who is no admin any more does not go on with what an admin saw.
    let path = format!("{FEED}/act-1");
    let tag = world.get_as("admin", "", &path).await.headers["etag"].clone();
    let details = json!({ "user": "admin", "role": "member" });
    world
        .given([json!({
            "id": "demoted", "workspace_id": "ws", "actor_type": "user", "actor_id": "owner",
            "action": "member.role_changed", "details": details, "created_at": "2025-01-01T00:00:00Z"
        })])
        .await;
    let headers = [("if-none-match", tag.as_str())];
    let reply = world.send("GET", &path, Some(token_claims("admin", "")), &headers, None).await;
    assert_eq!((reply.status, members(&reply.body).len()), (200, 8));
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn provenance_costs_no_read() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given((0..60).map(|n| event(&format!("act-{n:02}"), AT))).await;
    let cost = async |sub: &str, path: &str| {
        world.transport.take_metered();
        assert_eq!(world.get_as(sub, "", path).await.status, 200);
        let metered = world.transport.take_metered();
        (metered.total(), metered.units)
    };
    for sub in ["owner", "member"] {
        let plain = cost(sub, FEED).await;
        assert_eq!(plain.0, 2, "{sub}");
        assert_eq!(cost(sub, &format!("{FEED}?include=provenance")).await, plain, "{sub}");
        assert_eq!(cost(sub, &format!("{FEED}/act-07")).await.0, 3, "{sub}");
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn graphql_shows_provenance_by_the_role_in_each_project() {
    let world = World::new().await;
    for (ws, members) in [
        ("ws", [("olga", "owner"), ("mia", "member"), ("carl", "client")]),
        ("other", [("olga", "member"), ("mia", "admin"), ("carl", "client")]),
    ] {
        let details = json!({ "name": ws, "organization": "org" });
        world.given(workspace_events(ws, details, &members)).await;
        given(&world, ws, "act-1").await;
    }
    let fields = "recordedAt recordedBy { source principal } by: recordedBy { who: principal }";
    for (sub, scope, sees) in [
        ("olga", "", ["ws"].as_slice()),
        ("mia", "", &["other"]),
        ("carl", "", &[]),
        ("service", "activity:read", &["ws", "other"]),
    ] {
        let lists = ["projectId: \"ws\"", "projectId: \"other\"", "companyId: \"org\""].map(str::to_owned);
        let everything = (scope.is_empty()).then(String::new);
        for arguments in lists.into_iter().chain(everything) {
            for order in ["createdAt_DESC", "category_ASC"] {
                let query = format!(
                    "{{ activityList({arguments} userId: \"ada\", orderBy: {order}) {{ activities {{ uid {fields} }} }} }}"
                );
                let answer = world.ask(sub, scope, &query, Value::Null).await;
                let nodes = answer["data"]["activityList"]["activities"].as_array().unwrap();
                assert_eq!(nodes.len(), if arguments.contains("project") { 1 } else { 2 }, "{sub}: {answer}");
                for node in nodes {
                    let (ws, _) = node["uid"].as_str().unwrap().split_once('/').unwrap();
                    let (at, by, who) = match sees.contains(&ws) {
                        true => (
                            json!("2026-11-23T00:00:00.000000Z"),
                            json!({ "source": "HTTP", "principal": "tracker app-1" }),
                            json!({ "who": "tracker app-1" }),
                        ),
                        false => (Value::Null, Value::Null, Value::Null),
                    };
                    let found = (&node["recordedAt"], &node["recordedBy"], &node["by"]);
                    assert_eq!(found, (&at, &by, &who), "{sub}: {ws}: {query}");
                }
            }
        }
    }
    check(&world.client, &world.table).await;
}
