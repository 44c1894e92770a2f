//! Memory and CPU time of recording.

use std::path::Path;
use std::time::Duration;

use harness::{Message, World, reported_failures};
use serde_json::{Value, json};

use crate::Result;
use crate::data::Data;
use crate::lambda::Lambda;
use crate::report::Report;

/// Messages of the batch. SQS allows no more, and messages of this size exceed the 6 MB that Lambda accepts.
const MESSAGES: usize = 10_000;
/// Bytes of each message's body.
const BODY: usize = 1_024;
/// Workspaces of the messages.
const WORKSPACES: usize = 20;
/// The memory of the smallest Lambda function, in MB.
const MAX_MB: f64 = 128.0;
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) async fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    let world = World::embedded(None).await?;
    for workspace in 0..WORKSPACES {
        world.given_workspace(&format!("ws-{workspace}")).await;
    }
    let data = Data::new(1_000_000);
    let messages: Vec<Message> = (0..MESSAGES).map(|index| message(&data, index)).collect();
    let batch = Message::batch(&messages).to_string();
    let size = batch.len() as f64 / 1e6;
    let environment = [("RECORD_SOURCE", Path::new("queue"))];
    let mut function =
        Lambda::start(&directory.join("record-activity"), world.endpoint(), &environment, LIMIT).await?;
    let idle = function.peak_memory()? as f64 / 1e6;
    let (took, response) = function.invoke(batch).await?;
    let response: Value = serde_json::from_str(&response)?;
    if !reported_failures(&response).is_empty() {
        return Err(format!("{} messages were not recorded", reported_failures(&response).len()).into());
    }
    let cpu = (function.cpu()? - function.cpu).as_secs_f64();
    let peak = function.peak_memory()? as f64 / 1e6;
    report.check(
        format!("memory of record-activity, a batch of {MESSAGES} messages of {BODY} bytes ({size:.1} MB)"),
        format!(
            "peak {peak:.0} MB, {idle:.0} MB at start, {:.1} s, {:.0} µs of CPU a message",
            took.as_secs_f64(),
            cpu * 1e6 / MESSAGES as f64
        ),
        format!("< {MAX_MB} MB"),
        peak < MAX_MB,
    );
    drop(function);
    world.stop().await;
    Ok(())
}

/// A message of exactly [`BODY`] bytes.
fn message(data: &Data, index: usize) -> Message {
    let mut event = data.row(index).event();
    event["workspace_id"] = json!(format!("ws-{}", index % WORKSPACES));
    event["details"]["more"] = json!("");
    let padding = BODY.saturating_sub(event.to_string().len());
    event["details"]["more"] = json!("x".repeat(padding));
    Message::new(format!("{index:08x}-0000-4000-8000-000000000000"), event.to_string())
}
