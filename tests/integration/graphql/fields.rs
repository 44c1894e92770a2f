//! The fields of an activity, and the examples of the reference.

use harness::World;
use serde_json::{Value, json};

use super::{data, ids, workspace_events};

const FIELDS: &str = "activities { id: activityId uid category html text createdAt updatedAt createdBy { id name email type }
    affectedBy { id name email } company { id name slug } project { id name slug } todo { id title }
    todoList { id title } comment { id text } discussion { id title text } statusUpdate { id text } metadata }";

async fn world() -> World {
    let world = World::new().await;
    let details = json!({
        "name": "Apollo", "slug": "apollo", "organization": "org-1", "organization_name": "Acme & Co",
        "organization_slug": "acme"
    });
    world.given(workspace_events("ws", details, &[("owner", "owner")])).await;
    world
}

/// Records an event, by Ada unless it has an actor, and returns its activity.
async fn node(world: &World, mut event: Value) -> Value {
    event["workspace_id"] = json!("ws");
    event["created_at"] = json!("2024-05-06T07:08:09.123456Z");
    if event.get("actor_id").is_none() {
        event["actor_type"] = json!("user");
        event["actor_id"] = json!("ada");
        event["actor"] = json!({ "name": "Ada", "email": "ada@example.com" });
    }
    world.given([event.clone()]).await;
    let query = format!(
        "{{ activityList(projectId: \"ws\", userId: {}, first: 1, orderBy: createdAt_DESC,
            startDate: \"2024-05-06T07:08:09Z\") {{ {FIELDS} }} }}",
        event["actor_id"]
    );
    let list = data(world, &query).await["activityList"].take();
    assert_eq!(ids(&list), [event["id"].as_str().unwrap()]);
    list["activities"][0].clone()
}

#[tokio::test]
async fn fields_show_names_as_of_the_activity() {
    let world = world().await;
    let details =
        json!({ "title": "Fix <login>", "identifier": "I-1", "list": "l-1", "list_title": "Doing" });
    let event = json!({
        "id": "a01", "issue_id": "issue-1", "action": "issue.created", "details": details, "tags": ["bug"],
        "affected": { "id": "bob", "name": "Bob", "email": "bob@example.com" }
    });
    assert_eq!(
        node(&world, event).await,
        json!({
            "id": "a01", "uid": "ws/a01", "category": "CREATE_TODO",
            "html": "<strong>Ada</strong> created the todo <em>Fix &lt;login&gt;</em> in the list <em>Doing</em>",
            "text": "Ada created the todo Fix <login> in the list Doing",
            "createdAt": "2024-05-06T07:08:09.123456Z", "updatedAt": "2024-05-06T07:08:09.123456Z",
            "createdBy": { "id": "ada", "name": "Ada", "email": "ada@example.com", "type": "USER" },
            "affectedBy": { "id": "bob", "name": "Bob", "email": "bob@example.com" },
            "company": { "id": "org-1", "name": "Acme & Co", "slug": "acme" },
            "project": { "id": "ws", "name": "Apollo", "slug": "apollo" },
            "todo": { "id": "issue-1", "title": "Fix <login>" }, "todoList": { "id": "l-1", "title": "Doing" },
            "comment": null, "discussion": null, "statusUpdate": null, "metadata": details.to_string()
        })
    );
    // Ada's name has changed since. Her earlier activity keeps the old one.
    let event = json!({
        "id": "a02", "action": "comment.created", "actor_type": "agent", "actor_id": "bot", "actor": { "name": "Bot" },
        "issue_id": "issue-1", "on_behalf_of": { "id": "ada", "name": "Ada Lovelace" },
        "details": { "comment": "c-1", "text": "It's done", "issue_title": "Fix it" }
    });
    let node_of_bot = node(&world, event).await;
    assert_eq!(
        node_of_bot["createdBy"],
        json!({ "id": "bot", "name": "Bot", "email": null, "type": "AGENT" })
    );
    assert_eq!(node_of_bot["comment"], json!({ "id": "c-1", "text": "It's done" }));
    assert_eq!(node_of_bot["todo"], json!({ "id": "issue-1", "title": "Fix it" }));
    assert_eq!(
        node_of_bot["html"],
        "<strong>Bot</strong> commented on <em>Fix it</em>: <em>It&#39;s done</em>"
    );
    let again =
        data(&world, &format!("{{ activityList(projectId: \"ws\", userId: \"ada\") {{ {FIELDS} }} }}")).await;
    assert_eq!(again["activityList"]["activities"][0]["createdBy"]["name"], "Ada");
}

