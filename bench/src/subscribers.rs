//! The latency of updates to subscribers, and the gateway's memory for their connections.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::stream::{self, SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use harness::exchange;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Result;
use crate::report::Report;
use crate::stats::Times;

/// All connections.
const CONNECTIONS: usize = 1_000;
/// The connections that subscribe to the workspace of the recorded activities. The others subscribe to another one.
const SUBSCRIBERS: usize = 100;
/// The users of the connections.
const USERS: usize = 100;
/// Activities to record.
const ACTIVITIES: usize = 200;
/// The time between two activities.
const INTERVAL: Duration = Duration::from_millis(100);
/// Connections that are opened at the same time.
const MAX_CONCURRENT_CONNECTS: usize = 20;
/// The time limit of each step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The document of the subscribers.
pub(crate) const QUERY: &str = "subscription($ws: String!) { subscribeToActivity(projectId: $ws) {
    mutation node { id category html createdAt createdBy { id name email } project { id name } }
} }";

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Measures the gateway at this path, in a process of its own.
pub(crate) async fn measure(gateway: &Path, report: &mut Report) -> Result<()> {
    let (single, _) = deliver_to(gateway, 1).await?;
    let (crowd, memory) = deliver_to(gateway, SUBSCRIBERS).await?;
    report.note(
        format!("from recording to the one subscriber among {CONNECTIONS} connections, median"),
        single.to_string(),
    );
    let (median, p99) = (crowd.median() - single.median(), crowd.p99() - single.p99());
    report.check(
        format!("… to each of {SUBSCRIBERS} subscribers among {CONNECTIONS} connections"),
        format!("{crowd}: {median:.1} and {p99:.1} ms more"),
        "< 50 and < 250 ms more",
        median < 50.0 && p99 < 250.0,
    );
    report.check(
        format!("memory of the gateway with {CONNECTIONS} connections, at most"),
        format!("{memory:.0} MB"),
        "< 200 MB",
        memory < 200.0,
    );
    Ok(())
}

/// The times from recording an activity to its delivery to each of the subscribers, and the gateway's peak memory in
/// MB.
async fn deliver_to(gateway: &Path, subscribers: usize) -> Result<(Times, f64)> {
    let (mut process, address) = start(gateway).await?;
    let write = service_token(address).await?;
    for ws in ["subscribed", "other"] {
        create_workspace(address, &write, ws, &members(USERS)).await?;
    }
    let (deliveries, mut delivered) = mpsc::unbounded_channel();
    let connections = stream::iter(0..CONNECTIONS).map(|n| {
        let deliveries = deliveries.clone();
        async move {
            let ws = if n < subscribers { "subscribed" } else { "other" };
            let (sender, receiver) = connect(address, &format!("user-{}", n % USERS), ws).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((
                sender,
                tokio::spawn(listen(receiver, deliveries)),
            ))
        }
    });
    let connections: Vec<_> = connections.buffer_unordered(MAX_CONCURRENT_CONNECTS).try_collect().await?;
    let mut times = Times::default();
    for n in 0..ACTIVITIES {
        let began = Instant::now();
        record(address, &write, "subscribed", &comment(n, "Soon.")).await?;
        for _ in 0..subscribers {
            let (id, at): (String, Instant) =
                tokio::time::timeout(TIMEOUT, delivered.recv()).await?.ok_or("all connections closed")?;
            if id != format!("n-{n}") {
                return Err(format!("{id} was delivered instead of n-{n}").into());
            }
            times.push(at - began);
        }
        tokio::time::sleep_until(began + INTERVAL).await;
    }
    let memory = peak_memory(&process)?;
    drop(connections);
    process.kill().await?;
    Ok((times, memory))
}

/// The event of a comment.
pub(crate) fn comment(n: usize, text: &str) -> Value {
    json!({
        "id": format!("n-{n}"), "issue_id": "issue-1", "actor_type": "user", "actor_id": "owner",
        "action": "comment.created", "details": { "text": text }
    })
}

/// The members `user-0`, `user-1` and so on.
pub(crate) fn members(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user-{n}")).collect()
}

/// Creates a workspace with members.
pub(crate) async fn create_workspace(
    address: SocketAddr,
    token: &str,
    ws: &str,
    members: &[String],
) -> Result<()> {
    let event = |id: String, action: &str, details: Value| {
        json!({
            "id": id, "actor_type": "user", "actor_id": "owner", "action": action, "details": details
        })
    };
    let created = event("created".into(), "workspace.created", json!({ "name": ws }));
    let member = |user: &String| {
        event(format!("is-{user}"), "member.added", json!({ "user": user, "role": "member" }))
    };
    let events: Vec<Value> = std::iter::once(created).chain(members.iter().map(member)).collect();
    record(address, token, ws, &events.into()).await
}

