//! Access is decided at each delivery.

use std::time::Duration;

use serde_json::{Value, json};

use super::{COMPANY, Subscriber, WORKSPACE, code, comment, settings, subscriber_world};

fn removed(ws: &str, id: &str, user: &str) -> Value {
    json!({
        "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
        "action": "member.removed", "details": { "user": user }
    })
}

#[tokio::test]
async fn client_gets_no_staff_updates() {
    let world = subscriber_world().await;
    let mut member = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut client = Subscriber::to_workspace(&world, "client", "ws-1").await;
    let mut of_company = Subscriber::to_company(&world, "client").await;
    world
        .log
        .given([
            comment("ws-1", "a"),
            settings("ws-1", "b", json!({ "activity_enabled": true })),
            comment("ws-1", "c"),
        ])
        .await;
    world.broadcast().await;
    assert_eq!(member.take_received(&world), ["ws-1/a", "ws-1/b", "ws-1/c"]);
    assert_eq!(client.take_received(&world), ["ws-1/a", "ws-1/c"]);
    assert_eq!(of_company.take_received(&world), ["ws-1/a", "ws-1/c"]);
    // A replay leaves out staff updates too.
    for subscriber in [&mut client, &mut of_company] {
        subscriber.lose_connection(&world);
        world
            .log
            .given([settings(
                "ws-1",
                &format!("{}.d", subscriber.connection.trim_end_matches('=')),
                json!({ "activity_enabled": true }),
            )])
            .await;
        world.broadcast().await;
        subscriber.connect(&world).await;
        assert_eq!(subscriber.take_received(&world), [""; 0]);
    }
}

#[tokio::test]
async fn removed_member_gets_no_updates() {
    let world = subscriber_world().await;
    let mut member = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut of_company = Subscriber::to_company(&world, "member").await;
    let mut owner = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    world.log.advance(Duration::from_secs(1));
    // The removed member does not get `b` either, because access is decided at delivery.
    world.log.given([comment("ws-1", "b"), removed("ws-1", "c", "member"), comment("ws-2", "d")]).await;
    world.broadcast().await;
    assert_eq!(member.take_received(&world), ["ws-1/a"]);
    assert_eq!(code(&member.errors[0]), "FORBIDDEN");
    assert_eq!(of_company.take_received(&world), ["ws-1/a", "ws-2/d"]);
    assert_eq!(owner.take_received(&world), ["ws-1/a", "ws-1/b", "ws-1/c"]);
    // Only the subscription ends. The connection stays open for others.
    assert!(world.sockets.is_open(&member.connection));
    world.log.given([comment("ws-1", "e")]).await;
    world.broadcast().await;
    assert!(world.sockets.take_messages(&member.connection).is_empty());
    member.subscribe(&world).await;
    assert_eq!(code(&member.errors[1]), "FORBIDDEN");
    world.check().await;
}

#[tokio::test]
async fn privacy_and_tracking_apply_at_once() {
    let world = subscriber_world().await;
    let mut member = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut of_company = Subscriber::to_company(&world, "member").await;
    let mut admin = Subscriber::to_workspace(&world, "admin", "ws-1").await;
    let mut service = Subscriber {
        sub: "service",
        query: WORKSPACE,
        variables: json!({ "projectId": "ws-1" }),
        ..Subscriber::default()
    };
    service.connection = world.connect_as("service", "activity:read").await;
    service.subscribe(&world).await;
    world.log.given([settings("ws-1", "a", json!({ "privacy": "admins" })), comment("ws-1", "b")]).await;
    world.broadcast().await;
    assert_eq!(member.take_received(&world), [""; 0]);
    assert_eq!(code(&member.errors[0]), "FORBIDDEN");
    assert_eq!(of_company.take_received(&world), [""; 0]);
    assert_eq!(admin.take_received(&world), ["ws-1/a", "ws-1/b"]);
    assert_eq!(service.take_received(&world), ["ws-1/a", "ws-1/b"]);
    world.log.advance(Duration::from_secs(1));
    world
        .log
        .given([settings("ws-1", "c", json!({ "activity_enabled": false })), comment("ws-1", "d")])
        .await;
    world.broadcast().await;
    assert_eq!(admin.take_received(&world), ["ws-1/c"]);
    assert_eq!(service.take_received(&world), ["ws-1/c", "ws-1/d"]);
    assert_eq!(of_company.take_received(&world), [""; 0]);
    // Within the tolerance, what hides would still hold.
    world.log.advance(Duration::from_secs(6));
    let open = json!({ "activity_enabled": true, "privacy": "members" });
    world.log.given([settings("ws-1", "e", open), comment("ws-1", "f")]).await;
    world.broadcast().await;
    // Subscriptions survive tracking that is off, and privacy in a company's feed.
    for subscriber in [&mut admin, &mut service, &mut of_company] {
        assert_eq!(subscriber.take_received(&world), ["ws-1/e", "ws-1/f"]);
        assert!(subscriber.errors.is_empty());
    }
    // The member subscribes again, and gets everything that the member may see by now.
    member.subscribe(&world).await;
    assert_eq!(member.take_received(&world), ["ws-1/a", "ws-1/b", "ws-1/c", "ws-1/d", "ws-1/e", "ws-1/f"]);
    world.check().await;
}

