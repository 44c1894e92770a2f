//! The sample events, `events/<function>/<name>.<outcome>.json`. Each function has the outcome in the names of its
//! samples.

use std::path::{Path, PathBuf};

use harness::{SubscriberWorld, World, check};
use local::template::Template;
use serde_json::Value;

/// The functions of the template, in the order of their names.
pub fn functions() -> Vec<String> {
    let mut functions: Vec<String> = Template::load().unwrap().functions().map(|(name, _)| name).collect();
    functions.sort();
    functions
}

/// Whether a function uses the table of connections.
fn uses_connections(function: &str) -> bool {
    let statements = Template::load().unwrap().permissions(function);
    statements.iter().any(|statement| statement.resources.iter().any(|on| on == "ConnectionsTable.Arn"))
}

/// The sample events of a function in the order of their names, each with its path and expected outcome.
pub fn samples(function: &str) -> Vec<(PathBuf, String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(function);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let expected = name.rsplit('.').nth(1).unwrap().to_owned();
            let event = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (path, expected, event)
        })
        .collect()
}

/// Records the demo workspace in a world.
pub async fn with_demo(world: World) -> World {
    local::demo::record(world.store.clone(), fastrand::Rng::with_seed(3), world.now()).await.unwrap();
    world
}

#[tokio::test]
async fn every_sample_has_the_outcome_in_its_name() {
    for function in functions().iter().filter(|function| !uses_connections(function)) {
        let world = with_demo(World::new().await).await;
        let samples = samples(function);
        assert!(samples.len() > 10, "{function} has {} samples", samples.len());
        for (path, expected, event) in samples {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_repeat = ["again", "redelivered", "both-ways"].iter().any(|word| name.contains(word));
            let before = if is_repeat { Some(check(&world.client, &world.table).await) } else { None };
            let (outcome, response) = world.invoke(function, &event).await;
            assert_eq!(outcome, expected, "{name}: {response}");
            if let Some(before) = before {
                assert_eq!(check(&world.client, &world.table).await, before, "{name} was recorded twice");
            }
        }
        check(&world.client, &world.table).await;
    }
}

#[tokio::test]
async fn every_live_sample_has_the_outcome_in_its_name() {
    let world = SubscriberWorld::new(with_demo(World::with_stream().await).await).await;
    for function in functions().iter().rev().filter(|function| uses_connections(function)) {
        let samples = samples(function);
        assert!(!samples.is_empty(), "{function} has no samples");
        for (path, expected, event) in samples {
            let (outcome, response) = world.invoke(function, &event).await;
            assert_eq!(outcome, expected, "{}: {response}", path.display());
            let altered = std::mem::take(&mut *world.alterations.lock().unwrap());
            let is_altered = path.to_string_lossy().contains("altered");
            assert_eq!(altered.len(), if is_altered { 2 } else { 0 }, "{}: {altered:?}", path.display());
        }
        world.check().await;
    }
}

#[tokio::test]
async fn demo_is_recorded_once_over_restarts() {
    let world = with_demo(World::new().await).await;
    let before = check(&world.client, &world.table).await;
    world.advance(std::time::Duration::from_secs(3 * 86_400));
    local::demo::record(world.store.clone(), fastrand::Rng::with_seed(4), world.now()).await.unwrap();
    assert_eq!(check(&world.client, &world.table).await, before);
}
