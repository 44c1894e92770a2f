//! Requests as the GraphQL-over-HTTP specification has them: by GET and by POST.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{Reply, World, token_claims};
use serde_json::{Value, json};

const TYPED: &str = "application/graphql-response+json";

/// A path with a query string.
fn path(parameters: &[(&str, &str)]) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    format!("/graphql?{}", pairs.collect::<Vec<_>>().join("&"))
}

async fn get(world: &World, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
    world.send("GET", &path(parameters), Some(token_claims("owner", "")), headers, None).await
}

fn code(reply: &Reply) -> &Value {
    &reply.body["errors"][0]["extensions"]["code"]
}

#[tokio::test]
async fn query_by_get_is_answered_as_by_post() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let query =
        "query A($p: String!, $n: Int = 2) { activityList(projectId: $p, first: $n) { activities { id: activityId } } }
                 query B { __typename }";
    for (accept, variables) in [
        ("*/*", json!({ "p": "ws" })),
        (TYPED, json!({ "p": "ws", "n": 1 })),
        (TYPED, json!({ "p": "none" })),
        (TYPED, json!({})),
        ("application/json", json!({ "p": 7 })),
    ] {
        let (text, headers) = (variables.to_string(), [("accept", accept)]);
        let parameters = [
            ("query", query),
            ("operationName", "A"),
            ("variables", text.as_str()),
            ("extensions", "{}"),
            ("v", "1"),
        ];
        let by_get = get(&world, &parameters, &headers).await;
        let body = json!({ "query": query, "operationName": "A", "variables": variables }).to_string();
        let claims = Some(token_claims("owner", ""));
        let by_post = world.send("POST", "/graphql", claims, &headers, Some(&body)).await;
        assert_eq!(by_get.status, by_post.status, "{accept} {variables}: {by_get:?}");
        assert_eq!(by_get.body, by_post.body, "{accept} {variables}");
        assert_eq!(by_get.headers, by_post.headers, "{accept} {variables}");
    }
    // A plus is a space, as in the forms that clients encode.
    let claims = Some(token_claims("owner", ""));
    let reply = world.send("GET", "/graphql?query=query+A+%7B__typename%7D", claims, &[], None).await;
    assert_eq!(reply.body, json!({ "data": { "__typename": "Query" } }));
    let reply = world.send("GET", "/graphql?query=%7B__typename%7D", None, &[], None).await;
    assert_eq!((reply.status, code(&reply)), (401, &json!("UNAUTHENTICATED")));
}

#[tokio::test]
async fn only_queries_are_answered_by_get() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.transport.take_metered();
    let mixed = "query A { __typename } mutation B { createActivity { id } }";
    for (parameters, status) in [
        (vec![("query", "mutation { createActivity { id } }")], 405),
        (vec![("query", mixed), ("operationName", "B")], 405),
        (vec![("query", "subscription { subscribeToActivity { mutation } }")], 400),
    ] {
        let reply = get(&world, &parameters, &[("accept", TYPED)]).await;
        assert_eq!(reply.status, status, "{parameters:?}: {reply:?}");
        let allow = reply.headers.get("allow").map(String::as_str);
        assert_eq!(allow, (status == 405).then_some("POST"), "{parameters:?}");
        assert!(reply.body.get("data").is_none(), "{parameters:?}: {reply:?}");
    }
    assert_eq!(world.transport.take_metered().total(), 0);
    // The mutation of the document is not the one to execute.
    let reply = get(&world, &[("query", "query A { __typename }"), ("operationName", "A")], &[]).await;
    assert_eq!(reply.body["data"]["__typename"], "Query");
}

#[tokio::test]
async fn malformed_query_string_is_rejected() {
    let world = World::new().await;
    let query = ("query", "{ __typename }");
    for (parameters, field) in [
        (vec![], "query"),
        (vec![("variables", "{}")], "query"),
        (vec![query, query], "query"),
        (vec![query, ("variables", "")], "variables"),
        (vec![query, ("variables", "{")], "variables"),
        (vec![query, ("variables", "[1]")], "variables"),
        (vec![query, ("extensions", "7")], "extensions"),
        (vec![query, ("operationName", "a"), ("operationName", "a")], "operationName"),
    ] {
        let reply = get(&world, &parameters, &[]).await;
        let error = &reply.body["errors"][0]["extensions"];
        assert_eq!((reply.status, code(&reply)), (400, &json!("BAD_USER_INPUT")), "{parameters:?}");
        assert_eq!(error["field"], field, "{parameters:?}: {reply:?}");
    }
    for parameters in [vec![query, ("variables", "null")], vec![query, ("operationName", "")]] {
        assert_eq!(get(&world, &parameters, &[]).await.status, 200, "{parameters:?}");
    }
}

#[tokio::test]
async fn persisted_query_is_not_supported_and_says_so() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let hash = json!({ "persistedQuery": { "version": 1, "sha256Hash": "ab".repeat(32) } });
    let extensions = hash.to_string();
    for (accept, status) in [("application/json", 200), (TYPED, 400)] {
        let headers = [("accept", accept)];
        let by_get = get(&world, &[("extensions", extensions.as_str())], &headers).await;
        let mut replies = vec![by_get];
        for body in [
            json!({ "operationName": "A", "variables": {}, "extensions": hash }),
            json!({ "query": null, "extensions": hash }),
        ] {
            let claims = Some(token_claims("owner", ""));
            replies.push(world.send("POST", "/graphql", claims, &headers, Some(&body.to_string())).await);
        }
        for reply in replies {
            let error = json!({
                "message": "PersistedQueryNotSupported",
                "extensions": { "code": "PERSISTED_QUERY_NOT_SUPPORTED", "requestId": "req-1" }
            });
            assert_eq!((reply.status, &reply.body), (status, &json!({ "errors": [error] })), "{accept}");
        }
    }
    // The client then sends the document, and may keep the hash beside it.
    let body = json!({ "query": "{ __typename }", "extensions": hash }).to_string();
    let reply = world.send("POST", "/graphql", Some(token_claims("owner", "")), &[], Some(&body)).await;
    assert_eq!(reply.body, json!({ "data": { "__typename": "Query" } }));
}

#[tokio::test]
async fn compressed_bodies_are_read_and_others_refused() {
    let world = World::new().await;
    let query = json!({ "query": "{ __typename }" }).to_string();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(query.as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    let claims = || Some(token_claims("owner", ""));
    for (header, body, status, text) in [
        (("content-encoding", "gzip"), &compressed[..], 200, r#"{"data":{"__typename":"Query"}}"#),
        (("content-encoding", "identity"), query.as_bytes(), 200, r#"{"data":{"__typename":"Query"}}"#),
        (("content-encoding", "br"), query.as_bytes(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            ("content-type", "application/json; charset=utf-16"),
            query.as_bytes(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (("content-encoding", "gzip"), query.as_bytes(), 400, "BAD_USER_INPUT"),
    ] {
        let (found, answer) = world.send_text("POST", "/graphql", claims(), &[header], body).await;
        assert!(found == status && answer.contains(text), "{header:?}: {found} {answer}");
    }
}
