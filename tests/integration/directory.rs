//! Access: the directory, which the log itself decides, says who may read.

use harness::{Reply, World};
use serde_json::{Value, json};

const PAGE: &str = "/api/v1/workspaces/ws/activity";

fn change(id: &str, action: &str, details: Value, created_at: &str) -> Value {
    json!({
        "id": id, "workspace_id": "ws", "actor_type": "user", "actor_id": "owner", "action": action,
        "details": details, "created_at": created_at
    })
}

fn problem(reply: &Reply) -> (u16, &str, &str) {
    let text = |name: &str| reply.body[name].as_str().unwrap();
    (reply.status, text("code"), text("detail"))
}

#[tokio::test]
async fn role_decides_access() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for (sub, scope, status) in [
        ("owner", "", 200),
        ("admin", "", 200),
        ("member", "", 200),
        ("client", "", 200),
        ("stranger", "", 403),
        ("auth0|stranger", "", 403),
        ("stranger", "activity:write", 403),
        ("service", "openid activity:read", 200),
    ] {
        assert_eq!(world.get_as(sub, scope, PAGE).await.status, status, "{sub} {scope}");
    }
    let stranger = world.get_as("stranger", "", PAGE).await;
    let forbidden = "You do not have permission to view activities for this project";
    assert_eq!(problem(&stranger), (403, "FORBIDDEN", forbidden));
    let unknown = world.get("/api/v1/workspaces/elsewhere/activity").await;
    assert_eq!(problem(&unknown), (404, "NOT_FOUND", "Workspace not found"));
    let nobody = world.send("GET", PAGE, None, &[], None).await;
    assert_eq!((nobody.status, nobody.headers["www-authenticate"].as_str()), (401, "Bearer"));
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn other_tenant_cannot_read_workspace() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given_workspace("other").await;
    let gone = change("gone", "member.removed", json!({ "user": "member" }), "2021-01-01T00:00:00Z");
    world.given([gone]).await;
    let mine = world.get("/api/v1/workspaces/other/activity?limit=1").await;
    let cursor = mine.next().unwrap().split("cursor=").nth(1).unwrap().to_owned();
    for path in [
        PAGE.to_owned(),
        format!("{PAGE}?limit=1"),
        format!("{PAGE}?offset=1"),
        format!("{PAGE}?actor_id=owner&include=total"),
        format!("{PAGE}/ws.created"),
        "/api/v1/workspaces/ws/issues/issue-1/activity".to_owned(),
    ] {
        assert_eq!(world.get_as("member", "", &path).await.status, 403, "{path}");
    }
    // A cursor of another workspace gives no access.
    assert_eq!(world.get_as("member", "", &format!("{PAGE}?cursor={cursor}")).await.status, 400);
    // An id names an activity of the path's workspace only.
    let foreign = world.get("/api/v1/workspaces/other/activity/ws.created").await;
    assert_eq!(foreign.status, 404);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn removed_member_cannot_read_until_added_again() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let member = json!({ "user": "member" });
    let again = json!({ "user": "member", "role": "client" });
    world.given([change("out", "member.removed", member, "2021-01-01T00:00:00Z")]).await;
    assert_eq!(world.get_as("member", "", PAGE).await.status, 403);
    world.given([change("back", "member.added", again, "2021-01-02T00:00:00Z")]).await;
    assert_eq!(world.get_as("member", "", PAGE).await.status, 200);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn late_event_does_not_undo_newer_one() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let role = |role: &str| json!({ "user": "member", "role": role });
    world
        .given([change("removed", "member.removed", json!({ "user": "member" }), "2022-01-01T00:00:00Z")])
        .await;
    world.given([change("late", "member.role_changed", role("admin"), "2021-01-01T00:00:00Z")]).await;
    assert_eq!(world.get_as("member", "", PAGE).await.status, 403);

    // A late event still decides the fields that no newer event decided.
    let settings = |id: &str, details: Value, at: &str| change(id, "workspace.settings_updated", details, at);
    world.given([settings("s2", json!({ "privacy": "members" }), "2022-01-01T00:00:00Z")]).await;
    let both = json!({ "privacy": "admins", "activity_enabled": false });
    world.given([settings("s1", both, "2021-01-01T00:00:00Z")]).await;
    let reply = world.get_as("client", "", &format!("{PAGE}?include=total")).await;
    assert_eq!((reply.status, reply.ids().len(), reply.headers["x-total-count"].as_str()), (200, 0, "0"));

    // The order within a batch does not matter either.
    world
        .given([
            settings("s5", json!({ "activity_enabled": true }), "2025-01-01T00:00:00Z"),
            settings("s4", json!({ "activity_enabled": false }), "2024-01-01T00:00:00Z"),
            settings("s0", json!({ "activity_enabled": false }), "2020-06-01T00:00:00Z"),
        ])
        .await;
    assert_eq!(world.get_as("client", "", PAGE).await.ids(), ["ws.created"]);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn privacy_and_tracking_apply_to_older_activities() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let settings = |id: &str, details: Value, at: &str| change(id, "workspace.settings_updated", details, at);
    world.given([settings("s1", json!({ "privacy": "admins" }), "2021-01-01T00:00:00Z")]).await;
    for (sub, status) in [("owner", 200), ("admin", 200), ("member", 403), ("client", 403)] {
        assert_eq!(world.get_as(sub, "", PAGE).await.status, status, "{sub}");
        let one = world.get_as(sub, "", &format!("{PAGE}/ws.created")).await;
        assert_eq!(one.status, status, "{sub}");
    }
    world.given([settings("s2", json!({ "activity_enabled": false }), "2021-01-02T00:00:00Z")]).await;
    // Owners and admins see who changed the settings, and nothing else. Auditors see everything.
    for sub in ["owner", "admin"] {
        for (parameters, ids) in [
            ("include=total", &["s2", "s1"][..]),
            ("include=total&limit=1", &["s2"]),
            ("include=total&offset=1", &["s1"]),
            ("include=total&offset=2", &[]),
            ("include=total&order=asc&offset=1", &["s2"]),
            ("include=total&actor_id=owner", &["s2", "s1"]),
            ("include=total&action=workspace.settings_updated&action=workspace.created&offset=1", &["s1"]),
        ] {
            let reply = world.get_as(sub, "", &format!("{PAGE}?{parameters}")).await;
            let total = reply.headers["x-total-count"].as_str();
            assert_eq!((reply.ids(), total), (ids.to_vec(), "2"), "{sub}: {parameters}");
        }
        for (parameters, ids) in [
            ("since=2021-01-02T00:00:00Z", &["s2"][..]),
            ("until=2021-01-01T00:00:01Z", &["s1"]),
            ("action=workspace.created", &[]),
            ("actor_id=nobody", &[]),
        ] {
            let reply = world.get_as(sub, "", &format!("{PAGE}?include=total&{parameters}")).await;
            let total = reply.headers["x-total-count"].parse::<usize>().unwrap();
            assert_eq!((reply.ids(), total), (ids.to_vec(), ids.len()), "{sub}: {parameters}");
        }
        assert_eq!(world.get_as(sub, "", &format!("{PAGE}/s1")).await.status, 200, "{sub}");
        assert_eq!(world.get_as(sub, "", &format!("{PAGE}/ws.created")).await.status, 404, "{sub}");
        assert_eq!(world.walk(sub, &format!("{PAGE}?limit=1"), |_| {}).await, ["s2", "s1"]);
    }
    let reply = world.get_as("service", "activity:read", &format!("{PAGE}?include=total")).await;
    assert_eq!((reply.ids().len(), reply.headers["x-total-count"].as_str()), (7, "7"));
    world.given([settings("s3", json!({ "privacy": "members" }), "2021-01-03T00:00:00Z")]).await;
    for sub in ["member", "client"] {
        for path in [PAGE.to_owned(), format!("{PAGE}?offset=1"), format!("{PAGE}?actor_id=owner")] {
            let path = format!("{path}{}include=total", if path.contains('?') { '&' } else { '?' });
            let reply = world.get_as(sub, "", &path).await;
            assert_eq!(
                (reply.ids().len(), reply.headers["x-total-count"].as_str()),
                (0, "0"),
                "{sub}: {path}"
            );
        }
        assert_eq!(world.get_as(sub, "", &format!("{PAGE}/s1")).await.status, 404, "{sub}");
    }
    assert_eq!(world.get(&format!("{PAGE}/ws.created")).await.status, 404);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn changes_of_settings_cost_no_more_for_other_activities() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let settings = |n: usize| {
        let at = format!("2021-01-01T00:{:02}:{:02}Z", n / 60, n % 60);
        change(&format!("s{n:03}"), "workspace.settings_updated", json!({ "privacy": "members" }), &at)
    };
    world.given((0..120).map(settings)).await;
    for page in 0..4 {
        let issue =
            |n: usize| change(&format!("i{n:04}"), "deploy.finished", json!({}), "2021-01-01T00:01:00Z");
        world.given((page * 490..(page + 1) * 490).map(issue)).await;
    }
    let off = json!({ "activity_enabled": false });
    world.given([change("z", "workspace.settings_updated", off, "2021-01-02T00:00:00Z")]).await;
    // The page of everything that was read beside access is followed by two partitions, of the action's category, and of
    // OTHER.
    for (parameters, requests) in [
        ("", 4),
        ("include=total", 7),
        ("offset=100", 6),
        ("offset=100&include=total", 6),
        ("actor_id=owner&offset=100", 5),
    ] {
        world.transport.take_metered();
        let reply = world.get(&format!("{PAGE}?{parameters}&limit=20")).await;
        let metered = world.transport.take_metered();
        assert_eq!((reply.status, reply.ids().len()), (200, 20), "{parameters}");
        assert_eq!(metered.total(), requests, "{parameters}: {metered:?}");
        if parameters.contains("total") {
            assert_eq!(reply.headers["x-total-count"], "121");
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn client_sees_no_trace_of_staff_actions() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let details = json!({ "title": "t", "identifier": "I-1" });
    for n in 0..30 {
        let at = format!("2021-01-01T00:{n:02}:00Z");
        let mut issue = change(&format!("issue-{n}"), "issue.created", details.clone(), &at);
        issue["issue_id"] = json!("issue-1");
        let invited = change(&format!("invited-{n}"), "invitation.created", json!({}), &at);
        world.given([issue, invited]).await;
    }
    let visible: Vec<String> =
        (0..30).rev().map(|n| format!("issue-{n}")).chain(["ws.created".to_owned()]).collect();
    for path in [format!("{PAGE}?include=total&limit=200"), format!("{PAGE}?include=total&limit=7")] {
        let reply = world.get_as("client", "", &path).await;
        assert_eq!(reply.headers["x-total-count"], "31");
        assert_eq!(reply.ids(), visible[..reply.ids().len()]);
    }
    for offset in 0..32 {
        let reply = world.get_as("client", "", &format!("{PAGE}?limit=3&offset={offset}")).await;
        let end = (offset + 3).min(visible.len());
        assert_eq!(reply.ids(), visible[offset.min(end)..end], "offset {offset}");
        assert_eq!(reply.next().is_some(), end < visible.len(), "offset {offset}");
    }
    let filtered =
        world.get_as("client", "", &format!("{PAGE}?action=invitation.created&include=total")).await;
    assert_eq!((filtered.ids().len(), filtered.headers["x-total-count"].as_str()), (0, "0"));
    assert_eq!(world.get_as("client", "", &format!("{PAGE}/invited-3")).await.status, 404);
    assert_eq!(world.get_as("member", "", &format!("{PAGE}/invited-3")).await.status, 200);
    let all = world.get(&format!("{PAGE}?include=total")).await;
    assert_eq!(all.headers["x-total-count"], "65");
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn clients_see_unknown_actions_only_if_their_events_say_so() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let at = "2021-01-01T00:00:00Z";
    let event = |id: &str, action: &str, audience: Value| {
        let mut event = change(id, action, json!({ "status_update": "status-1", "text": "x" }), at);
        event["audience"] = audience;
        event.to_string()
    };
    for (id, action, audience) in [
        ("payroll", "payroll.exported", Value::Null),
        ("deploy", "deploy.finished", json!("everyone")),
        ("internal", "status_update.created", json!("staff")),
    ] {
        let reply = world.post("ws", &event(id, action, audience.clone()), &[]).await;
        assert_eq!(reply.status, 201, "{id}: {:?}", reply.body);
        assert_eq!(reply.body.get("audience"), (!audience.is_null()).then_some(&audience), "{id}");
    }
    let page = format!("{PAGE}?include=total");
    let shown = world.get_as("client", "", &page).await;
    assert_eq!(shown.ids(), ["deploy", "ws.created"]);
    assert_eq!(shown.headers["x-total-count"], "2");
    assert_eq!(world.get_as("client", "", &format!("{PAGE}/payroll")).await.status, 404);
    let all = world.get_as("member", "", &page).await;
    assert_eq!(all.headers["x-total-count"], "8");

    // The same event with another audience is another event.
    let reply = world.post("ws", &event("payroll", "payroll.exported", json!("everyone")), &[]).await;
    assert_eq!(reply.status, 409);
    let reply = world.post("ws", &event("payroll", "payroll.exported", Value::Null), &[]).await;
    assert_eq!(reply.status, 200);
    for (action, audience) in [("member.added", "everyone"), ("deploy.finished", "clients")] {
        let reply = world.post("ws", &event("bad", action, json!(audience)), &[]).await;
        assert_eq!(reply.status, 400, "{action}: {:?}", reply.body);
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn activities_before_workspace_created_are_kept() {
    let world = World::new().await.allowing_unknown_workspaces();
    let early = |id: &str| change(id, "deploy.finished", json!({}), "2019-01-01T00:00:00Z");
    world.given([early("early-1")]).await;
    world.given([early("early-2")]).await;
    assert_eq!(world.get(PAGE).await.status, 404);
    world.given_workspace("ws").await;
    world.given([early("after")]).await;
    assert_eq!(world.get(&format!("{PAGE}?include=total")).await.headers["x-total-count"], "8");
    let of = |org: &'static str| {
        let query = world.client.query().table_name(&world.table).index_name("by-organization");
        let query = query.key_condition_expression("org_key = :o");
        query.expression_attribute_values(":o", aws_sdk_dynamodb::types::AttributeValue::S(org.into())).send()
    };
    assert_eq!(of("ORG#?#ws").await.unwrap().count, 2);
    assert_eq!(of("ORG#org-1").await.unwrap().count, 6);
    let workspace = domain::ids::WorkspaceId::parse("w", "ws").unwrap();
    let standing = world.store.org_standing(&workspace).await.unwrap();
    assert!(standing.known && standing.unclaimed);
    assert_eq!(standing.organization.unwrap().as_str(), "org-1");
    harness::check(&world.client, &world.table).await;
}
