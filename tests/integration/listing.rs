//! Listing: pages, filters, links, totals, tags.

use harness::{Reply, World};
use serde_json::{Value, json};

use crate::event;

const PAGE: &str = "/api/v1/workspaces/ws/activity";
const ISSUE: &str = "/api/v1/workspaces/ws/issues/issue-1/activity";

#[tokio::test]
async fn entry_has_the_reference_form() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world
        .given([
            json!({
                "id": "act-abc123", "workspace_id": "ws", "issue_id": "issue-abc123", "actor_type": "user",
                "actor_id": "user-abc123", "action": "issue.created",
                "details": { "title": "Fix login bug", "identifier": "ISS-1" }, "created_at": "2025-01-01T00:00:00Z"
            }),
            json!({
                "id": "act-abc124", "workspace_id": "ws", "actor_type": "agent", "actor_id": "agent-1",
                "actor": { "name": "Robo", "email": "robo@example.com" }, "on_behalf_of": { "id": "user-abc123" },
                "action": "run.finished", "details": { "z": 1, "a": [true, null, 1.5, "é"] },
                "affected": { "id": "user-2", "name": "Bob" }, "tags": ["nightly"],
                "created_at": "2025-01-01T00:00:00.000120+00:00"
            }),
        ])
        .await;
    insta::assert_snapshot!(world.get_text(&format!("{PAGE}?limit=2")).await, @r#"[{"id":"act-abc124","workspace_id":"ws","issue_id":null,"actor_type":"agent","actor_id":"agent-1","action":"run.finished","details":{"a":[true,null,1.5,"é"],"z":1},"created_at":"2025-01-01T00:00:00.000120","on_behalf_of":{"id":"user-abc123"},"affected":{"id":"user-2","name":"Bob"},"tags":["nightly"]},{"id":"act-abc123","workspace_id":"ws","issue_id":"issue-abc123","actor_type":"user","actor_id":"user-abc123","action":"issue.created","details":{"identifier":"ISS-1","title":"Fix login bug"},"created_at":"2025-01-01T00:00:00"}]"#);
    insta::assert_snapshot!(world.get_text(&format!("{PAGE}?limit=0")).await, @r#"{"type":"about:blank","title":"Bad Request","status":400,"code":"BAD_USER_INPUT","detail":"limit must be a whole number from 1 to 200","field":"limit","request_id":"req-1"}"#);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn equal_timestamps_are_ordered_by_id() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let at = "2025-01-01T00:00:00Z";
    world.given((0..120).map(|n| event(&format!("act-{n:03}"), at))).await;
    let expected: Vec<String> = (0..120).rev().map(|n| format!("act-{n:03}")).collect();
    for limit in [1, 7, 50, 119, 120, 121] {
        let first = format!("{ISSUE}?limit={limit}");
        let seen = world.walk("owner", &first, |page| assert!(page.ids().len() <= limit)).await;
        assert_eq!(seen, expected, "limit {limit}");
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn page_cut_at_1_mb_is_not_the_last() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let big = |n: usize| {
        let mut big = event(&format!("act-{n:02}"), &format!("2025-01-01T00:{n:02}:00Z"));
        big["details"]["x"] = json!("x".repeat(60_000));
        big
    };
    world.given((0..40).map(big)).await;
    for path in [
        format!("{PAGE}?limit=40"),
        format!("{ISSUE}?limit=40"),
        format!("{PAGE}?limit=40&actor_type=user"),
        format!("{PAGE}?limit=40&actor_id=ada&include=total"),
    ] {
        let reply = world.get(&path).await;
        let expected: Vec<String> = (0..40).rev().map(|n| format!("act-{n:02}")).collect();
        assert_eq!(reply.ids(), expected, "{path}");
        assert_eq!(
            reply.next().is_some(),
            !path.contains("ISSUE") && !path.contains("issue") && !path.contains("ada")
        );
    }
    // An offset also skips past the cut, by counters and by reading.
    for path in [format!("{PAGE}?limit=1&offset=39"), format!("{ISSUE}?limit=1&offset=39")] {
        assert_eq!(world.get(&path).await.ids(), ["act-00"], "{path}");
    }
    let total = world.get(&format!("{ISSUE}?limit=1&include=total")).await;
    assert_eq!(total.headers["x-total-count"], "40");
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn cursor_survives_inserts_between_pages() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let at = |minute: usize| format!("2025-01-01T00:{minute:02}:00Z");
    world.given((0..10).map(|n| event(&format!("act-{n}"), &at(10 + n)))).await;
    let first = world.get(&format!("{PAGE}?limit=4")).await;
    assert_eq!(first.ids(), ["act-9", "act-8", "act-7", "act-6"]);
    // The events are newer, within the first page, just after it, and at the time of its last activity.
    world
        .given([
            event("new", &at(50)),
            event("between", &at(18)),
            event("next", &at(15)),
            event("act-6.", &at(16)),
        ])
        .await;
    let second = world.get(first.next().unwrap()).await;
    assert_eq!(second.ids(), ["next", "act-5", "act-4", "act-3"]);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn etag_changes_with_anything_in_the_response() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let read = |path: String, tag: String| {
        let (world, owner) = (&world, Some(harness::token_claims("owner", "")));
        async move { world.send("GET", &path, owner, &[("if-none-match", &tag)], None).await }
    };
    let first = world.get(PAGE).await;
    let tag = first.headers["etag"].clone();
    assert!(tag.starts_with("W/\""));
    for tags in
        [tag.clone(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()]
    {
        let same = read(PAGE.into(), tags.clone()).await;
        assert_eq!((same.status, same.body, &same.headers["etag"]), (304, Value::Null, &tag), "{tags}");
    }
    assert_eq!(read(PAGE.into(), "W/\"0\"".into()).await.status, 200);
    // Another page, a total and a new activity each have another tag.
    for path in [format!("{PAGE}?limit=2"), format!("{PAGE}?include=total")] {
        assert_eq!(read(path, tag.clone()).await.status, 200);
    }
    world.given([event("new", "2025-01-01T00:00:00Z")]).await;
    assert_eq!(read(PAGE.into(), tag.clone()).await.status, 200);
    // A matching tag gives no access.
    let stranger = world
        .send("GET", PAGE, Some(harness::token_claims("stranger", "")), &[("if-none-match", "*")], None)
        .await;
    assert_eq!(stranger.status, 403);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn bad_parameter_is_rejected_before_any_read() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let cursor = world
        .get(&format!("{PAGE}?limit=1"))
        .await
        .next()
        .unwrap()
        .split("cursor=")
        .nth(1)
        .unwrap()
        .to_owned();
    world.transport.take_metered();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("cursor=%00", "cursor"),
        (&format!("cursor={}", &cursor[1..]), "cursor"),
        (&format!("cursor={cursor}&order=asc"), "cursor"),
        (&format!("cursor={cursor}&actor_id=x"), "cursor"),
        (&format!("cursor={cursor}&offset=1"), "offset"),
        ("since=2025-01-02T00:00:00Z&until=2025-01-01T00:00:00Z", "since"),
        ("actor_typ=agent", "actor_typ"),
        ("action=%27%3B%20DROP", "action"),
        ("tag=%E2%80%8B", "tag"),
    ] {
        let reply = world.get(&format!("{PAGE}?{query}")).await;
        assert_eq!((reply.status, reply.body["field"].as_str()), (400, Some(field)), "{query}");
    }
    let hostile = world.get("/api/v1/workspaces/ws%09x/activity").await;
    assert_eq!((hostile.status, hostile.body["field"].as_str()), (400, Some("ws_id")));
    let cursor_elsewhere = world.get(&format!("{ISSUE}?cursor={cursor}")).await;
    assert_eq!(cursor_elsewhere.status, 400);
    assert_eq!(world.transport.take_metered().total(), 0);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn similar_workspace_ids_share_no_keys() {
    let world = World::new().await;
    for ws in ["a", "a.b", "A", "a-b", "a_b"] {
        world.given_workspace(ws).await;
        let mut event = event("x", "2025-01-01T00:00:00Z");
        event["workspace_id"] = json!(ws);
        event["issue_id"] = json!("b");
        world.given([event]).await;
    }
    for ws in ["a", "a.b", "A", "a-b", "a_b"] {
        let reply = world.get(&format!("/api/v1/workspaces/{ws}/activity?include=total")).await;
        assert_eq!((reply.ids().len(), reply.headers["x-total-count"].as_str()), (6, "6"), "{ws}");
        let issue = world.get(&format!("/api/v1/workspaces/{ws}/issues/b/activity?include=total")).await;
        assert_eq!((issue.ids().len(), issue.headers["x-total-count"].as_str()), (1, "1"), "{ws}");
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn page_fits_lambda_response_limit() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let big = |n: usize| {
        let mut big = event(&format!("act-{n:03}"), &format!("2025-01-01T{:02}:{:02}:00Z", n / 60, n % 60));
        // Quotes and backslashes take twice the bytes, because Lambda escapes the body.
        big["details"]["x"] = json!("\"\\".repeat(8_000));
        big
    };
    world.given((0..150).map(big)).await;
    let first = format!("{PAGE}?limit=200&include=total&since=2025-01-01T00:00:00Z");
    let each = |page: &Reply| {
        assert_eq!(page.headers["x-total-count"], "150");
        let sent = serde_json::to_string(&page.body.to_string()).unwrap().len();
        assert!((1..5_000_000).contains(&sent), "{sent} bytes");
    };
    let refused = world.get(&first).await;
    assert_eq!((refused.status, refused.body["max_limit"].is_u64()), (400, true), "{}", refused.body);
    let seen = world.walk("owner", refused.next().unwrap(), each).await;
    assert_eq!(seen, (0..150).rev().map(|n| format!("act-{n:03}")).collect::<Vec<_>>());
    // The response to a batch is limited too. It leaves out activities that its caller sent.
    let again = world.post("ws", &Value::from((0..90).map(big).collect::<Vec<_>>()).to_string(), &[]).await;
    assert_eq!((again.status, again.body.as_array().unwrap().len()), (200, 90));
    assert!(again.body[0]["activity"].is_null() && again.body[0]["status"] == 200, "{}", again.body[0]);
    harness::check(&world.client, &world.table).await;
}
