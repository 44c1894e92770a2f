//! The values that the arguments of `activityList` take.

use harness::World;
use serde_json::{Value, json};

use super::{data, ids};

#[tokio::test]
async fn all_categories_can_be_asked_for_at_once() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let schema = "{ __type(name: \"ActivityCategory\") { enumValues { name } } }";
    let schema = data(&world, schema).await;
    let names = schema["__type"]["enumValues"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|value| value["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 51, "{names:?}");
    let all =
        data(&world, "{ activityList(projectId: \"ws\") { activities { id: activityId } totalCount } }")
            .await;
    let known: Vec<&str> = names.iter().copied().filter(|name| *name != "OTHER").collect();
    for (scope, categories) in
        [("projectId: \"ws\"", &names), ("projectId: \"ws\"", &known), ("", &names), ("", &known)]
    {
        let list = |more: &str| {
            format!(
                "{{ activityList({scope} categories: [{}] {more}) {{ activities {{ id: activityId }} totalCount }} }}",
                categories.join(" ")
            )
        };
        assert_eq!(data(&world, &list("")).await, all, "{scope} {}", categories.len());
        let by_category = data(&world, &list("orderBy: category_ASC")).await;
        assert_eq!(ids(&by_category["activityList"]).len(), ids(&all["activityList"]).len());
    }
}

#[tokio::test]
async fn end_in_milliseconds_includes_the_whole_of_one() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let at = |id: &str, created_at: &str| {
        json!({
            "id": id, "workspace_id": "ws", "issue_id": "issue-1", "actor_type": "user", "actor_id": "owner",
            "action": "comment.created", "details": { "text": "x" }, "created_at": created_at
        })
    };
    world
        .given([
            at("a", "2025-01-01T00:00:00.123Z"),
            at("b", "2025-01-01T00:00:00.123999Z"),
            at("c", "2025-01-01T00:00:00.124Z"),
        ])
        .await;
    for (end, expected) in [
        ("2025-01-01T00:00:00.123Z", vec!["a", "b"]),
        ("2025-01-01T00:00:00.123000Z", vec!["a"]),
        ("2025-01-01T00:00:00.124Z", vec!["a", "b", "c"]),
    ] {
        let query = format!(
            "{{ activityList(projectId: \"ws\", startDate: \"2025-01-01T00:00:00Z\", endDate: \"{end}\",
               orderBy: createdAt_ASC) {{ activities {{ id: activityId createdAt updatedAt }} totalCount }} }}"
        );
        let list = &data(&world, &query).await["activityList"];
        assert_eq!(ids(list), expected, "{end}");
        assert_eq!(list["totalCount"], expected.len(), "{end}");
        // All times have one number of digits, so that they sort as texts.
        for activity in list["activities"].as_array().unwrap() {
            for time in [&activity["createdAt"], &activity["updatedAt"]] {
                assert_eq!(time.as_str().map(str::len), Some("2025-01-01T00:00:00.123000Z".len()), "{time}");
            }
        }
    }
    let all = data(&world, "{ activityList(projectId: \"ws\") { activities { createdAt } } }").await;
    let times: Vec<&Value> =
        all["activityList"]["activities"].as_array().unwrap().iter().map(|node| &node["createdAt"]).collect();
    assert!(times.is_sorted_by(|a, b| a.as_str() >= b.as_str()), "{times:?}");
}
