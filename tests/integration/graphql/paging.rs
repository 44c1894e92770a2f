//! Paging while others record.

use std::collections::BTreeSet;

use harness::World;
use serde_json::{Value, json};

use super::workspace_events;

const WORKSPACES: usize = 6;

fn activity(id: String, workspace: usize, day: usize) -> Value {
    json!({
        "id": id, "workspace_id": format!("ws-{workspace}"), "actor_type": "user", "actor_id": "ada",
        "action": "issue.completed", "issue_id": "issue-1", "created_at": format!("2025-01-{day:02}T00:00:00Z")
    })
}

/// Pages through a feed by four, and returns the uids. Before each further page, activities are recorded all over the
/// feed.
async fn paged_uids(world: &World, direction: &str, arguments: &str) -> Vec<String> {
    let (size, argument, cursor_field, more_field) = match direction {
        "forward" => ("first", "after", "endCursor", "hasNextPage"),
        _ => ("last", "before", "startCursor", "hasPreviousPage"),
    };
    let (mut uids, mut cursor) = (Vec::new(), Value::Null);
    for round in 0.. {
        let paging = if cursor.is_null() { String::new() } else { format!("{argument}: {cursor}, ") };
        let fields = format!("activities {{ uid }} pageInfo {{ {cursor_field} {more_field} }}");
        let query = format!("{{ activityList({paging}{size}: 4{arguments}) {{ {fields} }} }}");
        let answer = world.ask("reader", "", &query, Value::Null).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        let list = &answer["data"]["activityList"];
        let page = list["activities"].as_array().unwrap().iter().map(|node| node["uid"].as_str().unwrap());
        uids.extend(page.map(str::to_owned));
        cursor = list["pageInfo"][cursor_field].clone();
        if list["pageInfo"][more_field] == false {
            return uids;
        }
        assert!(round < 100, "{query} does not end");
        let late = [1, 9, 15, 22, 28]
            .map(|day| activity(format!("late-{direction}-{round}-{day}"), (round + day) % WORKSPACES, day));
        world.given(late).await;
    }
    unreachable!()
}

#[tokio::test]
async fn inserts_between_pages_hide_and_repeat_nothing() {
    for (direction, arguments) in [
        ("forward", ""),
        ("backward", ""),
        ("forward", ", companyId: \"org\", orderBy: createdAt_ASC"),
        ("backward", ", companyId: \"org\", orderBy: category_ASC"),
        ("forward", ", projectId: \"ws-1\", userId: \"ada\""),
        ("backward", ", projectId: \"ws-1\", orderBy: category_DESC"),
    ] {
        let world = World::new().await;
        for n in 0..WORKSPACES {
            let details = json!({ "name": "W", "organization": "org" });
            world.given(workspace_events(&format!("ws-{n}"), details, &[("reader", "member")])).await;
        }
        // Every workspace has the same ids and times.
        for day in 5..20 {
            world.given((0..WORKSPACES).map(|n| activity(format!("a{day}"), n, day))).await;
        }
        let seen = paged_uids(&world, direction, arguments).await;
        let all: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(all.len(), seen.len(), "{direction}{arguments} repeats: {seen:?}");
        let is_project = arguments.contains("projectId");
        for n in (0..WORKSPACES).filter(|n| !is_project || *n == 1) {
            for day in 5..20 {
                let uid = format!("ws-{n}/a{day}");
                assert!(all.contains(&uid), "{direction}{arguments} lacks {uid}: {seen:?}");
            }
        }
        harness::check(&world.client, &world.table).await;
    }
}