#[tokio::test]
async fn expired_token_disconnects_and_new_token_resumes() {
    let world = subscriber_world().await;
    let mut subscriber = Subscriber::to_workspace(&world, "member", "ws-1").await;
    let mut late = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    world.log.advance(Duration::from_secs(3600));
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    // The token is accepted for 30 seconds more, because clocks differ.
    assert_eq!(subscriber.take_received(&world), ["ws-1/a"]);
    world.log.advance(Duration::from_secs(30));
    world.log.given([comment("ws-1", "b")]).await;
    world.broadcast().await;
    let messages = subscriber.read(&world);
    assert_eq!(messages, [json!({ "type": "pong", "payload": { "closing": "The token has expired" } })]);
    assert!(!world.sockets.is_open(&subscriber.connection));
    assert!(world.check().await.iter().all(|(pk, _)| pk.starts_with("JOURNAL#")));
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-1/b"]);
    late.read(&world);
    late.connect(&world).await;
    assert_eq!(late.take_received(&world), ["ws-1/a", "ws-1/b"]);
}

#[tokio::test]
async fn subscriber_gets_updates_of_its_topic_only() {
    let mut world = subscriber_world().await;
    world.log = world.log.allowing_unknown_workspaces();
    world
        .log
        .given([json!({
            "id": "other.created", "workspace_id": "other", "actor_type": "user", "actor_id": "stranger",
            "action": "workspace.created", "details": { "name": "Other", "organization": "org-2" }
        })])
        .await;
    let mut first = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    let mut company = Subscriber::to_company(&world, "owner").await;
    world
        .log
        .given([comment("ws-2", "a"), comment("other", "b"), comment("ws-1", "c"), comment("unknown", "d")])
        .await;
    world.broadcast().await;
    assert_eq!(first.take_received(&world), ["ws-1/c"]);
    let mut received = company.take_received(&world);
    received.sort();
    assert_eq!(received, ["ws-1/c", "ws-2/a"]);
    let stranger = world.connect_as("stranger", "").await;
    world.subscribe(&stranger, "1", COMPANY, json!({ "companyId": "org-1" })).await;
    assert_eq!(code(&world.sockets.take_messages(&stranger)[0]["payload"]), "FORBIDDEN");
}

#[tokio::test]
async fn moved_workspace_updates_its_new_company_only() {
    let world = subscriber_world().await;
    let mut first = Subscriber::to_company(&world, "owner").await;
    world.log.advance(Duration::from_secs(1));
    let moved = |id: &str, ws: &str, organization: &str| {
        json!({
            "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
            "action": "workspace.created", "details": { "name": "Apollo", "organization": organization }
        })
    };
    world.log.given([moved("moved", "ws-1", "org-2"), comment("ws-1", "a"), comment("ws-2", "b")]).await;
    world.broadcast().await;
    assert_eq!(first.take_received(&world), ["ws-2/b"]);
    let mut second = Subscriber::new(&world, "owner", COMPANY, json!({ "companyId": "org-2" })).await;
    world.log.given([comment("ws-1", "c")]).await;
    world.broadcast().await;
    assert_eq!(first.take_received(&world), [""; 0]);
    assert_eq!(second.take_received(&world), ["ws-1/c"]);
}

