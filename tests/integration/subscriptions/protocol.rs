//! graphql-transport-ws, as far as API Gateway lets one speak it.

use std::time::Duration;

use harness::{Live, World};
use serde_json::{Value, json};

use super::{WORKSPACE, Watcher, code, comment, live};

/// What a client gets for a message, having said who it is.
async fn answered(live: &Live, message: Value) -> Vec<Value> {
    let connection = live.enter("owner", "").await;
    live.say(&connection, &message.to_string()).await;
    live.sockets.take(&connection)
}

/// Why a connection was closed.
fn closing(live: &Live, connection: &str) -> String {
    let messages = live.sockets.take(connection);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(!live.sockets.is_open(connection));
    assert_eq!(message["type"], "pong", "{message}");
    message["payload"]["closing"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_those_who_speak_the_protocol_are_let_in() {
    let live = Live::new(World::watched().await).await;
    for (headers, status) in [
        (json!({ "Sec-WebSocket-Protocol": "graphql-transport-ws" }), 200),
        (json!({ "sec-websocket-protocol": "graphql-ws, graphql-transport-ws" }), 200),
        (json!({ "sec-websocket-protocol": "graphql-ws" }), 400),
        (json!({}), 400),
        (Value::Null, 400),
    ] {
        let answer =
            live.event("$connect", "c=", json!({ "headers": headers }), Duration::from_secs(9)).await;
        assert_eq!(answer["statusCode"], status, "{headers}");
        let chosen = &answer["headers"]["Sec-WebSocket-Protocol"];
        assert_eq!(*chosen == "graphql-transport-ws", status == 200, "{headers}");
    }
}

#[tokio::test]
async fn who_does_not_say_who_they_are_is_sent_away_and_told_why() {
    let live = live().await;
    let init = |authorization: Value| {
        json!({ "type": "connection_init", "payload": { "authorization": authorization } }).to_string()
    };
    let (good, other) = (live.token("owner", ""), World::watched().await);
    let foreign = Live::new(other).await.token("owner", "");
    // Stock clients would come again at once, for ever, were they only closed out.
    for (message, reason) in [
        (r#"{"type":"connection_init"}"#.to_owned(), "A bearer token is required"),
        (init(json!("Basic abc")), "A bearer token is required"),
        (init(json!("Bearer abc")), "no JSON Web Token"),
        (init(json!(format!("Bearer {foreign}"))), "signature is not valid"),
    ] {
        let connection = live.connect().await;
        live.say(&connection, &message).await;
        live.subscribe(&connection, "1", WORKSPACE, json!({ "projectId": "ws-1" })).await;
        let messages = live.sockets.take(&connection);
        let [ack, refused] = messages.as_slice() else { panic!("{message}: {messages:?}") };
        assert_eq!(*ack, json!({ "type": "connection_ack" }));
        assert_eq!((&refused["type"], code(&refused["payload"])), (&json!("error"), "UNAUTHENTICATED"));
        let said = refused["payload"][0]["message"].as_str().unwrap();
        assert!(said.contains(reason), "{message}: {said}");
        live.say(&connection, r#"{"type":"ping"}"#).await;
        assert_eq!(live.sockets.take(&connection), [json!({ "type": "pong" })]);
        live.event("$disconnect", &connection, json!({}), Duration::from_secs(9)).await;
    }
    // Those who do not keep to the protocol are.
    let subscribe = r#"{"type":"subscribe","id":"1","payload":{"query":"{__typename}"}}"#;
    for (message, reason) in [
        (subscribe, "connection_init comes first"),
        ("hello", "Invalid message"),
        (r#"{"type":"start"}"#, "Invalid message"),
    ] {
        let connection = live.connect().await;
        live.say(&connection, message).await;
        let said = closing(&live, &connection);
        assert!(said.contains(reason), "{message}: {said}");
    }
    // With the scheme or without.
    for authorization in [format!("Bearer {good}"), good] {
        let connection = live.connect().await;
        live.say(&connection, &init(authorization.clone().into())).await;
        assert_eq!(live.sockets.take(&connection), [json!({ "type": "connection_ack" })]);
        live.say(&connection, &init(authorization.into())).await;
        assert_eq!(closing(&live, &connection), "Too many initialisation requests");
    }
    // An hour later.
    let connection = live.enter("owner", "").await;
    live.world.advance(Duration::from_secs(3631));
    live.subscribe(&connection, "1", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(closing(&live, &connection), "The token has expired");
    assert!(live.check().await.iter().all(|(pk, _)| !pk.starts_with("CONN#")));
}

#[tokio::test]
async fn pings_are_answered_and_pongs_are_not() {
    let live = live().await;
    // Before anything else, too.
    let connection = live.connect().await;
    live.say(&connection, r#"{"type":"ping","payload":{"a":1}}"#).await;
    live.say(&connection, r#"{"type":"pong"}"#).await;
    live.say(&connection, r#"{"type":"complete","id":"nobody's"}"#).await;
    assert_eq!(live.sockets.take(&connection), [json!({ "type": "pong" })]);
    assert!(live.check().await.is_empty());
    // Not who has never said who they are.
    live.world.advance(Duration::from_secs(61));
    live.say(&connection, r#"{"type":"ping"}"#).await;
    assert_eq!(closing(&live, &connection), "Connection initialisation timeout");
}

#[tokio::test]
async fn queries_are_answered_too() {
    let live = live().await;
    let query = json!({ "query": "{ activityList(projectId: \"ws-1\", first: 1) { totalCount } }" });
    let messages = answered(&live, json!({ "type": "subscribe", "id": "q", "payload": query })).await;
    let data = json!({ "data": { "activityList": { "totalCount": 5 } } });
    assert_eq!(
        messages,
        [json!({ "id": "q", "type": "next", "payload": data }), json!({ "id": "q", "type": "complete" })]
    );
    // An error of a field is part of an answer.
    let query = json!({ "query": "{ activityList(projectId: \"nope\") { totalCount } }" });
    let messages = answered(&live, json!({ "type": "subscribe", "id": "q", "payload": query })).await;
    assert_eq!(messages[0]["payload"]["data"], Value::Null);
    assert_eq!(code(&messages[0]["payload"]["errors"]), "NOT_FOUND");
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_when_it_subscribes() {
    let live = live().await;
    let fields = "{ node { id } }";
    for (query, variables, expected) in [
        ("subscription {", json!({}), "expected"),
        ("subscription { nope }", json!({}), "nope"),
        ("subscription { subscribeToActivity(projectId: 7) { mutation } }", json!({}), "projectId"),
        (
            "subscription { subscribeToActivity { mutation } }",
            json!({}),
            "companyId: or projectId is required",
        ),
        ("subscription($p: String!) { subscribeToActivity(projectId: $p) { mutation } }", json!({}), "p"),
        (
            "subscription { a: subscribeToActivity(projectId: \"ws-1\") { mutation } \
             b: subscribeToActivity(projectId: \"ws-1\") { mutation } }",
            json!({}),
            "exactly one field",
        ),
        (
            "subscription { ... on Subscription { subscribeToActivity(projectId: \"ws-1\") { mutation } } }",
            json!({}),
            "in no fragment",
        ),
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
        let messages = answered(&live, json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
        let [message] = messages.as_slice() else { panic!("{query}: {messages:?}") };
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("1")), "{query}: {message}");
        let text = message["payload"][0]["message"].as_str().unwrap();
        assert!(text.contains(expected), "{query}: {text}");
        let code = code(&message["payload"]);
        assert!(["BAD_USER_INPUT", "NOT_FOUND"].contains(&code), "{query}: {code}");
    }
    let outsider = live.enter("outsider", "").await;
    live.subscribe(&outsider, "1", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    let messages = live.sockets.take(&outsider);
    assert_eq!(code(&messages[0]["payload"]), "FORBIDDEN", "{messages:?}");
    // Nothing of that watches, and all of them may go on.
    assert!(live.check().await.iter().all(|(pk, sk)| !pk.starts_with("WATCH#") && !sk.starts_with("SUB#")));
    assert!(live.sockets.is_open(&outsider));
}

#[tokio::test]
async fn an_id_names_one_operation_at_a_time() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "owner", "ws-1").await;
    live.say(&watcher.connection, r#"{"type":"complete","id":"1"}"#).await;
    watcher.cursor = None;
    watcher.subscribe(&live).await;
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), ["ws-1/a"]);
    live.subscribe(&watcher.connection, "1", WORKSPACE, json!({ "projectId": "ws-2" })).await;
    assert!(closing(&live, &watcher.connection).starts_with("Subscriber already exists"));
    assert!(live.check().await.iter().all(|(pk, _)| pk.starts_with("JOURNAL#")));
}

#[tokio::test]
async fn what_is_completed_is_told_no_more_even_where_that_overtakes_its_beginning() {
    let live = live().await;
    let mut watcher = Watcher::of_workspace(&live, "owner", "ws-1").await;
    live.say(&watcher.connection, r#"{"type":"complete","id":"1"}"#).await;
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    assert_eq!(watcher.news(&live), [""; 0]);
    // API Gateway hands over messages at the same time.
    live.say(&watcher.connection, r#"{"type":"complete","id":"2"}"#).await;
    live.subscribe(&watcher.connection, "2", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(live.sockets.take(&watcher.connection), [json!({ "id": "2", "type": "complete" })]);
    live.world.given([comment("ws-1", "b")]).await;
    live.broadcast().await;
    assert_eq!(live.sockets.take(&watcher.connection), [] as [Value; 0]);
    // The id may be used again; and a message that comes twice is as good as one.
    live.say(&watcher.connection, r#"{"type":"complete","id":"4"}"#).await;
    live.say(&watcher.connection, r#"{"type":"complete","id":"4"}"#).await;
    live.subscribe(&watcher.connection, "4", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(live.sockets.take(&watcher.connection), [json!({ "id": "4", "type": "complete" })]);
    live.subscribe(&watcher.connection, "2", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(live.sockets.take(&watcher.connection).len(), 1);
    live.check().await;
    // That is not remembered for long.
    live.say(&watcher.connection, r#"{"type":"complete","id":"3"}"#).await;
    live.world.advance(Duration::from_secs(31));
    live.subscribe(&watcher.connection, "3", WORKSPACE, json!({ "projectId": "ws-1" })).await;
    assert_eq!(live.sockets.take(&watcher.connection)[0]["type"], "pong");
}

#[tokio::test]
async fn a_connection_has_so_many_subscriptions_and_no_more() {
    let live = live().await;
    let connection = live.enter("owner", "").await;
    for n in 0..=shared::live::MAX_SUBSCRIPTIONS {
        live.subscribe(&connection, &n.to_string(), WORKSPACE, json!({ "projectId": "ws-1" })).await;
    }
    let messages = live.sockets.take(&connection);
    assert_eq!(messages.len(), shared::live::MAX_SUBSCRIPTIONS + 1);
    assert_eq!(code(&messages.last().unwrap()["payload"]), "BAD_USER_INPUT");
    // Nor when they come at once.
    let crowded = live.enter("owner", "").await;
    let at_once = (0..60).map(|n| {
        let (live, crowded) = (&live, &crowded);
        async move { live.subscribe(crowded, &n.to_string(), WORKSPACE, json!({ "projectId": "ws-1" })).await }
    });
    futures_util::future::join_all(at_once).await;
    let told = live.sockets.take(&crowded);
    let begun = told.iter().filter(|message| message["type"] == "pong").count();
    assert!(begun <= shared::live::MAX_SUBSCRIPTIONS, "{begun}");
    live.event("$disconnect", &crowded, json!({}), Duration::from_secs(9)).await;
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    assert_eq!(live.sockets.take(&connection).len(), shared::live::MAX_SUBSCRIPTIONS);
    // Who leaves takes all of it along.
    live.event("$disconnect", &connection, json!({}), Duration::from_secs(9)).await;
    assert!(live.check().await.iter().all(|(pk, _)| pk.starts_with("JOURNAL#")));
}

#[tokio::test]
async fn each_gets_what_their_document_selects() {
    let live = live().await;
    let connection = live.enter("owner", "").await;
    let subscription = |fields: &str| {
        format!(
            "subscription W($p: String!, $long: Boolean = false) {{ it: subscribeToActivity(projectId: $p) {{ {fields} }} }}"
        )
    };
    let fields =
        "mutation node { id html category text @include(if: $long) project { id name } createdBy { id } }";
    // By its slug, too.
    live.subscribe(&connection, "short", &subscription(fields), json!({ "p": "ws-1" })).await;
    live.subscribe(&connection, "long", &subscription(fields), json!({ "p": "ws-1", "long": true })).await;
    let by_default = subscription(fields).replace("= false", "= true");
    live.subscribe(&connection, "default", &by_default, json!({ "p": "ws-1" })).await;
    let other = "subscription { it: subscribeToActivity(projectId: \"ws-1\") { mutation } }";
    live.subscribe(&connection, "other", other, json!({})).await;
    live.sockets.take(&connection);
    live.world.given([comment("ws-1", "a")]).await;
    live.broadcast().await;
    let messages = live.sockets.take(&connection);
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
async fn what_is_too_large_for_a_message_is_told_with_where_to_fetch_it() {
    let live = live().await;
    let connection = live.enter("owner", "").await;
    let query = "subscription { it: subscribeToActivity(projectId: \"ws-1\") { node { id metadata a: metadata b: metadata } } }";
    live.subscribe(&connection, "1", query, json!({})).await;
    live.sockets.take(&connection);
    let mut large = comment("ws-1", "large");
    large["details"]["text"] = "\"".repeat(25_000).into();
    live.world.given([large, comment("ws-1", "small")]).await;
    live.broadcast().await;
    let messages = live.sockets.take(&connection);
    let [large, small] = messages.as_slice() else { panic!("{} messages", messages.len()) };
    assert_eq!(large["payload"]["data"], json!({ "it": null }));
    let error = &large["payload"]["errors"][0];
    assert_eq!(error["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{error}");
    assert_eq!(error["path"], json!(["it"]));
    let reference = error["extensions"]["reference"].as_str().unwrap();
    assert_eq!(live.world.get(reference).await.body["id"], "large");
    assert!(large["payload"]["extensions"]["cursor"].is_string());
    assert_eq!(small["payload"]["data"]["it"]["node"]["id"], "small");
}
