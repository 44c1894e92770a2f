//! The graphql-transport-ws protocol, as far as API Gateway supports it.

use std::time::Duration;

use domain::subscription::SubscriptionBounds;
use harness::{SubscriberWorld, World};
use local::token::{Issuer, SigningKey};
use serde_json::{Value, json};

use super::{WORKSPACE, code, comment, subscriber_world};

/// Sends a message on an authenticated connection, and returns the messages in response.
async fn responses(world: &SubscriberWorld, message: Value) -> Vec<Value> {
    let connection = world.connect_as("owner", "").await;
    world.send(&connection, &message.to_string()).await;
    world.sockets.take_messages(&connection)
}

/// The reason with which a connection was closed.
fn close_reason(world: &SubscriberWorld, connection: &str) -> String {
    let messages = world.sockets.take_messages(connection);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(!world.sockets.is_open(connection));
    assert_eq!(message["type"], "pong", "{message}");
    message["payload"]["closing"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn connect_requires_the_subprotocol() {
    let world = SubscriberWorld::new(World::with_stream().await).await;
    for (headers, status) in [
        (json!({ "Sec-WebSocket-Protocol": "graphql-transport-ws" }), 200),
        (json!({ "sec-websocket-protocol": "graphql-ws, graphql-transport-ws" }), 200),
        (json!({ "sec-websocket-protocol": "graphql-ws" }), 400),
        (json!({}), 400),
        (Value::Null, 400),
    ] {
        let answer =
            world.send_event("$connect", "c=", json!({ "headers": headers }), Duration::from_secs(9)).await;
        assert_eq!(answer["statusCode"], status, "{headers}");
        let chosen = &answer["headers"]["Sec-WebSocket-Protocol"];
        assert_eq!(*chosen == "graphql-transport-ws", status == 200, "{headers}");
    }
}

#[tokio::test]
async fn invalid_token_is_an_error_and_a_violation_closes() {
    let world = subscriber_world().await;
    let init = |authorization: Value| {
        json!({ "type": "connection_init", "payload": { "authorization": authorization } }).to_string()
    };
    let good = world.token("owner", "");
    let foreign = Issuer::with_key("https://issuer.example".into(), SigningKey::generate());
    let foreign = foreign.token("owner", "", world.log.now());
    // The connection stays open, because stock clients would reconnect for ever.
    for (message, reason) in [
        (r#"{"type":"connection_init"}"#.to_owned(), "A bearer token is required"),
        (init(json!("Basic abc")), "A bearer token is required"),
        (init(json!("Bearer abc")), "no JSON Web Token"),
        (init(json!(format!("Bearer {foreign}"))), "signature is not valid"),
    ] {
        let connection = world.connect().await;
        world.send(&connection, &message).await;
        world.subscribe(&connection, "1", WORKSPACE, json!({ "projectId": "ws-1" })).await;
        let messages = world.sockets.take_messages(&connection);
        let [ack, refused] = messages.as_slice() else { panic!("{message}: {messages:?}") };
        assert_eq!(*ack, json!({ "type": "connection_ack" }));
        assert_eq!((&refused["type"], code(&refused["payload"])), (&json!("error"), "UNAUTHENTICATED"));
        let said = refused["payload"][0]["message"].as_str().unwrap();
        assert!(said.contains(reason), "{message}: {said}");
        world.send(&connection, r#"{"type":"ping"}"#).await;
        assert_eq!(world.sockets.take_messages(&connection), [json!({ "type": "pong" })]);
        world.send_event("$disconnect", &connection, json!({}), Duration::from_secs(9)).await;
    }
    // A violation of the protocol closes the connection.
    let subscribe = r#"{"type":"subscribe","id":"1","payload":{"query":"{__typename}"}}"#;
    for (message, reason) in [
        (subscribe, "connection_init comes first"),
        ("hello", "Invalid message"),
        (r#"{"type":"start"}"#, "Invalid message"),
    ] {
        let connection = world.connect().await;
        world.send(&connection, message).await;
        let said = close_reason(&world, &connection);
        assert!(said.contains(reason), "{message}: {said}");
    }
    // The scheme is optional.
    for authorization in [format!("Bearer {good}"), good] {
        let connection = world.connect().await;
        world.send(&connection, &init(authorization.clone().into())).await;
        assert_eq!(world.sockets.take_messages(&connection), [json!({ "type": "connection_ack" })]);
        world.send(&connection, &init(authorization.into())).await;
        assert_eq!(close_reason(&world, &connection), "Too many initialisation requests");
    }
    // The token expires after an hour.
    let connection = world.connect_as("owner", "").await;
    world.log.advance(Duration::from_secs(3631));
    world.subscribe(&connection, "1", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(close_reason(&world, &connection), "The token has expired");
    assert!(world.check().await.iter().all(|(pk, _)| !pk.starts_with("CONN#")));
}

#[tokio::test]
async fn ping_is_answered_and_pong_is_not() {
    let world = subscriber_world().await;
    // A ping needs no session at first.
    let connection = world.connect().await;
    world.send(&connection, r#"{"type":"ping","payload":{"a":1}}"#).await;
    world.send(&connection, r#"{"type":"pong"}"#).await;
    world.send(&connection, r#"{"type":"complete","id":"unknown"}"#).await;
    assert_eq!(world.sockets.take_messages(&connection), [json!({ "type": "pong" })]);
    assert!(world.check().await.is_empty());
}

#[tokio::test]
async fn connection_without_init_is_closed_by_any_message() {
    let world = subscriber_world().await;
    let messages = [
        r#"{"type":"ping"}"#.to_owned(),
        r#"{"type":"pong"}"#.to_owned(),
        r#"{"type":"complete","id":"1"}"#.to_owned(),
        r#"{"type":"connection_init"}"#.to_owned(),
        format!(
            r#"{{"type":"connection_init","payload":{{"authorization":"{}"}}}}"#,
            world.token("owner", "")
        ),
    ];
    for message in &messages {
        let (connection, initialised) = (world.connect().await, world.connect_as("owner", "").await);
        world.log.advance(Duration::from_secs(60));
        world.send(&connection, message).await;
        assert_eq!(close_reason(&world, &connection), "Connection initialisation timeout", "{message}");
        world.send(&initialised, r#"{"type":"pong"}"#).await;
        assert!(world.sockets.take_messages(&initialised).is_empty());
        world.send_event("$disconnect", &initialised, json!({}), Duration::from_secs(9)).await;
        assert!(world.check().await.is_empty(), "{message}");
    }
}

#[tokio::test]
async fn query_over_websocket_is_answered() {
    let world = subscriber_world().await;
    let query = json!({ "query": "{ activityList(projectId: \"ws-1\", first: 1) { totalCount } }" });
    let messages = responses(&world, json!({ "type": "subscribe", "id": "q", "payload": query })).await;
    let data = json!({ "data": { "activityList": { "totalCount": 5 } } });
    assert_eq!(
        messages,
        [json!({ "id": "q", "type": "next", "payload": data }), json!({ "id": "q", "type": "complete" })]
    );
    // A field's error is part of a response.
    let query = json!({ "query": "{ activityList(projectId: \"nope\") { totalCount } }" });
    let messages = responses(&world, json!({ "type": "subscribe", "id": "q", "payload": query })).await;
    assert_eq!(messages[0]["payload"]["data"], Value::Null);
    assert_eq!(code(&messages[0]["payload"]["errors"]), "NOT_FOUND");
}

#[tokio::test]
async fn invalid_document_is_an_error_at_subscribe() {
    let world = subscriber_world().await;
    let fields = "{ node { id: activityId } }";
    for (query, variables, expected) in [
        ("subscription {", json!({}), "expected"),
        ("subscription { nope }", json!({}), "nope"),
        ("subscription { subscribeToActivity(projectId: 7) { mutation } }", json!({}), "projectId"),
        (
            "subscription { subscribeToActivity(companyId: \"\") { mutation } }",
            json!({}),
            "must not be empty",
        ),
        (
            "subscription { subscribeToActivity(projectId: \"ws-1\", after: \"\") { mutation } }",
            json!({}),
            "must not be empty",
        ),
        ("subscription($p: String!) { subscribeToActivity(projectId: $p) { mutation } }", json!({}), "p"),
        (
            "subscription { a: subscribeToActivity(projectId: \"ws-1\") { mutation } \
             b: subscribeToActivity(projectId: \"ws-1\") { mutation } }",
            json!({}),
            "exactly one field",
        ),
        (
            "subscription { subscribeToActivity(projectId: \"ws-1\") { mutation } ...A }
             fragment A on Subscription { subscribeToActivity(projectId: \"ws-2\") { mutation } }",
            json!({}),
            "two lists under the name",
        ),
        ("subscription { __typename }", json!({}), "__typename"),
        ("subscription { ... @include(if: false) { __typename } }", json!({}), "exactly one field"),
        (
            "subscription { subscribeToActivity(projectId: \"ws-1\") @skip(if: true) { mutation } }",
            json!({}),
            "must select subscribeToActivity",
        ),
        (
            "subscription { subscribeToActivity(projectId: \"nope\") { mutation } }",
            json!({}),
            "Project not found",
        ),
        (
            "subscription { subscribeToActivity(companyId: \"nope\") { mutation } }",
            json!({}),
            "Company not found",
        ),
        (
            "subscription { subscribeToActivity(projectId: \"ws-1\", companyId: \"nope\") { mutation } }",
            json!({}),
            "Project not found",
        ),
        ("mutation { a }", json!({}), "mutation"),
        (
            "subscription($n: Int = 7) { subscribeToActivity(projectId: \"ws-1\", after: \"x\") { mutation } }",
            json!({}),
            "",
        ),
        (
            &format!("subscription {{ subscribeToActivity(projectId: \"ws-1\", after: \"x\") {fields} }}"),
            json!({}),
            "after: ",
        ),
    ] {
        let payload = json!({ "query": query, "variables": variables });
        let messages = responses(&world, json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
        let [message] = messages.as_slice() else { panic!("{query}: {messages:?}") };
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("1")), "{query}: {message}");
        let text = message["payload"][0]["message"].as_str().unwrap();
        assert!(text.contains(expected), "{query}: {text}");
        let code = code(&message["payload"]);
        assert!(["BAD_USER_INPUT", "NOT_FOUND"].contains(&code), "{query}: {code}");
        assert!(message["payload"][0]["extensions"]["requestId"].is_string(), "{query}: {message}");
    }
    let outsider = world.connect_as("outsider", "").await;
    world.subscribe(&outsider, "1", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    let messages = world.sockets.take_messages(&outsider);
    assert_eq!(code(&messages[0]["payload"]), "FORBIDDEN", "{messages:?}");
    // No subscription is left, and the connections stay open.
    assert!(world.check().await.iter().all(|(pk, sk)| !pk.starts_with("WATCH#") && !sk.starts_with("SUB#")));
    assert!(world.sockets.is_open(&outsider));
}

#[tokio::test]
async fn connection_has_a_limit_of_subscriptions() {
    let world = subscriber_world().await;
    let connection = world.connect_as("owner", "").await;
    let most = SubscriptionBounds::default().connection as usize;
    for n in 0..=most {
        world.subscribe(&connection, &n.to_string(), WORKSPACE, json!({ "projectId": "ws-1" })).await;
    }
    let messages = world.sockets.take_messages(&connection);
    assert_eq!(messages.len(), most + 1);
    assert_eq!(code(&messages.last().unwrap()["payload"]), "BAD_USER_INPUT");
    // The limit also holds for concurrent messages.
    let crowded = world.connect_as("owner", "").await;
    let at_once =
        (0..60).map(|n| {
            let (world, crowded) = (&world, &crowded);
            async move {
                world.subscribe(crowded, &n.to_string(), WORKSPACE, json!({ "projectId": "ws-1" })).await
            }
        });
    futures_util::future::join_all(at_once).await;
    let messages = world.sockets.take_messages(&crowded);
    let begun = messages.iter().filter(|message| message["type"] == "pong").count();
    assert!(begun <= most, "{begun}");
    world.send_event("$disconnect", &crowded, json!({}), Duration::from_secs(9)).await;
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    assert_eq!(world.sockets.take_messages(&connection).len(), most);
    // `$disconnect` deletes the session and all subscriptions.
    world.send_event("$disconnect", &connection, json!({}), Duration::from_secs(9)).await;
    assert!(world.check().await.iter().all(|(pk, _)| pk.starts_with("JOURNAL#")));
}

#[tokio::test]
async fn updates_follow_the_document() {
    let world = subscriber_world().await;
    let connection = world.connect_as("owner", "").await;
    let subscription = |fields: &str| {
        format!(
            "subscription W($p: String!, $long: Boolean = false) {{ it: subscribeToActivity(projectId: $p) {{ {fields} }} }}"
        )
    };
    let fields = "mutation node { id: activityId html category text @include(if: $long) project { id name } createdBy { id } }";
    world.subscribe(&connection, "short", &subscription(fields), json!({ "p": "ws-1" })).await;
    world.subscribe(&connection, "long", &subscription(fields), json!({ "p": "ws-1", "long": true })).await;
    let by_default = subscription(fields).replace("= false", "= true");
    world.subscribe(&connection, "default", &by_default, json!({ "p": "ws-1" })).await;
    let other = "subscription { it: subscribeToActivity(projectId: \"ws-1\") { mutation } }";
    world.subscribe(&connection, "other", other, json!({})).await;
    world.sockets.take_messages(&connection);
    world.log.given([comment("ws-1", "a")]).await;
    world.broadcast().await;
    let messages = world.sockets.take_messages(&connection);
    let of = |id: &str| {
        let mut found = messages.iter().filter(|message| message["id"] == id);
        let (message, more) = (found.next().unwrap(), found.next());
        assert!(more.is_none() && message["type"] == "next");
        message["payload"]["data"]["it"].clone()
    };
    let node = json!({
        "id": "a", "html": "<strong>owner</strong> commented: <em>x</em>", "category": "CREATE_COMMENT",
        "project": { "id": "ws-1", "name": "Apollo" }, "createdBy": { "id": "owner" }
    });
    let mut long = node.clone();
    long["text"] = "owner commented: x".into();
    assert_eq!(of("short"), json!({ "mutation": "ACTIVITY_CREATED", "node": node }));
    assert_eq!(of("long")["node"], long);
    assert_eq!(of("default")["node"], long);
    assert_eq!(of("other"), json!({ "mutation": "ACTIVITY_CREATED" }));
}

#[tokio::test]
async fn oversized_update_is_an_error_with_a_reference() {
    let world = subscriber_world().await;
    let connection = world.connect_as("owner", "").await;
    let query = "subscription { it: subscribeToActivity(projectId: \"ws-1\") { node { id: activityId metadata a: metadata b: metadata } } }";
    world.subscribe(&connection, "1", query, json!({})).await;
    world.sockets.take_messages(&connection);
    let mut large = comment("ws-1", "large");
    large["details"]["text"] = "\"".repeat(25_000).into();
    world.log.given([large, comment("ws-1", "small")]).await;
    world.broadcast().await;
    let messages = world.sockets.take_messages(&connection);
    let [large, small] = messages.as_slice() else { panic!("{} messages", messages.len()) };
    assert_eq!(large["payload"]["data"], json!({ "it": null }));
    let error = &large["payload"]["errors"][0];
    assert_eq!(error["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{error}");
    assert_eq!(error["path"], json!(["it"]));
    let reference = error["extensions"]["reference"].as_str().unwrap();
    assert_eq!(world.log.get(reference).await.body["id"], "large");
    assert!(large["payload"]["extensions"]["cursor"].is_string());
    assert_eq!(small["payload"]["data"]["it"]["node"]["id"], "small");
}
