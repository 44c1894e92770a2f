//! Reads that are refused: they tell nothing of what there is, and cost next to nothing.

use std::time::Duration;

use harness::{Fault, Reply, World, token_claims};
use serde_json::{Value, json};

use crate::event;

/// Requests of pages that are never answered.
const UNANSWERED: [Fault; 64] = [Fault::Killed; 64];
/// Far longer than a refusal takes, and shorter than the client waits for a response.
const LIMIT: Duration = Duration::from_secs(4);

/// A path that names much and one that names nothing, how many requests are sent for a stranger who asks for either, and
/// the read units of each, if all of the requests are answered before access is decided.
type Case = (String, String, usize, [f64; 2]);

fn cases() -> Vec<Case> {
    let path = |ws: &str, rest: &str| format!("/api/v1/workspaces/{ws}/{rest}");
    let of = |rest: &str, much: &str, nothing: &str| {
        (path("ws", &rest.replace("{}", much)), path("ws", &rest.replace("{}", nothing)))
    };
    let actions: String = (0..19).map(|n| format!("&action=never.heard{n}")).collect();
    let many = format!("activity?action={{}}{actions}");
    let paths = |rest: &str| (path("ws", rest), path("empty", rest));
    [
        // The access check alone takes two units: for the workspace, and for the membership that does not exist.
        (of("activity?actor_id={}&limit=200", "ada", "nobody"), 2, [10.5, 2.5]),
        (of("activity?actor_id={}&include=total", "ada", "nobody"), 2, [4.5, 2.5]),
        (of("activity?actor_id={}&offset=70", "ada", "nobody"), 2, [4.5, 2.5]),
        (of("activity?actor_id={}&actor_id=never", "ada", "nobody"), 3, [5.0, 3.0]),
        (of("activity?action={}", "issue.updated", "issue.completed"), 3, [5.0, 3.0]),
        // So many partitions are read only after access is decided.
        (of(&many, "issue.updated", "issue.completed"), 1, [2.0, 2.0]),
        (of("activity?tag={}", "red", "blue"), 2, [4.5, 4.5]),
        (of("activity/{}", "e7", "none"), 2, [3.0, 3.0]),
        (of("issues/{}/activity", "issue-1", "none"), 2, [4.5, 2.5]),
        (paths("activity"), 2, [4.5, 2.5]),
        (paths("activity?include=total"), 3, [5.5, 3.5]),
        (paths("activity?offset=80"), 2, [3.0, 3.0]),
    ]
    .map(|((much, nothing), sent, units)| (much, nothing, sent, units))
    .into()
}

/// A workspace with activities, and one with none but its own beginning.
async fn world() -> World {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given_workspace("empty").await;
    world
        .given((0..300).map(|n| {
            let mut event = event(&format!("e{n}"), &format!("2025-01-{:02}T00:00:00Z", 1 + n / 10));
            event["tags"] = json!(["red"]);
            event
        }))
        .await;
    world
}

async fn refused(world: &World, path: &str) -> Reply {
    let asked = world.send("GET", path, Some(token_claims("stranger", "")), &[("if-none-match", "*")], None);
    let reply = tokio::time::timeout(LIMIT, asked).await;
    let reply = reply.unwrap_or_else(|_| panic!("{path} waits for a page that it refuses"));
    assert_eq!(reply.status, 403, "{path}: {:?}", reply.body);
    reply
}

#[tokio::test]
async fn refusal_does_not_wait_for_the_page() {
    let world = world().await;
    for (much, nothing, sent, _) in cases() {
        for path in [&much, &nothing] {
            for operation in ["Query", "GetItem"] {
                world.transport.fail_operation(operation, UNANSWERED);
            }
            world.transport.take_metered();
            let reply = refused(&world, path).await;
            assert_eq!(world.transport.take_metered().sent, sent, "{path}");
            assert!(["link", "etag", "x-total-count"].iter().all(|name| !reply.headers.contains_key(*name)));
        }
        world.transport.clear_faults();
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn refused_request_reads_no_more_than_a_first_page() {
    let world = world().await;
    for (much, nothing, sent, units) in cases() {
        for (path, units) in [&much, &nothing].into_iter().zip(units) {
            // Access is decided last, so that everything is read that is ever read before it.
            world.transport.fail_operation("BatchGetItem", [Fault::Late]);
            world.transport.take_metered();
            refused(&world, path).await;
            let metered = world.transport.take_metered();
            assert_eq!((metered.sent, metered.total()), (sent, sent), "{path}");
            // DynamoDB Local counts a little less for an item than the embedded engine.
            let is_local = std::env::var("DYNAMODB_ENDPOINT").is_ok();
            assert!(
                metered.units == units || is_local && metered.units <= units,
                "{path}: {}",
                metered.units
            );
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn hidden_activity_costs_as_much_as_an_unknown_id() {
    let world = world().await;
    for id in ["ws.member", "none"] {
        world.transport.take_metered();
        let path = format!("/api/v1/workspaces/ws/activity/{id}");
        assert_eq!(world.get_as("client", "", &path).await.status, 404, "{id}");
        let metered = world.transport.take_metered();
        assert_eq!((metered.total(), metered.units), (3, 4.0), "{id}: {metered:?}");
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn refused_list_does_not_wait_for_the_page() {
    let world = world().await;
    let list = |project: &str, user: &str| {
        format!(
            "{{ activityList(projectId: \"{project}\", userId: \"{user}\") {{
                activities {{ id: activityId }} totalCount pageInfo {{ hasPreviousPage }} }} }}"
        )
    };
    // The page is asked for, and then whether the text is a slug.
    for (project, user) in [("ws", "ada"), ("ws", "nobody")] {
        world.transport.fail_operation("Query", [Fault::Killed]);
        world.transport.take_metered();
        let list = list(project, user);
        let answer = tokio::time::timeout(LIMIT, world.ask("stranger", "", &list, Value::Null)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{list} waits for a page that it refuses"));
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
        assert_eq!(world.transport.take_metered().sent, 3, "{list}");
    }
    harness::check(&world.client, &world.table).await;
}
