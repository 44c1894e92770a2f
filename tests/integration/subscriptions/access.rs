//! Who is told what: decided at each delivery.

use std::time::Duration;

use serde_json::{Value, json};

use super::{COMPANY, WORKSPACE, Watcher, code, comment, live, settings};

fn removed(ws: &str, id: &str, user: &str) -> Value {
    json!({
        "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
        "action": "member.removed", "details": { "user": user }
    })
}

#[tokio::test]
async fn clients_are_not_told_what_is_for_staff() {
    let live = live().await;
    let mut member = Watcher::of_workspace(&live, "member", "ws-1").await;
    let mut client = Watcher::of_workspace(&live, "client", "ws-1").await;
    let mut of_company = Watcher::of_company(&live, "client").await;
    live.world
        .given([
            comment("ws-1", "a"),
            settings("ws-1", "b", json!({ "activity_enabled": true })),
            comment("ws-1", "c"),
        ])
        .await;
    live.broadcast().await;
    assert_eq!(member.news(&live), ["ws-1/a", "ws-1/b", "ws-1/c"]);
    assert_eq!(client.news(&live), ["ws-1/a", "ws-1/c"]);
    assert_eq!(of_company.news(&live), ["ws-1/a", "ws-1/c"]);
    // Nor when they come back for it.
    for watcher in [&mut client, &mut of_company] {
        watcher.vanish(&live);
        live.world
            .given([settings(
                "ws-1",
                &format!("{}.d", watcher.connection.trim_end_matches('=')),
                json!({ "activity_enabled": true }),
            )])
            .await;
        live.broadcast().await;
        watcher.come(&live).await;
        assert_eq!(watcher.news(&live), [""; 0]);
    }
}

#[tokio::test]
async fn a_member_who_is_removed_hears_no_more() {
    let live = live().await;
    let mut member = Watcher::of_workspace(&live, "member", "ws-1").await;
    let mut of_company = Watcher::of_company(&live, "member").await;
    let mut owner = Watcher::of_workspace(&live, "owner", "ws-1").await;
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    live.world.advance(Duration::from_secs(1));
    // What was recorded before is told after, and not to those who may not see it by then.
    live.world.given([comment("ws-1", "b"), removed("ws-1", "c", "member"), comment("ws-2", "d")]).await;
    live.broadcast().await;
    assert_eq!(member.news(&live), ["ws-1/a"]);
    assert_eq!(code(&member.errors[0]), "FORBIDDEN");
    assert_eq!(of_company.news(&live), ["ws-1/a", "ws-2/d"]);
    assert_eq!(owner.news(&live), ["ws-1/a", "ws-1/b", "ws-1/c"]);
    // The connection is there for others, and the subscription is not.
    assert!(live.sockets.is_open(&member.connection));
    live.world.given([comment("ws-1", "e")]).await;
    live.broadcast().await;
    assert!(live.sockets.take(&member.connection).is_empty());
    member.subscribe(&live).await;
    assert_eq!(code(&member.errors[1]), "FORBIDDEN");
    live.check().await;
}

#[tokio::test]
async fn privacy_and_tracking_count_at_once() {
    let live = live().await;
    let mut member = Watcher::of_workspace(&live, "member", "ws-1").await;
    let mut of_company = Watcher::of_company(&live, "member").await;
    let mut admin = Watcher::of_workspace(&live, "admin", "ws-1").await;
    let mut service = Watcher {
        sub: "service",
        query: WORKSPACE,
        variables: json!({ "projectId": "ws-1" }),
        ..Watcher::default()
    };
    service.connection = live.enter("service", "activity:read").await;
    service.subscribe(&live).await;
    live.world.given([settings("ws-1", "a", json!({ "privacy": "admins" })), comment("ws-1", "b")]).await;
    live.broadcast().await;
    assert_eq!(member.news(&live), [""; 0]);
    assert_eq!(code(&member.errors[0]), "FORBIDDEN");
    assert_eq!(of_company.news(&live), [""; 0]);
    assert_eq!(admin.news(&live), ["ws-1/a", "ws-1/b"]);
    assert_eq!(service.news(&live), ["ws-1/a", "ws-1/b"]);
    live.world.advance(Duration::from_secs(1));
    live.world
        .given([settings("ws-1", "c", json!({ "activity_enabled": false })), comment("ws-1", "d")])
        .await;
    live.broadcast().await;
    assert_eq!(admin.news(&live), [""; 0]);
    assert_eq!(service.news(&live), [""; 0]);
    live.world.advance(Duration::from_secs(1));
    let open = json!({ "activity_enabled": true, "privacy": "members" });
    live.world.given([settings("ws-1", "e", open), comment("ws-1", "f")]).await;
    live.broadcast().await;
    // Nobody told them that it was over, since it was not.
    for watcher in [&mut admin, &mut service, &mut of_company] {
        assert_eq!(watcher.news(&live), ["ws-1/e", "ws-1/f"]);
        assert!(watcher.errors.is_empty());
    }
    // Who was told comes back, and may by now see what was recorded meanwhile.
    member.subscribe(&live).await;
    assert_eq!(member.news(&live), ["ws-1/a", "ws-1/b", "ws-1/c", "ws-1/d", "ws-1/e", "ws-1/f"]);
    live.check().await;
}

