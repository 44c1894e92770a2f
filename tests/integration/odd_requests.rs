//! Events of API Gateway as people make them by hand, and as no test of API Gateway's would have them: a handler answers
//! each or fails, and never panics. Also what a stage's name, a custom domain and compression change.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::World;
use serde_json::{Value, json};

use crate::samples::{samples, with_demo};

/// The functions behind the HTTP API, each with a sample that succeeds.
const SAMPLES: [(&str, &str); 4] = [
    ("list-workspace-activity", "everything-at-once"),
    ("list-issue-activity", "filters"),
    ("record-http", "09-base64"),
    ("graphql", "base64"),
];

fn sample(function: &str, name: &str) -> Value {
    let found = samples(function)
        .into_iter()
        .find(|(path, ..)| path.file_name().unwrap().to_str().unwrap().split('.').next() == Some(name));
    found.unwrap_or_else(|| panic!("no sample {name} of {function}")).2
}

/// The pointers to all values in `value`.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut visit = |name: &str, inner: &Value| {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(pointer.clone());
        pointers(inner, &pointer, all);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| visit(name, inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, inner)| visit(&at.to_string(), inner)),
        _ => {}
    }
}

#[tokio::test]
async fn no_handler_panics_whatever_an_event_holds() {
    let world = with_demo(World::new().await).await;
    let odd = [
        Value::Null,
        json!(true),
        json!(-7),
        json!(1.5),
        json!(""),
        json!(" "),
        json!("/"),
        json!("é \u{1f980}\u{0}\r\n"),
        json!("%zz{}<>\"^`|\\[::"),
        json!("https://[/?#@:99999"),
        json!("=&=%FF&+;"),
        json!("x".repeat(70_000)),
        json!([]),
        json!({}),
        json!({ "\u{0}": { "é": [1] } }),
    ];
    for (function, name) in SAMPLES {
        let event = sample(function, name);
        let mut all = Vec::new();
        pointers(&event, "", &mut all);
        assert!(all.len() > 40, "{function}: {all:?}");
        for pointer in &all {
            for value in &odd {
                let mut odd_event = event.clone();
                *odd_event.pointer_mut(pointer).unwrap() = value.clone();
                // A panic ends this test, because the handler runs in its task.
                let (outcome, answer) = world.invoke(function, &odd_event).await;
                let is_answer = answer["statusCode"].is_u64() && answer["body"].is_string();
                assert!(outcome == "error" || is_answer, "{function} {pointer} {value}: {answer}");
            }
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn body_that_is_no_base64_is_refused() {
    let world = with_demo(World::new().await).await;
    let mut event = sample("record-http", "09-base64");
    event["body"] = json!("{}");
    let (outcome, answer) = world.invoke("record-http", &event).await;
    assert_eq!(outcome, "400", "{answer}");
    assert!(answer["body"].as_str().unwrap().contains("isBase64Encoded"), "{answer}");
}

#[tokio::test]
async fn links_keep_the_prefix_that_the_client_called() {
    let world = with_demo(World::new().await).await;
    for prefix in ["", "/prod", "/audit/v1", "/api"] {
        let prefixed = |function, name| {
            let mut event: Value = sample(function, name);
            let path = format!("{prefix}{}", event["rawPath"].as_str().unwrap());
            event["rawPath"] = json!(path);
            event["requestContext"]["http"]["path"] = json!(path);
            event["requestContext"]["stage"] = json!(prefix.trim_start_matches('/'));
            event
        };
        for function in ["list-workspace-activity", "list-issue-activity"] {
            let (_, page) = world.invoke(function, &prefixed(function, "limit-and-offset")).await;
            let link = page["headers"]["link"].as_str().unwrap_or_else(|| panic!("{page}"));
            assert!(link.starts_with(&format!("<{prefix}/api/v1/workspaces/ws-demo/")), "{link}");
        }
        let mut event = prefixed("record-http", "12-no-id");
        event["requestContext"]["stage"] = json!("$default");
        let (outcome, created) = world.invoke("record-http", &event).await;
        assert_eq!(outcome, "201", "{created}");
        let location = created["headers"]["location"].as_str().unwrap();
        assert!(location.starts_with(&format!("{prefix}/api/v1/workspaces/ws-demo/activity/")), "{location}");
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_take_it() {
    let world = with_demo(World::new().await).await;
    let ask = |function, name, accepted: Option<&str>, tag: Option<&str>| {
        let mut event = sample(function, name);
        if function == "graphql" {
            let query = "{ activityList { activities { uid html category createdAt createdBy { id } } } }";
            event["body"] = json!(json!({ "query": query }).to_string());
            event["isBase64Encoded"] = json!(false);
        }
        let headers = event["headers"].as_object_mut().unwrap();
        headers.remove("accept-encoding");
        headers.extend(accepted.map(|accepted| ("accept-encoding".to_owned(), json!(accepted))));
        headers.extend(tag.map(|tag| ("if-none-match".to_owned(), json!(tag))));
        let world = &world;
        async move { world.invoke(function, &event).await.1 }
    };
    for (function, name) in [("list-workspace-activity", "first-page"), ("graphql", "everything")] {
        let plain = ask(function, name, None, None).await;
        let compressed = ask(function, name, Some("br, gzip;q=0.8"), None).await;
        assert_eq!(
            (&plain["isBase64Encoded"], &compressed["isBase64Encoded"]),
            (&json!(false), &json!(true)),
            "{function}: {plain}"
        );
        assert_eq!(plain["headers"].get("content-encoding"), None);
        assert_eq!(compressed["headers"]["content-encoding"], "gzip");
        let bytes = STANDARD.decode(compressed["body"].as_str().unwrap()).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain["body"].as_str().unwrap(), "{function}");
        for answer in [&plain, &compressed] {
            assert_eq!(answer["headers"]["vary"], "accept-encoding");
        }
        // One weak tag is good for both forms.
        assert_eq!(plain["headers"].get("etag"), compressed["headers"].get("etag"));
        if let Some(tag) = compressed["headers"]["etag"].as_str() {
            for accepted in [None, Some("gzip")] {
                let same = ask(function, name, accepted, Some(tag)).await;
                assert_eq!(
                    (&same["statusCode"], &same["headers"]["vary"]),
                    (&json!(304), &json!("accept-encoding"))
                );
            }
        }
    }
    let refused = ask("list-workspace-activity", "limit-zero", Some("gzip"), None).await;
    assert_eq!((&refused["statusCode"], &refused["isBase64Encoded"]), (&json!(400), &json!(false)));
}
