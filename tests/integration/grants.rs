//! Grants: a token's scopes are good for the organizations and workspaces that its claims name, and for nothing else.

use std::time::Duration;

use harness::{Reply, World, check, token_claims};
use serde_json::{Value, json};

use crate::event;
use crate::graphql::workspace_events;

const AT: &str = "2025-01-01T00:00:00Z";

fn claims(scope: &str, grants: &Value) -> Value {
    let mut claims = token_claims("service", scope);
    claims.as_object_mut().unwrap().extend(grants.as_object().unwrap().clone());
    claims
}

async fn post(world: &World, ws: &str, grants: &Value, body: Value) -> Reply {
    let claims = claims("activity:write activity:admin", grants);
    let path = format!("/api/v1/workspaces/{ws}/activity");
    world.send("POST", &path, Some(claims), &[], Some(&body.to_string())).await
}

fn of(ws: &str, mut event: Value) -> Value {
    event["workspace_id"] = json!(ws);
    event
}

fn created(id: &str, organization: Option<&str>) -> Value {
    let mut event = event(id, AT);
    event["action"] = json!("workspace.created");
    event["details"] = json!({ "name": "Apollo" });
    if let Some(organization) = organization {
        event["details"]["organization"] = json!(organization);
    }
    event.as_object_mut().unwrap().remove("workspace_id");
    event
}

/// Two tenants, `org-1` with `ws-1` and `org-2` with `ws-2`, and a workspace without an organization.
async fn two_tenants() -> World {
    let world = World::new().await;
    for (ws, organization) in [("ws-1", Some("org-1")), ("ws-2", Some("org-2")), ("alone", None)] {
        let mut details = json!({ "name": ws });
        if let Some(organization) = organization {
            details["organization"] = json!(organization);
        }
        world.given(workspace_events(ws, details, &[("owner", "owner")])).await;
    }
    world
}

