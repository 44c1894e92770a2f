//! Pages that a bound of the server ends before their limit. Who counts offsets must not take them for whole ones.

use std::collections::BTreeSet;

use harness::{Reply, World};
use serde_json::{Value, json};

use crate::event;

const PAGE: &str = "/api/v1/workspaces/ws/activity";
const ISSUE: &str = "/api/v1/workspaces/ws/issues/issue-1/activity";

/// The page at an offset, of a feed whose path has parameters already.
async fn page_at(world: &World, feed: &str, limit: usize, offset: usize) -> Reply {
    world.get(&format!("{feed}&limit={limit}&offset={offset}")).await
}

/// The ids that the reference's own loop finds: it adds the limit to the offset until a page is empty. `Err` has the
/// problem that stopped it.
async fn reference_loop(world: &World, feed: &str, limit: usize) -> Result<Vec<String>, Value> {
    let (mut ids, mut offset) = (Vec::new(), 0);
    loop {
        let page = page_at(world, feed, limit, offset).await;
        if page.status != 200 {
            return Err(page.body);
        }
        if page.ids().is_empty() {
            return Ok(ids);
        }
        ids.extend(page.ids().into_iter().map(str::to_owned));
        offset += limit;
    }
}

/// A workspace with 161 activities of 63 KB, three at each instant, and their ids, oldest first.
async fn large_world() -> (World, Vec<String>) {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let big = |n: usize| {
        let mut big = event(&format!("act-{n:03}"), &format!("2025-01-01T00:{:02}:00Z", n / 3));
        big["details"]["x"] = json!("x".repeat(63_000));
        big
    };
    for chunk in (0..161).collect::<Vec<usize>>().chunks(49) {
        world.given(chunk.iter().map(|&n| big(n))).await;
    }
    (world, (0..161).map(|n| format!("act-{n:03}")).collect())
}

#[tokio::test]
async fn offsets_find_every_large_activity_or_a_problem() {
    let (world, oldest_first) = large_world().await;
    let newest_first: Vec<String> = oldest_first.iter().rev().cloned().collect();
    for path in [PAGE, ISSUE] {
        for (order, expected) in [("desc", &newest_first), ("asc", &oldest_first)] {
            let feed = format!("{path}?since=2025-01-01T00:00:00Z&order={order}");
            assert_eq!(&reference_loop(&world, &feed, 50).await.unwrap(), expected, "{feed}");
            let problem = reference_loop(&world, &feed, 200).await.unwrap_err();
            assert_eq!((&problem["status"], &problem["field"]), (&json!(400), &json!("limit")), "{problem}");
            // The limit that it names is the highest that fits, and finds everything.
            let fits = usize::try_from(problem["max_limit"].as_u64().unwrap()).unwrap();
            assert_eq!(page_at(&world, &feed, fits, 0).await.ids(), expected[..fits], "{feed}");
            assert_eq!(page_at(&world, &feed, fits + 1, 0).await.status, 400, "{feed}");
            assert_eq!(&reference_loop(&world, &feed, fits).await.unwrap(), expected, "{feed}");
            // So does its cursor, from wherever the page was to begin, the middle of an instant among them.
            for offset in [0, 1, 40, 61] {
                let refused = page_at(&world, &feed, 200, offset).await;
                assert_eq!(refused.status, 400, "{offset}");
                let seen = world.walk("owner", refused.next().unwrap(), |_| ()).await;
                assert_eq!(seen, expected[offset..], "{feed} from {offset}");
                let cursor = refused.body["cursor"].as_str().unwrap();
                let first = world.get(&format!("{feed}&limit=1&cursor={cursor}")).await;
                assert_eq!(first.ids(), expected[offset..=offset]);
            }
            // The rest fits.
            assert_eq!(page_at(&world, &feed, 200, 100).await.ids(), expected[100..], "{feed}");
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn page_at_read_budget_is_refused_with_a_cursor() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    // A page reads at most 16 MB, which are about 270 of the 400 activities. Matches are the newest five and the oldest.
    let big = |n: usize| {
        let mut big = event(&format!("act-{n:04}"), &format!("2025-01-01T{:02}:{:02}:00Z", n / 60, n % 60));
        big["details"]["x"] = json!("x".repeat(60_000));
        big["actor_type"] = json!(if n == 0 || n >= 395 { "agent" } else { "user" });
        big["actor_id"] = json!(if n == 0 { "first" } else { "ada" });
        big["tags"] = json!(if n == 0 { ["old"] } else { ["new"] });
        big
    };
    for chunk in (0..400).collect::<Vec<usize>>().chunks(49) {
        world.given(chunk.iter().map(|&n| big(n))).await;
    }
    let newest = ["act-0399", "act-0398", "act-0397", "act-0396", "act-0395"];
    // DynamoDB Local limits what it returns to 1 MB, and not what it reads, so that one Query finds the match.
    let is_cut = std::env::var("DYNAMODB_ENDPOINT").is_err();
    for (filter, limit, first) in [("actor_type=agent", Some(5), &newest[..]), ("tag=old", None, &[])] {
        let feed = format!("{PAGE}?{filter}");
        let mut start = feed.clone();
        if is_cut {
            let refused = world.get(&feed).await;
            assert_eq!((refused.status, &refused.body["field"]), (400, &json!("limit")), "{}", refused.body);
            assert_eq!(refused.body.get("max_limit").and_then(Value::as_u64), limit);
            start = refused.next().unwrap().to_owned();
        }
        let mut queries = Vec::new();
        world.transport.take_metered();
        let count = |_: &Reply| queries.push(world.transport.take_metered().requests["Query"]);
        let found = world.walk("owner", &start, count).await;
        let expected: BTreeSet<&str> = first.iter().copied().chain(["act-0000"]).collect();
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{filter}");
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(queries.iter().all(|&queries| queries <= 16), "{queries:?}");
        if let (true, Some(limit)) = (is_cut, limit) {
            assert_eq!(world.get(&format!("{feed}&limit={limit}")).await.ids(), first);
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn matches_after_a_run_of_others_fill_a_page() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    // Newest are 49 of an agent, then come 500 of a user, then the agent's again.
    let mut expected = Vec::new();
    let events: Vec<Value> = (0..600)
        .map(|n| {
            let id = format!("act-{n:04}");
            let mut event = event(&id, &format!("2025-01-01T{:02}:{:02}:00Z", n / 60, n % 60));
            if !(51..551).contains(&n) {
                event["actor_type"] = json!("agent");
                expected.insert(0, id);
            }
            event
        })
        .collect();
    for chunk in events.chunks(490) {
        world.given(chunk.to_vec()).await;
    }
    let page = world.get(&format!("{PAGE}?actor_type=agent")).await;
    assert_eq!((page.status, page.body.as_array().map(Vec::len)), (200, Some(50)), "{}", page.body);
    assert_eq!(page.ids(), expected[..50]);
    harness::check(&world.client, &world.table).await;
}
