//! GraphQL queries: `activityList` behaves as its reference says.

mod access;
mod arguments;
mod costs;
mod fields;
mod large;
mod merging;
mod model;
mod names;
mod over_http;
mod paging;
mod refusals;
mod schema;

use harness::World;
use serde_json::{Value, json};

/// The data that the owner gets. Errors fail the test.
async fn data(world: &World, query: &str) -> Value {
    let mut answer = Value::Null;
    // On a machine that stalls the log may be unavailable for a moment, and clients ask again.
    for _ in 0..5 {
        answer = world.ask("owner", "", query, Value::Null).await;
        if answer["errors"][0]["extensions"]["code"] != "UNAVAILABLE" {
            break;
        }
    }
    assert!(answer.get("errors").is_none(), "{query}: {answer}");
    answer["data"].take()
}

/// The message and the code of the only error that a caller gets.
async fn refusal(world: &World, sub: &str, query: &str) -> (String, String) {
    let answer = world.ask(sub, "", query, Value::Null).await;
    let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("{query}: {answer}"));
    assert_eq!(errors.len(), 1, "{query}: {answer}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&errors[0]["message"]), text(&errors[0]["extensions"]["code"]))
}

/// The ids of a list's activities.
fn ids(list: &Value) -> Vec<&str> {
    list["activities"].as_array().unwrap().iter().map(|activity| activity["id"].as_str().unwrap()).collect()
}

/// The events that create the workspace `ws` with these details and members.
pub fn workspace_events(ws: &str, details: Value, members: &[(&str, &str)]) -> Vec<Value> {
    let event = |id: String, action: &str, details: Value| {
        json!({
            "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "maker", "action": action,
            "details": details, "created_at": "2020-01-01T00:00:00Z"
        })
    };
    let added = members.iter().map(|(user, role)| {
        event(format!("added-{user}"), "member.added", json!({ "user": user, "role": role }))
    });
    std::iter::once(event("made".into(), "workspace.created", details)).chain(added).collect()
}