#[tokio::test]
async fn every_subject_has_its_own_field() {
    let world = world().await;
    let event = |id: &str, action: &str, issue: Option<&str>, details: Value| json!({ "id": id, "action": action, "issue_id": issue, "details": details });
    for (event, field, expected) in [
        (
            event(
                "b01",
                "issue.moved",
                Some("i"),
                json!({ "from_list": "l-1", "to_list": "l-2", "to_list_title": "Done" }),
            ),
            "todoList",
            json!({ "id": "l-2", "title": "Done" }),
        ),
        (
            event("b02", "issue_list.created", None, json!({ "list": "l-3", "title": "Later" })),
            "todoList",
            json!({ "id": "l-3", "title": "Later" }),
        ),
        (
            event(
                "b03",
                "discussion.created",
                None,
                json!({ "discussion": "d-1", "title": "Talk", "text": "Hi" }),
            ),
            "discussion",
            json!({ "id": "d-1", "title": "Talk", "text": "Hi" }),
        ),
        (
            event("b04", "comment.created", None, json!({ "discussion": "d-1", "text": "Yes" })),
            "discussion",
            json!({ "id": "d-1", "title": null, "text": null }),
        ),
        (
            event("b05", "comment.created", None, json!({ "text": "No id" })),
            "comment",
            json!({ "id": null, "text": "No id" }),
        ),
        (
            event(
                "b06",
                "status_update.created",
                None,
                json!({ "status_update": "s-1", "text": "On track" }),
            ),
            "statusUpdate",
            json!({ "id": "s-1", "text": "On track" }),
        ),
        (
            event("b07", "member.added", None, json!({ "user": "eve", "role": "client" })),
            "affectedBy",
            json!({ "id": "eve", "name": null, "email": null }),
        ),
        (event("b08", "workspace.archived", None, json!({})), "metadata", Value::Null),
        (event("b09", "deploy.finished", None, json!({ "n": 1.0 })), "category", json!("OTHER")),
        (event("b10", "deploy.started", None, json!({ "n": 1.0 })), "metadata", json!("{\"n\":1.0}")),
    ] {
        // Each event has its own actor, because the activities share one time and are listed by actor.
        let actor = format!("{}-user", event["id"].as_str().unwrap());
        let mut event = event;
        event["actor_type"] = json!("user");
        event["actor_id"] = json!(actor);
        let node = node(&world, event.clone()).await;
        assert_eq!(node[field], expected, "{event}");
    }
}

#[tokio::test]
async fn reference_examples_run_unchanged() {
    let world = world().await;
    world.given([json!({
        "id": "a1", "workspace_id": "ws", "issue_id": "issue-1", "actor_type": "user", "actor_id": "user1-id",
        "action": "issue.completed", "created_at": "2024-12-31T23:59:59Z"
    })]).await;
    let text = include_str!("../../reference/activity_list.graphql");
    let mut queries = text.split("\n\n").filter(|query| query.starts_with("query "));
    let basic = queries.next().unwrap().replace("your-project-id", "ws");
    let list = &data(&world, &basic).await["activityList"];
    assert_eq!(ids(list), ["ws/a1", "ws/made", "ws/added-owner"]);
    assert_eq!(list["totalCount"], 3);
    assert_eq!(list["pageInfo"]["hasNextPage"], false);
    assert_eq!(list["activities"][0]["category"], "MARK_TODO_AS_COMPLETE");
    let advanced = queries.next().unwrap().replace("your-company-id", "org-1");
    let list = &data(&world, &advanced).await["activityList"];
    // The end date is inclusive.
    assert_eq!(ids(list), ["ws/a1"]);
    assert_eq!(list["activities"][0]["todo"]["id"], "issue-1");
    assert_eq!(queries.next(), None);
}

#[tokio::test]
async fn id_of_an_activity_is_unique_everywhere() {
    let world = world().await;
    world.given(workspace_events("ws-2", json!({ "name": "Other" }), &[("owner", "owner")])).await;
    let list = "{ activityList { activities { id uid activityId project { id } } } }";
    let list = data(&world, list).await["activityList"].take();
    let found: std::collections::BTreeSet<&str> = ids(&list).into_iter().collect();
    assert_eq!(found.len(), 4, "{list}");
    for node in list["activities"].as_array().unwrap() {
        let text = |name: &str| node[name].as_str().unwrap();
        assert_eq!(text("id"), format!("{}/{}", node["project"]["id"].as_str().unwrap(), text("activityId")));
        assert_eq!(text("id"), text("uid"));
    }
}

#[tokio::test]
async fn user_filters_are_intersected() {
    let world = world().await;
    let both = |user: &str| {
        format!(
            "{{ activityList(projectId: \"ws\", userId: \"{user}\", userIds: [\"maker\", \"x\"]) {{ activities {{ id: activityId }} totalCount }} }}"
        )
    };
    assert_eq!(data(&world, &both("maker")).await["activityList"]["totalCount"], 2);
    assert_eq!(
        data(&world, &both("owner")).await["activityList"],
        json!({ "activities": [], "totalCount": 0 })
    );
}