#[tokio::test]
async fn service_records_only_where_it_is_granted() {
    let world = two_tenants().await;
    for (n, (grants, ws, status)) in [
        (json!({}), "ws-2", 201),
        (json!({ "organizations": ["org-1"] }), "ws-1", 201),
        (json!({ "organizations": ["org-1"] }), "ws-2", 403),
        (json!({ "organizations": ["org-1"] }), "alone", 403),
        (json!({ "workspaces": ["ws-1"] }), "ws-1", 201),
        (json!({ "workspaces": ["ws-1"] }), "ws-2", 403),
        (json!({ "workspaces": ["ws-2"], "organizations": ["org-1"] }), "ws-2", 403),
        (json!({ "workspaces": "ws-1 ws-2" }), "ws-2", 201),
        (json!({ "workspaces": "[ws-1 ws-2]" }), "ws-2", 403),
        (json!({ "workspaces": 7 }), "ws-1", 403),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = post(&world, ws, &grants, of(ws, event(&format!("e-{n}"), AT))).await;
        assert_eq!(reply.status, status, "{grants} {ws}: {reply:?}");
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn nobody_takes_over_a_workspace_of_another_tenant() {
    let world = two_tenants().await;
    let before = check(&world.client, &world.table).await;
    let org_1 = json!({ "organizations": ["org-1"] });
    let both = json!({ "organizations": ["org-1", "org-2"] });
    let mut owner = of("ws-2", event("owner", AT));
    owner["action"] = json!("member.added");
    owner["details"] = json!({ "user": "mallory", "role": "owner" });
    for (grants, ws, body) in [
        (&org_1, "ws-2", owner),
        (&org_1, "ws-2", created("moved", Some("org-1"))),
        (&org_1, "ws-1", created("moved", Some("org-2"))),
        (&org_1, "alone", created("claimed", Some("org-1"))),
        (&both, "alone", created("claimed", Some("org-1"))),
        (&org_1, "new", created("created", Some("org-2"))),
        (&org_1, "new", created("created", None)),
        (&json!({ "workspaces": ["ws-1"] }), "new", created("created", Some("org-1"))),
    ] {
        let reply = post(&world, ws, grants, body.clone()).await;
        assert_eq!((reply.status, &reply.body["code"]), (403, &json!("FORBIDDEN")), "{grants} {ws} {body}");
    }
    assert_eq!(check(&world.client, &world.table).await, before);
    let own = json!({ "organizations": ["org-1"], "workspaces": ["new", "ws-1"] });
    assert_eq!(post(&world, "new", &own, created("created", Some("org-1"))).await.status, 201);
    assert_eq!(post(&world, "new", &own, of("new", event("first", AT))).await.status, 201);
    // A token for both organizations may move it.
    let mut moved = created("moved", Some("org-2"));
    moved["created_at"] = json!("2025-01-02T00:00:00Z");
    assert_eq!(post(&world, "new", &both, moved).await.status, 201);
    assert_eq!(post(&world, "new", &own, of("new", event("late", AT))).await.status, 403);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn process_does_not_record_by_an_old_organization() {
    let world = two_tenants().await;
    let org_1 = json!({ "organizations": ["org-1"] });
    // This process caches that ws-1 belongs to org-1, and another one moves it.
    assert_eq!(post(&world, "ws-1", &org_1, of("ws-1", event("before", AT))).await.status, 201);
    let mut moved = of("ws-1", created("moved", Some("org-2")));
    moved["created_at"] = json!("2025-01-02T00:00:00Z");
    let message = harness::Message::new("m", moved.to_string());
    let response = world.start_process(3).deliver(&[message], Duration::from_secs(30)).await;
    assert_eq!(response["batchItemFailures"], json!([]));
    let ungranted = of("ws-1", event("after", AT));
    assert_eq!(post(&world, "ws-1", &org_1, ungranted.clone()).await.status, 403);
    let mut private = ungranted;
    private["action"] = json!("workspace.settings_updated");
    private["details"] = json!({ "privacy": "admins" });
    assert_eq!(post(&world, "ws-1", &org_1, private).await.status, 403);
    let org_2 = json!({ "organizations": ["org-2"] });
    assert_eq!(post(&world, "ws-1", &org_2, of("ws-1", event("after", AT))).await.status, 201);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn two_tenants_cannot_create_one_workspace() {
    let world = World::new().await;
    let create = async |organization: &'static str| {
        let grants = json!({ "organizations": [organization] });
        post(&world, "new", &grants, created(&format!("by-{organization}"), Some(organization))).await.status
    };
    let (one, two) = tokio::join!(create("org-1"), create("org-2"));
    let mut statuses = [one, two];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403]);
    assert_eq!(check(&world.client, &world.table).await.activities["new"].len(), 1);
}

#[tokio::test]
async fn grant_by_organization_costs_one_check() {
    let world = two_tenants().await;
    let org_1 = json!({ "organizations": ["org-1"] });
    for (grants, units) in [(json!({}), 12.0), (org_1, 14.0)] {
        post(&world, "ws-1", &grants, of("ws-1", event(&format!("a-{units}"), AT))).await;
        world.transport.take_metered();
        let reply = post(&world, "ws-1", &grants, of("ws-1", event(&format!("b-{units}"), AT))).await;
        let metered = world.transport.take_metered();
        assert_eq!((reply.status, metered.total()), (201, 1), "{grants}");
        // DynamoDB Local charges index entries twice in a transaction, like items. DynamoDB charges them once.
        if std::env::var("DYNAMODB_ENDPOINT").is_err() {
            assert_eq!(metered.units, units, "{grants}");
        }
    }
}

#[tokio::test]
async fn service_reads_only_where_it_is_granted() {
    let world = two_tenants().await;
    let company = "query ($company: String!) { activityList(companyId: $company) { totalCount } }";
    for (grants, ws_1, ws_2, org_2) in [
        (json!({}), 200, 200, None),
        (json!({ "organizations": ["org-1"] }), 200, 403, Some("FORBIDDEN")),
        (json!({ "workspaces": ["ws-1"] }), 200, 403, Some("FORBIDDEN")),
        (json!({ "organizations": ["org-2"] }), 403, 200, None),
        (json!({ "organizations": [] }), 403, 403, Some("FORBIDDEN")),
    ] {
        let claims = claims("activity:read", &grants);
        for (ws, status) in [("ws-1", ws_1), ("ws-2", ws_2)] {
            for path in [
                format!("/api/v1/workspaces/{ws}/activity?include=total"),
                format!("/api/v1/workspaces/{ws}/activity/{ws}.created"),
                format!("/api/v1/workspaces/{ws}/issues/issue-1/activity"),
            ] {
                let expected =
                    if status == 200 && path.ends_with(".created") { [200, 404] } else { [status; 2] };
                let reply = world.send("GET", &path, Some(claims.clone()), &[], None).await;
                assert!(expected.contains(&reply.status), "{grants} {path}: {reply:?}");
            }
        }
        let body = json!({ "query": company, "variables": { "company": "org-2" } }).to_string();
        let reply = world.send("POST", "/graphql", Some(claims), &[], Some(&body)).await;
        let code = reply.body.pointer("/errors/0/extensions/code").and_then(Value::as_str);
        assert_eq!(code, org_2, "{grants}: {reply:?}");
    }
}
