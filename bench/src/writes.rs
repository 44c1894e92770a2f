//! Costs and rates of recording.

use std::time::Instant;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use harness::World;
use serde_json::Value;

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::report::Report;

/// The on-demand price in us-east-1 since 2024-11-01: <https://aws.amazon.com/dynamodb/pricing/on-demand/>.
const DOLLARS_PER_MILLION_WRITE_UNITS: f64 = 0.625;
/// Activities of each measurement, a multiple of 49.
const ACTIVITIES: usize = 1_960;
/// The most activities of a transaction.
const BATCH: usize = 49;
/// The most write units of an activity that is recorded alone.
const MAX_UNITS_ALONE: f64 = 12.0;
/// The most write units of an activity in a batch.
const MAX_UNITS_IN_BATCH: f64 = 8.5;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let world = World::embedded(None).await?;
    world.given_workspace(WORKSPACE).await;
    let data = Data::new(1_000_000);
    let mut rows = (0..data.len).map(|index| data.row(index).event());
    let mut bodies = |of: usize| -> Vec<String> {
        let events: Vec<Value> = rows.by_ref().take(ACTIVITIES).collect();
        let body = |events: &[Value]| match events {
            [event] => event.to_string(),
            events => Value::from(events).to_string(),
        };
        events.chunks(of).map(body).collect()
    };
    let size = bodies(1).iter().map(String::len).sum::<usize>() / ACTIVITIES;
    report.note("an event", format!("{size} bytes of JSON"));
    send(&world, bodies(1), 1).await?;
    for (what, of, at_once, most) in [
        ("recording one by one", 1, 1, MAX_UNITS_ALONE),
        ("recording one by one, 16 at once", 1, 16, MAX_UNITS_ALONE),
        ("recording batches of 49", BATCH, 1, MAX_UNITS_IN_BATCH),
    ] {
        let bodies = bodies(of);
        let calls = bodies.len();
        world.transport.take_metered();
        let began = Instant::now();
        send(&world, bodies, at_once).await?;
        let rate = ACTIVITIES as f64 / began.elapsed().as_secs_f64();
        let metered = world.transport.take_metered();
        let requests = metered.total() as f64 / calls as f64;
        let units = metered.units / ACTIVITIES as f64;
        let dollars = units * DOLLARS_PER_MILLION_WRITE_UNITS;
        let figures = format!(
            "{requests} requests a call, {units:.2} write units an activity, ${dollars:.2} a million, {rate:.0} \
             activities/s"
        );
        // A batch over midnight takes two transactions, because it adds to the counters of two days.
        let met = units <= most && (of > 1 || metered.total() == calls);
        let each = if of == 1 { "1 request, " } else { "" };
        report.check(what, figures, format!("{each}≤ {most} units"), met);
    }
    world.stop().await;
    Ok(())
}

async fn send(world: &World, bodies: Vec<String>, at_once: usize) -> Result<()> {
    stream::iter(bodies)
        .map(|body| async move {
            let reply = world.post(WORKSPACE, &body, &[]).await;
            if matches!(reply.status, 200 | 201) { Ok(()) } else { Err(reply.body.to_string().into()) }
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await
}
