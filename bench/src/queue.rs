//! The time that a quiet producer's event takes from the queue to the log, beside each kind of poison and beside a busy producer.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::Result;
use crate::report::Report;
use crate::stats::Times;
use crate::subscribers::{comment, create_workspace, record, service_token, start, token};

/// Messages of each kind of poison in a second.
const POISON_RATE: u32 = 200;
/// Messages of the busy producer in a second.
const BUSY_RATE: u32 = 2_000;
/// The most messages of a request, as SQS has it.
const MAX_ENTRIES: usize = 10;
/// Connections that send them.
const CONNECTIONS: u32 = 8;
/// The time between two messages of the quiet producer.
const INTERVAL: Duration = Duration::from_millis(250);
/// The time between two looks for it in the log.
const LOOK: Duration = Duration::from_millis(3);
/// The longest that one of them may take, in all.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The greatest median beside poison, as a multiple of the one alone.
const MAX_FACTOR: f64 = 4.0;
/// Bytes of a text that makes an event too large.
const TOO_LARGE: usize = 65_536;

/// The messages of the other producer, by number.
type Noise = fn(usize) -> Value;

/// Messages that are never recorded, by what is wrong with them.
const POISON: [(&str, Noise); 6] = [
    ("malformed messages", |_| "{".into()),
    ("messages without an actor", |n| {
        let mut event = event(n);
        event["actor_id"] = Value::Null;
        event
    }),
    ("conflicting messages", |n| {
        let mut event = event(0);
        event["details"] = json!({ "text": format!("Another one: {n}.") });
        event
    }),
    (
        "envelopes that only the bus may send",
        |n| json!({ "detail-type": "comment.created", "source": "x", "detail": event(n) }),
    ),
    ("too large messages", |n| {
        let mut event = event(n);
        event["details"]["text"] = "x".repeat(TOO_LARGE).into();
        event
    }),
    ("messages of unknown workspaces", |n| {
        let mut event = event(n);
        event["workspace_id"] = "typo".into();
        event
    }),
];

fn event(n: usize) -> Value {
    let mut event = comment(n, "Soon.");
    event["workspace_id"] = "busy".into();
    event
}

/// Measures the gateway at this path, in processes of its own, each for `seconds`.
pub(crate) async fn measure(gateway: &Path, seconds: u64, report: &mut Report) -> Result<()> {
    let time = Duration::from_secs(seconds);
    let alone = quiet_producer(gateway, time, None).await?.times;
    report.note("event of a quiet producer, from the queue to the log, alone", alone.to_string());
    let mut noises: Vec<(&str, Noise, u32)> =
        POISON.into_iter().map(|(what, noise)| (what, noise, POISON_RATE)).collect();
    noises.push(("messages of a busy producer", event, BUSY_RATE));
    for (what, noise, rate) in noises {
        let beside = quiet_producer(gateway, time, Some((noise, rate))).await?;
        let factor = beside.times.median() / alone.median();
        let what = format!("… beside {rate} {what} a second, {} in all", beside.sent);
        let figures = format!("{}: {factor:.1} times", beside.times);
        // Good messages fill all batches, and a quiet one waits for the next batch, whose size says how long that takes.
        if rate == BUSY_RATE {
            report.note(what, figures);
        } else {
            report.check(what, figures, format!("< {MAX_FACTOR:.0} times"), factor < MAX_FACTOR);
        }
    }
    Ok(())
}

/// The quiet producer's times, and the number of messages that the other one has sent.
struct Beside {
    times: Times,
    sent: usize,
}

async fn quiet_producer(gateway: &Path, time: Duration, noise: Option<(Noise, u32)>) -> Result<Beside> {
    let (mut process, address) = start(gateway).await?;
    let write = service_token(address).await?;
    create_workspace(address, &write, "quiet", &["reader".to_owned()]).await?;
    create_workspace(address, &write, "busy", &[]).await?;
    record(address, &write, "busy", &comment(0, "The first one.")).await?;
    let reader = token(address, "reader", "").await?;
    let mut feed = connect(address).await?;
    let (stop, stopped) = watch::channel(false);
    let mut noisy = JoinSet::new();
    if let Some((noise, rate)) = noise {
        for connection in 0..CONNECTIONS {
            noisy.spawn(make_noise(address, noise, (connection, rate), stopped.clone()));
        }
    }
    let mut queue = connect(address).await?;
    let mut times = Times::default();
    let mut ticks = interval(INTERVAL);
    // An event that waits for another one would not show how long the queue takes.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + time;
    let mut n = 0;
    while Instant::now() < end {
        ticks.tick().await;
        let mut event = comment(n, "Soon.");
        event["workspace_id"] = "quiet".into();
        let began = Instant::now();
        while send(&mut queue, "quiet", &[event.clone()]).await? < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        timeout(TIMEOUT, until_recorded(&mut feed, &reader, &format!("n-{n}"))).await??;
        times.push(began.elapsed());
        n += 1;
    }
    stop.send_replace(true);
    let mut sent = 0;
    while let Some(done) = noisy.join_next().await {
        sent += done??;
    }
    process.kill().await?;
    Ok(Beside { times, sent })
}

/// Sends the share of one connection of `rate` messages a second, and returns how many the queue took.
async fn make_noise(
    address: SocketAddr,
    noise: Noise,
    (connection, rate): (u32, u32),
    stopped: watch::Receiver<bool>,
) -> Result<usize> {
    let mut queue = connect(address).await?;
    let mut ticks = interval(Duration::from_secs(1) * MAX_ENTRIES as u32 * CONNECTIONS / rate);
    // A queue that is slower for a moment gets its messages all the same.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut taken, mut n) = (0, connection as usize + 1);
    while !*stopped.borrow() {
        ticks.tick().await;
        let mut messages = Vec::with_capacity(MAX_ENTRIES);
        for _ in 0..MAX_ENTRIES {
            messages.push(noise(n));
            n += CONNECTIONS as usize;
        }
        taken += send(&mut queue, "busy", &messages).await?;
    }
    Ok(taken)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(connection)
}

/// Waits until the quiet producer's activity is in the log.
async fn until_recorded(feed: &mut SendRequest<Body>, token: &str, id: &str) -> Result<()> {
    loop {
        let request = Request::get(format!("/api/v1/workspaces/quiet/activity/{id}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())?;
        feed.ready().await?;
        let response = feed.send_request(request).await?;
        let status = response.status();
        axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await?;
        match status.as_u16() {
            200 => return Ok(()),
            404 => tokio::time::sleep(LOOK).await,
            other => return Err(format!("the log answers {other}").into()),
        }
    }
}

/// Sends messages of a group to the queue, and returns how many it took. A full queue takes none.
async fn send(queue: &mut SendRequest<Body>, group: &str, messages: &[Value]) -> Result<usize> {
    let body = |message: &Value| match message {
        Value::String(text) => text.clone(),
        event => event.to_string(),
    };
    let entries = messages.iter().enumerate().map(|(id, message)| {
        json!({ "Id": id.to_string(), "MessageBody": body(message), "MessageGroupId": group })
    });
    let input = json!({ "QueueUrl": "queue", "Entries": entries.collect::<Vec<_>>() });
    let request = Request::post("/dev/queue")
        .header("host", "localhost")
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "AmazonSQS.SendMessageBatch")
        .body(Body::from(input.to_string()))?;
    queue.ready().await?;
    let response = queue.send_request(request).await?;
    let status = response.status();
    let answer = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await?;
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    let answer: Value = serde_json::from_slice(&answer)?;
    Ok(answer["Successful"].as_array().map_or(0, Vec::len))
}
