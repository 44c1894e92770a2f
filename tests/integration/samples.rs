//! The sample events, `events/<function>/<name>.<expected>.json`, each against the function it is for.

use std::path::{Path, PathBuf};

use harness::{Live, World, check};
use serde_json::Value;

/// The sample events of a function in the order of their names, with what they are expected to come to.
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

/// A world with the demo workspace in it.
pub async fn demo(world: World) -> World {
    local::demo::record(world.store.clone(), fastrand::Rng::with_seed(3), world.now()).await.unwrap();
    world
}

#[tokio::test]
async fn every_sample_comes_to_what_its_name_says() {
    for function in ["list-workspace-activity", "list-issue-activity", "record-activity", "graphql"] {
        let world = demo(World::new().await).await;
        let samples = samples(function);
        assert!(samples.len() > 10, "{function} has {} samples", samples.len());
        for (path, expected, event) in samples {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let again = ["again", "redelivered", "both-ways"].iter().any(|word| name.contains(word));
            let before = if again { Some(check(&world.client, &world.table).await) } else { None };
            let (status, answer) = world.invoke(function, &event).await;
            assert_eq!(status, expected, "{name}: {answer}");
            if let Some(before) = before {
                assert_eq!(check(&world.client, &world.table).await, before, "{name} was recorded twice");
            }
        }
        check(&world.client, &world.table).await;
    }
}

#[tokio::test]
async fn so_does_every_sample_of_live_feeds() {
    let live = Live::new(demo(World::watched().await).await).await;
    for function in ["subscriptions", "broadcast"] {
        for (path, expected, event) in samples(function) {
            let (status, answer) = live.invoke(function, &event).await;
            assert_eq!(status, expected, "{}: {answer}", path.display());
        }
        live.check().await;
    }
}

#[tokio::test]
async fn the_demo_is_recorded_once_however_often_the_gateway_starts() {
    let world = demo(World::new().await).await;
    let before = check(&world.client, &world.table).await;
    world.advance(std::time::Duration::from_secs(3 * 86_400));
    local::demo::record(world.store.clone(), fastrand::Rng::with_seed(4), world.now()).await.unwrap();
    assert_eq!(check(&world.client, &world.table).await, before);
}