/// A token of a service that may record everything.
pub(crate) async fn service_token(address: SocketAddr) -> Result<String> {
    token(address, "service", "activity:write+activity:admin").await
}

pub(crate) async fn start(gateway: &Path) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new(gateway);
    command
        .args(["--port", "0", "--no-demo"])
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut process = command.spawn()?;
    let output = process.stdout.take().ok_or("no output")?;
    let line = BufReader::new(output).lines().next_line().await?.ok_or("the gateway did not start")?;
    let port = line.rsplit(':').next().ok_or("the gateway names no port")?.parse()?;
    Ok((process, SocketAddr::from(([127, 0, 0, 1], port))))
}

pub(crate) async fn token(address: SocketAddr, sub: &str, scope: &str) -> Result<String> {
    let line = format!("GET /dev/token?sub={sub}&scope={scope} HTTP/1.1");
    let reply = exchange(address, &[&line, "host: localhost"], b"").await;
    Ok(reply.body["access_token"].as_str().ok_or("no token")?.to_owned())
}

pub(crate) async fn record(address: SocketAddr, token: &str, ws: &str, events: &Value) -> Result<()> {
    let line = format!("POST /api/v1/workspaces/{ws}/activity HTTP/1.1");
    let bearer = format!("authorization: Bearer {token}");
    let reply = exchange(address, &[&line, "host: localhost", &bearer], events.to_string().as_bytes()).await;
    if reply.status < 300 { Ok(()) } else { Err(format!("not recorded: {}", reply.body).into()) }
}

/// Connects and subscribes, and returns when the subscription has begun.
async fn connect(
    address: SocketAddr,
    user: &str,
    ws: &str,
) -> Result<(SplitSink<Socket, Message>, SplitStream<Socket>)> {
    let (mut sender, mut receiver) = open(address, user).await?;
    if subscribe(&mut sender, &mut receiver, "1", QUERY, ws).await? {
        return Ok((sender, receiver));
    }
    Err("the subscription was refused".into())
}

/// Connects, and returns when the session has begun.
pub(crate) async fn open(
    address: SocketAddr,
    user: &str,
) -> Result<(SplitSink<Socket, Message>, SplitStream<Socket>)> {
    let token = token(address, user, "").await?;
    let mut request = format!("ws://localhost:{}/graphql", address.port()).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, mut receiver) = client_async(request, stream).await?.0.split();
    let init =
        json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
    sender.send(Message::text(init.to_string())).await?;
    expect(&mut receiver, "connection_ack").await?;
    Ok((sender, receiver))
}

/// Subscribes, and returns when the subscription has begun; false when it was refused.
pub(crate) async fn subscribe(
    sender: &mut SplitSink<Socket, Message>,
    receiver: &mut SplitStream<Socket>,
    id: &str,
    query: &str,
    ws: &str,
) -> Result<bool> {
    let payload = json!({ "query": query, "variables": { "ws": ws } });
    let subscribe = json!({ "id": id, "type": "subscribe", "payload": payload });
    sender.send(Message::text(subscribe.to_string())).await?;
    Ok(expect(receiver, "pong").await? == "pong")
}

/// Waits for a message of this kind, or for an error, and returns its kind. Updates may come before it.
async fn expect(receiver: &mut SplitStream<Socket>, kind: &str) -> Result<String> {
    loop {
        let message = tokio::time::timeout(TIMEOUT, receiver.next()).await?.ok_or("closed")??;
        let message: Value = serde_json::from_str(message.to_text()?)?;
        match message["type"].as_str() {
            Some(found) if found == kind || found == "error" => return Ok(found.to_owned()),
            Some("next") => {}
            _ => return Err(format!("not a {kind}: {message}").into()),
        }
    }
}

/// Sends the id of each update with the time of its arrival.
pub(crate) async fn listen(
    mut receiver: SplitStream<Socket>,
    deliveries: mpsc::UnboundedSender<(String, Instant)>,
) {
    while let Some(Ok(message)) = receiver.next().await {
        let at = Instant::now();
        let Ok(text) = message.to_text() else { continue };
        let Ok(message) = serde_json::from_str::<Value>(text) else { continue };
        let id = &message["payload"]["data"]["subscribeToActivity"]["node"]["id"];
        if let Some(id) = id.as_str().filter(|id| id.starts_with("n-")) {
            deliveries.send((id.to_owned(), at)).ok();
        }
    }
}

/// The peak memory of a process, in MB.
pub(crate) fn peak_memory(process: &Child) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id().ok_or("it has ended")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
