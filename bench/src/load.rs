//! Loads the activities, through the recorder.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use harness::World;
use shared::event::Event;

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::report::Report;

/// Activities recorded by one call: ten full transactions.
const CALL: usize = 490;
/// Calls under way at once. The engine writes one transaction at a time; the others are prepared meanwhile.
const AT_ONCE: usize = 4;
/// Activities of the workspace itself: made, and four members added.
const OWN: usize = 5;

/// Loads what is not there yet.
pub(crate) async fn load(world: &World, data: &Data, report: &mut Report) -> Result<()> {
    let probe = format!("/api/v1/workspaces/{WORKSPACE}/activity?include=total&limit=1");
    let reply = world.get(&probe).await;
    if reply.status == 404 {
        world.given_workspace(WORKSPACE).await;
    } else if let Some(total) =
        reply.headers.get("x-total-count").and_then(|total| total.parse::<usize>().ok())
        && total >= data.len + OWN
    {
        report.note("activities there", total.to_string());
        return Ok(());
    }
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    try_join_all((0..AT_ONCE).map(|_| calls(world, data, &next))).await?;
    let rate = data.len as f64 / began.elapsed().as_secs_f64();
    let what = format!("loading {} activities, {CALL} a call, {AT_ONCE} at once, SQLite file", data.len);
    report.note(what, format!("{rate:.0} activities/s"));
    Ok(())
}

async fn calls(world: &World, data: &Data, next: &AtomicUsize) -> Result<()> {
    loop {
        let from = next.fetch_add(CALL, Ordering::Relaxed);
        if from >= data.len {
            return Ok(());
        }
        let to = data.len.min(from + CALL);
        let events: Vec<Event> = (from..to).map(|index| world.event(data.row(index).event())).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        // A run that was cut short left some: recorded again, they are what they were.
        for result in world.recorder.record(events, deadline).await.results {
            result?;
        }
        if (from / CALL).is_multiple_of(100) {
            eprintln!("loaded {to} of {}", data.len);
        }
    }
}
