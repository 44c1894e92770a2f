//! Loads the activities, through the recorder.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::event::InputEvent;
use futures_util::future::try_join_all;
use harness::World;

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::report::Report;

/// Activities of a call: ten full transactions.
const CALL: usize = 490;
/// Calls at the same time. The engine writes one transaction at a time, while the others are prepared.
const MAX_CONCURRENT_CALLS: usize = 4;
/// Activities that create the workspace and add its four members.
const WORKSPACE_EVENTS: usize = 5;

/// Loads the activities unless they are there.
pub(crate) async fn load(world: &World, data: &Data, report: &mut Report) -> Result<()> {
    let probe = format!("/api/v1/workspaces/{WORKSPACE}/activity?include=total&limit=1");
    let reply = world.get(&probe).await;
    if reply.status == 404 {
        world.given_workspace(WORKSPACE).await;
    } else if let Some(total) =
        reply.headers.get("x-total-count").and_then(|total| total.parse::<usize>().ok())
        && total >= data.len + WORKSPACE_EVENTS
    {
        report.note("activities there", total.to_string());
        return Ok(());
    }
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    try_join_all((0..MAX_CONCURRENT_CALLS).map(|_| calls(world, data, &next))).await?;
    let rate = data.len as f64 / began.elapsed().as_secs_f64();
    let what = format!(
        "loading {} activities, {CALL} a call, {MAX_CONCURRENT_CALLS} at once, SQLite file",
        data.len
    );
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
        let events: Vec<InputEvent> =
            (from..to).map(|index| world.parse_event(data.row(index).event())).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        // Activities of an interrupted run are recorded again, without effect.
        for result in world.recorder.record(events, deadline).await.results {
            result?;
        }
        if (from / CALL).is_multiple_of(100) {
            eprintln!("loaded {to} of {}", data.len);
        }
    }
}
