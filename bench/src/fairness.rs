//! How long one tenant's update takes beside another's subscriptions, and the gateway's memory for many documents.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Result;
use crate::report::Report;
use crate::stats::Times;
use crate::subscribers::{
    QUERY, comment, create_workspace, listen, members, open, peak_memory, record, service_token, start,
    subscribe,
};

/// Subscriptions that the other tenant asks for.
const SUBSCRIPTIONS: usize = 1_000;
/// Subscriptions of a connection.
const PER_CONNECTION: usize = 50;
/// Updates of the quiet tenant.
const UPDATES: usize = 100;
/// The time between two of them.
const INTERVAL: Duration = Duration::from_millis(200);
/// Documents of the test of memory.
const DOCUMENTS: usize = 40;
/// Activities of its batch, as many as the dispatcher gets at once.
const BATCH: usize = 100;
/// Bytes of a text of one of them. A message has it twice, and is just below the limit.
const TEXT: usize = 58_000;
/// The time limit of each step.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Measures the gateway at this path, in processes of its own.
pub(crate) async fn measure(gateway: &Path, report: &mut Report) -> Result<()> {
    let (alone, _) = quiet_tenant(gateway, 0).await?;
    report.note("update of a quiet tenant alone, median", alone.to_string());
    for users in [1, 10] {
        let (beside, begun) = quiet_tenant(gateway, users).await?;
        let factor = beside.median() / alone.median();
        let what = format!(
            "… beside {begun} subscriptions of another tenant's {users} users, of {SUBSCRIPTIONS} asked for"
        );
        let figures = format!("{beside}: {factor:.1} times");
        // Many users may have as much as they need, and a batch of theirs takes its time.
        if users > 1 {
            report.note(what, figures);
        } else {
            report.check(what, figures, "< 4 times", factor < 4.0);
        }
    }
    let (before, memory, received) = many_documents(gateway).await?;
    report.check(
        format!("memory of the gateway while {BATCH} activities go to {DOCUMENTS} documents, at most"),
        format!("{memory:.0} MB, {before:.0} MB before; {received} messages arrived"),
        "< 512 MB",
        memory < 512.0,
    );
    Ok(())
}

/// The times from recording to delivery for one subscriber, while another tenant's activities go to the subscriptions of
/// some users; and the number of those.
async fn quiet_tenant(gateway: &Path, users: usize) -> Result<(Times, usize)> {
    let (mut process, address) = start(gateway).await?;
    let write = service_token(address).await?;
    create_workspace(address, &write, "quiet", &["reader".to_owned()]).await?;
    create_workspace(address, &write, "busy", &members(users)).await?;
    let (ignored, _) = mpsc::unbounded_channel();
    let mut listeners = Vec::new();
    let mut begun = 0;
    for connection in 0..SUBSCRIPTIONS.div_ceil(PER_CONNECTION) {
        let Some(user) = connection.checked_rem(users) else { break };
        let (taken, listener) = subscribe_often(address, user, ignored.clone()).await?;
        begun += taken;
        listeners.push(listener);
    }
    let (deliveries, mut delivered) = mpsc::unbounded_channel();
    let (mut sender, mut receiver) = open(address, "reader").await?;
    if !subscribe(&mut sender, &mut receiver, "1", QUERY, "quiet").await? {
        return Err("the quiet tenant's subscription was refused".into());
    }
    listeners.push(tokio::spawn(listen(receiver, deliveries)));
    let mut times = Times::default();
    for n in 0..UPDATES {
        let next = Instant::now() + INTERVAL;
        if users > 0 {
            record(address, &write, "busy", &comment(n, "Soon.")).await?;
        }
        let began = Instant::now();
        record(address, &write, "quiet", &comment(n, "Soon.")).await?;
        let found = tokio::time::timeout(TIMEOUT, delivered.recv()).await?;
        let (_, at): (String, Instant) = found.ok_or("the connection was closed")?;
        times.push(at - began);
        tokio::time::sleep_until(next).await;
    }
    process.kill().await?;
    Ok((times, begun))
}

/// Opens a connection with as many subscriptions as it and its user may have, and returns their number.
async fn subscribe_often(
    address: SocketAddr,
    user: usize,
    deliveries: mpsc::UnboundedSender<(String, Instant)>,
) -> Result<(usize, JoinHandle<()>)> {
    let (mut sender, mut receiver) = open(address, &format!("user-{user}")).await?;
    let mut begun = 0;
    for id in 0..PER_CONNECTION {
        let id = id.to_string();
        begun += usize::from(subscribe(&mut sender, &mut receiver, &id, QUERY, "busy").await?);
    }
    let listener = tokio::spawn(async move {
        listen(receiver, deliveries).await;
        drop(sender);
    });
    Ok((begun, listener))
}

/// The gateway's peak memory in MB, before and after a large batch went to many documents; and the messages that arrived.
async fn many_documents(gateway: &Path) -> Result<(f64, f64, usize)> {
    let (mut process, address) = start(gateway).await?;
    let write = service_token(address).await?;
    create_workspace(address, &write, "large", &members(1)).await?;
    let (mut sender, mut receiver) = open(address, "user-0").await?;
    for n in 0..DOCUMENTS {
        let query = format!(
            "subscription($ws: String!) {{ subscribeToActivity(projectId: $ws) {{ node {{ id a{n}: metadata b: metadata }} }} }}"
        );
        subscribe(&mut sender, &mut receiver, &n.to_string(), &query, "large").await?;
    }
    let before = peak_memory(&process)?;
    // The client reads all the time, because the gateway closes a connection that is slow.
    let received = tokio::spawn(async move {
        let mut received = 0;
        while received < DOCUMENTS * BATCH {
            let message = tokio::time::timeout(TIMEOUT, receiver.next()).await?.ok_or("closed")??;
            // On a slow machine, the topic's time is up first.
            if message.is_close() {
                break;
            }
            received += usize::from(message.to_text()?.contains(r#""type":"next""#));
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(received)
    });
    let text = "x".repeat(TEXT);
    let events: Vec<Value> = (0..BATCH).map(|n| comment(n, &text)).collect();
    // One request holds 6 MB.
    for events in events.chunks(BATCH.div_ceil(2)) {
        record(address, &write, "large", &events.into()).await?;
    }
    let received = received.await??;
    let memory = peak_memory(&process)?;
    process.kill().await?;
    Ok((before, memory, received))
}
