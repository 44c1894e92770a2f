//! Costs of lists, in DynamoDB requests and units. They are exact.

use harness::{Metered, World};
use serde_json::{Value, json};

use super::workspace_events;
use crate::event;

/// `n` events of a workspace, ten seconds apart. One in ten is by each of ten users, and one in ten has another
/// category.
fn history(ws: &str, n: usize) -> Vec<Value> {
    let start = chrono::DateTime::from_timestamp(1_735_689_600, 0).unwrap();
    (0..n)
        .map(|index| {
            let time = start + chrono::TimeDelta::seconds(10 * i64::try_from(index).unwrap());
            let mut event = event(&format!("{ws}-{index:05}"), &time.to_rfc3339());
            event["workspace_id"] = json!(ws);
            event["actor_id"] = json!(format!("user-{}", index % 10));
            if (index / 10) % 10 == 3 {
                event["action"] = json!("issue.completed");
            }
            event
        })
        .collect()
}

async fn given(world: &World, events: Vec<Value>) {
    for chunk in events.chunks(490) {
        world.given(chunk.to_vec()).await;
    }
}

/// The cost of a list, the number of its activities, and the list.
async fn cost(world: &World, arguments: &str, fields: &str) -> (Metered, usize, Value) {
    let query =
        format!("{{ activityList({arguments}) {{ activities {{ id: activityId html }} {fields} }} }}");
    world.transport.take_metered();
    let answer = world.ask("owner", "", &query, Value::Null).await;
    let list = &answer["data"]["activityList"];
    let entries = list["activities"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).len();
    (world.transport.take_metered(), entries, list.clone())
}

#[tokio::test]
async fn project_list_costs_only_selected_fields() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    given(&world, history("ws", 3_000)).await;
    let info = "pageInfo { hasNextPage endCursor }";
    let (basic, entries, list) = cost(&world, "projectId: \"ws\", first: 50", info).await;
    assert_eq!((basic.total(), entries), (2, 50), "{basic:?}");
    let total = format!("{info} totalCount");
    let (with_total, ..) = cost(&world, "projectId: \"ws\", first: 50", &total).await;
    assert_eq!(with_total.total(), 3, "{with_total:?}");
    // A total alone reads no page.
    let query = "{ activityList(projectId: \"ws\", skip: 7) { totalCount } }";
    world.transport.take_metered();
    let answer = world.ask("owner", "", query, Value::Null).await;
    let alone = world.transport.take_metered();
    assert_eq!(
        (alone.total(), &answer["data"]["activityList"]["totalCount"]),
        (2, &json!(3_005)),
        "{alone:?}"
    );
    // A field that a directive leaves out costs nothing.
    let left_out = format!("{info} totalCount @include(if: false)");
    let (without, ..) = cost(&world, "projectId: \"ws\", first: 50", &left_out).await;
    assert_eq!(without.total(), 2, "{without:?}");
    for (arguments, most) in [
        ("userId: \"user-3\"", 2),
        ("userIds: [\"user-3\", \"user-4\"]", 3),
        ("categories: [MARK_TODO_AS_COMPLETE]", 2),
        ("categories: [MARK_TODO_AS_COMPLETE, UPDATE_TODO]", 3),
        ("startDate: \"2025-01-01T02:00:00Z\", endDate: \"2025-01-01T03:00:00Z\"", 2),
        ("orderBy: category_DESC", 2),
        ("orderBy: category_ASC, categories: [MARK_TODO_AS_COMPLETE]", 2),
        ("orderBy: createdAt_ASC", 2),
        ("last: 50", 2),
    ] {
        let (filtered, entries, _) = cost(&world, &format!("projectId: \"ws\", {arguments}"), info).await;
        assert!(filtered.total() <= most && entries == 50, "{arguments}: {entries}, {filtered:?}");
        assert!(filtered.units <= 2.5 * basic.units, "{arguments}: {} of {}", filtered.units, basic.units);
    }
    let both = "projectId: \"ws\", userId: \"user-3\", categories: [MARK_TODO_AS_COMPLETE], first: 20";
    let (both, entries, _) = cost(&world, both, info).await;
    let (plain, ..) = cost(&world, "projectId: \"ws\", first: 20", info).await;
    assert_eq!(entries, 20);
    assert!(both.units <= 12.0 * plain.units, "{} of {}", both.units, plain.units);
    // Deep pages cost the same by cursor and by offset. Only hasPreviousPage needs one more request.
    let after = format!("projectId: \"ws\", after: {}", list["pageInfo"]["endCursor"]);
    let (next, ..) = cost(&world, &after, info).await;
    assert_eq!(next.total(), 2, "{next:?}");
    let (next, _, list) = cost(&world, &after, "pageInfo { hasPreviousPage }").await;
    assert_eq!((next.total(), &list["pageInfo"]["hasPreviousPage"]), (3, &json!(true)), "{next:?}");
    let (deep, entries, _) = cost(&world, "projectId: \"ws\", skip: 2500", info).await;
    assert_eq!((deep.total(), entries), (4, 50), "{deep:?}");
}