#[tokio::test]
async fn whose_token_has_expired_is_disconnected_and_comes_back_with_another() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "member", "ws-1").await;
    let mut late = Watcher::of_workspace(&live, "owner", "ws-1").await;
    live.world.advance(Duration::from_secs(3600));
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    // A clock may be half a minute off.
    assert_eq!(watcher.news(&live), ["ws-1/a"]);
    live.world.advance(Duration::from_secs(30));
    live.world.given([comment("ws-1", "b")]).await;
    live.broadcast().await;
    let messages = watcher.read(&live);
    assert_eq!(messages, [json!({ "type": "pong", "payload": { "closing": "The token has expired" } })]);
    assert!(!live.sockets.is_open(&watcher.connection));
    assert!(live.check().await.iter().all(|(pk, _)| pk.starts_with("JOURNAL#")));
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-1/b"]);
    late.read(&live);
    late.come(&live).await;
    assert_eq!(late.news(&live), ["ws-1/a", "ws-1/b"]);
}

#[tokio::test]
async fn nobody_is_told_of_what_is_others() {
    let live = live().await;
    live.world
        .given([json!({
            "id": "other.created", "workspace_id": "other", "actor_type": "user", "actor_id": "stranger",
            "action": "workspace.created", "details": { "name": "Other", "organization": "org-2" }
        })])
        .await;
    let mut first = Watcher::of_workspace(&live, "owner", "ws-1").await;
    let mut company = Watcher::of_company(&live, "owner").await;
    live.world
        .given([comment("ws-2", "a"), comment("other", "b"), comment("ws-1", "c"), comment("unknown", "d")])
        .await;
    live.broadcast().await;
    assert_eq!(first.news(&live), ["ws-1/c"]);
    let mut told = company.news(&live);
    told.sort();
    assert_eq!(told, ["ws-1/c", "ws-2/a"]);
    let stranger = live.enter("stranger", "").await;
    live.subscribe(&stranger, "1", COMPANY, json!({ "companyId": "org-1" })).await;
    assert_eq!(code(&live.sockets.take(&stranger)[0]["payload"]), "FORBIDDEN");
}

#[tokio::test]
async fn a_workspace_is_told_of_where_it_is_now() {
    let live = live().await;
    let mut first = Watcher::of_company(&live, "owner").await;
    live.world.advance(Duration::from_secs(1));
    let moved = |id: &str, ws: &str, organization: &str| {
        json!({
            "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
            "action": "workspace.created", "details": { "name": "Apollo", "organization": organization }
        })
    };
    live.world.given([moved("moved", "ws-1", "org-2"), comment("ws-1", "a"), comment("ws-2", "b")]).await;
    live.broadcast().await;
    assert_eq!(first.news(&live), ["ws-2/b"]);
    let mut second = Watcher::new(&live, "owner", COMPANY, json!({ "companyId": "org-2" })).await;
    live.world.given([comment("ws-1", "c")]).await;
    live.broadcast().await;
    assert_eq!(first.news(&live), [""; 0]);
    assert_eq!(second.news(&live), ["ws-1/c"]);
}
