//! Activities as large as they may be: lists of a document share the memory, and lose nothing.

use harness::World;
use serde_json::{Value, json};

use super::{data, ids, workspace_events};

/// `n` activities of a workspace, of almost the largest size. Later ones come first in its feed.
fn large(ws: &str, n: usize) -> Vec<Value> {
    let event = |index: usize| {
        json!({
            "id": format!("{ws}-{index:02}"), "workspace_id": ws, "actor_type": "user", "actor_id": "ada",
            "action": "comment.created", "details": { "text": "x".repeat(60_000) },
            "created_at": format!("2025-01-01T00:{index:02}:00Z")
        })
    };
    (0..n).map(event).collect()
}

/// The ids of all pages of a list with these arguments.
async fn walk(world: &World, arguments: &str) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let query = format!(
            "{{ activityList({arguments}, first: 200{after}) {{
                activities {{ id: activityId }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let answer = data(world, &query).await;
        let list = &answer["activityList"];
        all.extend(ids(list).into_iter().map(str::to_owned));
        if list["pageInfo"]["hasNextPage"] == false {
            return all;
        }
        after = format!(", after: {}", list["pageInfo"]["endCursor"]);
        assert!(all.len() < 1_000, "the pages of {arguments} do not end");
    }
}

#[tokio::test]
async fn lists_of_a_document_share_their_bytes() {
    let world = World::new().await;
    let details = json!({ "name": "W", "organization": "org" });
    world.given(workspace_events("ws", details, &[("owner", "owner")])).await;
    world.given(large("ws", 60)).await;
    let list = |n: usize| {
        format!(
            "l{n}: activityList(projectId: \"ws\", userId: \"ada\", first: 100) {{
                activities {{ id: activityId }} pageInfo {{ hasNextPage endCursor }} }}"
        )
    };
    // A list has 16 MB divided by their number, and at most 4.5 MB.
    for (lists, entries) in [(1, 60), (4, 60), (5, 53), (8, 33)] {
        let query: String = (0..lists).map(list).collect();
        let answer = data(&world, &format!("{{ {query} }}")).await;
        for n in 0..lists {
            let list = &answer[format!("l{n}")];
            assert_eq!((ids(list).len(), ids(list)[0]), (entries, "ws-59"), "{lists} lists");
            assert_eq!(list["pageInfo"]["hasNextPage"], entries < 60, "{lists} lists");
        }
        if entries < 60 {
            let rest = format!(
                "projectId: \"ws\", userId: \"ada\", after: {}",
                answer["l0"]["pageInfo"]["endCursor"]
            );
            let rest = data(
                &world,
                &format!("{{ activityList({rest}, first: 200) {{ activities {{ id: activityId }} }} }}"),
            )
            .await;
            let rest = ids(&rest["activityList"]).len();
            assert_eq!(rest, 60 - entries, "{lists} lists");
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn large_activities_of_many_partitions_are_all_read() {
    const WORKSPACES: usize = 130;
    let world = World::new().await;
    for n in 0..WORKSPACES {
        let ws = format!("ws-{n:03}");
        let details = json!({ "name": ws, "organization": "org" });
        let mut events = workspace_events(&ws, details, &[("owner", "owner")]);
        events.extend(large(&ws, 3));
        world.given(events).await;
    }
    // Each partition may hold two of its three large activities at a time.
    let all: Vec<String> =
        (0..3).flat_map(|index| (0..WORKSPACES).map(move |n| format!("ws-{n:03}-{index:02}"))).collect();
    let comments = "companyId: \"org\", categories: [CREATE_COMMENT]";
    for order in ["category_ASC", "createdAt_ASC"] {
        assert_eq!(walk(&world, &format!("{comments}, orderBy: {order}")).await, all, "{order}");
    }
    // Several such lists at once take turns. Four of them leave a slow machine enough of the 5 s for reading.
    let list = |n: usize| {
        format!(
            "l{n}: activityList({comments}, orderBy: category_ASC, first: 9) {{ activities {{ id: activityId }} }}"
        )
    };
    let query: String = (0..4).map(list).collect();
    let answer = data(&world, &format!("{{ {query} }}")).await;
    for n in 0..4 {
        assert_eq!(ids(&answer[format!("l{n}")]), all[..9]);
    }
    harness::check(&world.client, &world.table).await;
}