#[tokio::test]
async fn slug_lookup_costs_four_requests() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let (by_slug, ..) = cost(&world, "projectId: \"apollo\"", "").await;
    // Two requests find no workspace with that id, two find the slug, and two read the page.
    assert_eq!(by_slug.sent, 6, "{by_slug:?}");
}

#[tokio::test]
async fn large_company_is_read_from_its_own_partition() {
    let world = World::new().await;
    for n in 0..200 {
        let details = json!({ "name": format!("W{n}"), "organization": "org" });
        world.given(workspace_events(&format!("ws-{n:03}"), details, &[("owner", "member")])).await;
    }
    for n in 0..20 {
        given(&world, history(&format!("ws-{:03}", n * 10), 60)).await;
    }
    let info = "pageInfo { hasNextPage endCursor }";
    for scope in ["companyId: \"org\"", "first: 50"] {
        let (first, entries, list) = cost(&world, scope, info).await;
        assert_eq!(entries, 50);
        assert!(first.total() <= 6, "{scope}: {first:?}");
        let (next, ..) =
            cost(&world, &format!("{scope}, after: {}", list["pageInfo"]["endCursor"]), info).await;
        assert!(next.total() <= 6, "{scope}: {next:?}");
    }
    // Several lists read the reader's workspaces only once.
    world.transport.take_metered();
    let twice = "{ a: activityList(companyId: \"org\", first: 5) { activities { id: activityId } }
                   b: activityList(first: 5) { activities { id: activityId } } }";
    let answer = world.ask("owner", "", twice, Value::Null).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    let both = world.transport.take_metered();
    assert!(both.total() <= 7, "{both:?}");
    let (total, _, list) = cost(&world, "companyId: \"org\"", "totalCount").await;
    assert_eq!(list["totalCount"], 400 + 20 * 60, "{total:?}");
    // Several users or ordered categories of many workspaces are read from the company's partition.
    let users = "companyId: \"org\", userIds: [\"user-1\", \"user-2\", \"user-3\"]";
    let (_, entries, list) = cost(&world, users, "totalCount").await;
    assert_eq!((entries, &list["totalCount"]), (50, &json!(360)));
    let in_order = "orderBy: category_ASC, categories: [UPDATE_TODO, MARK_TODO_AS_COMPLETE, CREATE_PROJECT]";
    let (by_category, entries, list) = cost(&world, &format!("{in_order}, first: 200"), "totalCount").await;
    assert_eq!((entries, &list["totalCount"]), (200, &json!(200 + 1_200)), "{by_category:?}");
    let all_made = list["activities"].as_array().unwrap().iter().all(|activity| activity["id"] == "made");
    assert!(all_made, "{list}");
    let (_, entries, list) = cost(&world, &format!("{in_order}, skip: 198, first: 4"), "").await;
    assert_eq!((entries, &list["activities"][1]["id"]), (4, &json!("made")), "{list}");
    assert_ne!(list["activities"][2]["id"], "made", "{list}");
    // A reader of few workspaces gets only their activities.
    world
        .given(workspace_events(
            "ws-lone",
            json!({ "name": "Lone", "organization": "org" }),
            &[("few", "member")],
        ))
        .await;
    let answer =
        world.ask("few", "", "{ activityList { activities { id: activityId } } }", Value::Null).await;
    assert_eq!(answer["data"]["activityList"]["activities"].as_array().unwrap().len(), 2);
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn reader_of_few_workspaces_avoids_company_partition() {
    let world = World::new().await;
    for n in 0..6 {
        let details = json!({ "name": format!("W{n}"), "organization": "org" });
        world.given(workspace_events(&format!("mine-{n}"), details, &[("owner", "member")])).await;
    }
    world
        .given(workspace_events(
            "theirs",
            json!({ "name": "T", "organization": "org" }),
            &[("other", "member")],
        ))
        .await;
    given(&world, history("theirs", 4_000)).await;
    let mut mine = history("mine-3", 60);
    mine.iter_mut().for_each(|event| event["created_at"] = json!("2024-01-01T00:00:00Z"));
    given(&world, mine).await;
    let (cost, entries, _) = cost(&world, "companyId: \"org\", first: 50", "totalCount").await;
    assert_eq!(entries, 50);
    // The other workspace's 4,000 activities would cost 300 units.
    assert!(cost.units < 120.0, "{cost:?}");
}