/// Subscribers whose documents select provenance, and one whose document does not: each reads it only where it may.
#[tokio::test]
async fn provenance_goes_to_those_who_may_see_it() {
    const SELECTED: &str = "subscription($projectId: String, $companyId: String, $after: String) {
        subscribeToActivity(projectId: $projectId, companyId: $companyId, after: $after) {
            node { uid recordedAt by: recordedBy { source principal } }
        }
    }";
    let world = subscriber_world().await;
    world.log.advance(Duration::from_secs(9));
    let changed = json!({ "user": "admin", "role": "member" });
    world
        .log
        .given([json!({
            "id": "demoted", "workspace_id": "ws-2", "actor_type": "user", "actor_id": "owner",
            "action": "member.role_changed", "details": changed
        })])
        .await;
    world.stream_records().await;
    let (ws, company) = (json!({ "projectId": "ws-1" }), json!({ "companyId": "org-1" }));
    let mut subscribers = Vec::new();
    for (sub, scope, variables, sees) in [
        ("client", "", &ws, ["ws-1"; 0].as_slice()),
        ("owner", "", &ws, &["ws-1"]),
        ("member", "", &ws, &[]),
        ("service", "activity:read", &ws, &["ws-1"]),
        ("member", "", &company, &[]),
        ("admin", "", &company, &["ws-1"]),
        ("client", "", &company, &[]),
        ("owner", "", &company, &["ws-1", "ws-2"]),
        ("service", "activity:read", &company, &["ws-1", "ws-2"]),
    ] {
        let variables = variables.clone();
        let mut subscriber = Subscriber { sub, query: SELECTED, variables, ..Subscriber::default() };
        subscriber.connection = world.connect_as(sub, scope).await;
        subscriber.subscribe(&world).await;
        subscribers.push((subscriber, scope, sees));
    }
    let mut plain = Subscriber::to_workspace(&world, "owner", "ws-1").await;
    let check_nodes = |subscriber: &mut Subscriber, sees: &[&str], expected: usize| {
        let messages = subscriber.read(&world);
        let nodes: Vec<&Value> = messages
            .iter()
            .map(|message| &message["payload"]["data"]["subscribeToActivity"]["node"])
            .collect();
        let nodes: Vec<&Value> = nodes.into_iter().filter(|node| node.is_object()).collect();
        assert_eq!(nodes.len(), expected, "{}: {messages:?}", subscriber.sub);
        for node in nodes {
            let (ws, _) = node["uid"].as_str().unwrap().split_once('/').unwrap();
            let (at, by) = match sees.contains(&ws) {
                true => (
                    "2026-11-23T00:00:09.000000Z".into(),
                    json!({ "source": "HTTP", "principal": "harness" }),
                ),
                false => (Value::Null, Value::Null),
            };
            assert_eq!((&node["recordedAt"], &node["by"]), (&at, &by), "{}: {node}", subscriber.sub);
        }
    };
    world.log.given([comment("ws-1", "a"), comment("ws-2", "b"), comment("ws-1", "c")]).await;
    world.broadcast().await;
    let count = |subscriber: &Subscriber| if subscriber.variables == ws { 2 } else { 3 };
    for (subscriber, _, sees) in &mut subscribers {
        let expected = count(subscriber);
        check_nodes(subscriber, sees, expected);
    }
    assert_eq!(plain.take_received(&world), ["ws-1/a", "ws-1/c"]);
    // A replay shows no more than a delivery.
    for (subscriber, scope, sees) in &mut subscribers {
        subscriber.lose_connection(&world);
        let id = subscriber.connection.trim_end_matches('=').to_owned();
        world.log.given([comment("ws-1", &id)]).await;
        world.broadcast().await;
        subscriber.connection = world.connect_as(subscriber.sub, scope).await;
        let mut variables = subscriber.variables.clone();
        variables["after"] = subscriber.cursor.clone().into();
        world.subscribe(&subscriber.connection, "1", subscriber.query, variables).await;
        check_nodes(subscriber, sees, 1);
    }
    world.check().await;
}
