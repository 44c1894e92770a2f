//! A subscription without arguments covers all that its reader may see.

use harness::{SubscriberWorld, World};
use serde_json::json;

use super::{Subscriber, code, comment};

#[tokio::test]
async fn without_arguments_a_subscription_covers_all_one_may_see() {
    let log = World::with_stream().await;
    let made = |ws: &str, organization: Option<&str>, members: &[(&str, &str)]| {
        let mut details = json!({ "name": ws });
        if let Some(organization) = organization {
            details["organization"] = organization.into();
        }
        crate::graphql::workspace_events(ws, details, members)
    };
    log.given(made("a-1", Some("org-a"), &[("ada", "owner"), ("both", "member")])).await;
    log.given(made("a-2", Some("org-a"), &[("ada", "member")])).await;
    log.given(made("a-3", Some("org-a"), &[("else", "owner")])).await;
    log.given(made("b-1", Some("org-b"), &[("both", "owner"), ("else", "client")])).await;
    log.given(made("free", None, &[("solo", "owner")])).await;
    let world = SubscriberWorld::new(log).await;
    world.stream_records().await;
    const ALL: &str = "subscription($after: String) { subscribeToActivity(after: $after) { node { uid } } }";
    let mut ada = Subscriber::new(&world, "ada", ALL, json!({})).await;
    let mut solo = Subscriber::new(&world, "solo", ALL, json!({})).await;
    for (sub, scope, reason) in [
        ("both", "", "several companies"),
        ("nobody", "", "no project"),
        ("service", "activity:read", "activity:read"),
    ] {
        let connection = world.connect_as(sub, scope).await;
        world.subscribe(&connection, "1", ALL, json!({})).await;
        let messages = world.sockets.take_messages(&connection);
        let [refused] = messages.as_slice() else { panic!("{sub}: {messages:?}") };
        assert_eq!(code(&refused["payload"]), "BAD_USER_INPUT", "{refused}");
        let message = refused["payload"][0]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{sub}: {message}");
    }
    let events = ["a-1", "a-2", "a-3", "b-1", "free"].map(|ws| comment(ws, "x"));
    world.log.given(events.clone()).await;
    world.broadcast().await;
    let mut received = ada.take_received(&world);
    received.sort_unstable();
    assert_eq!(received, ["a-1/x", "a-2/x"]);
    assert_eq!(solo.take_received(&world), ["free/x"]);
    // It goes on where it was, and covers what is new.
    ada.lose_connection(&world);
    let joined = json!({ "user": "ada", "role": "member" });
    let mut joining = comment("a-3", "joined");
    (joining["action"], joining["details"]) = ("member.added".into(), joined);
    world.log.given([joining, comment("a-2", "y")]).await;
    world.broadcast().await;
    world.log.given([comment("a-3", "z")]).await;
    world.broadcast().await;
    ada.connect(&world).await;
    let received = ada.take_received(&world);
    assert!(received.contains(&"a-2/y".to_owned()) && received.contains(&"a-3/z".to_owned()), "{received:?}");
    world.check().await;
}
