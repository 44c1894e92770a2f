//! How long a function takes to start, and to answer its first request.
//!
//! The function runs as it does on Lambda, with this program for Lambda and DynamoDB: a runtime API and a TLS
//! endpoint in front of the embedded engine. What it is compared with is a function that does nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use harness::{World, token_claims};
use local::engine::Engine;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::report::Report;
use crate::stats::Times;
use crate::tls::Endpoint;

const BARE: &str = "bare";
const FUNCTIONS: &[&str] = &[BARE, "list-workspace-activity", "list-issue-activity"];
/// Starts of each function; they take turns.
const RUNS: usize = 60;
/// The most a function may take longer than the bare one, in milliseconds.
const MORE: f64 = 10.0;
/// Lambda invokes what is ready; this long after, nothing of the start is still at work.
const SETTLE: Duration = Duration::from_millis(30);
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Measured {
    ready: Times,
    /// CPU time until then.
    cpu: Times,
    first: Times,
}

pub(crate) async fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    let engine = Engine::start(None).await?;
    let endpoint = engine.endpoint().to_owned();
    let world = World::on(&endpoint, "log", Some(engine)).await;
    let data = Data::new(1_000_000);
    world.given_workspace(WORKSPACE).await;
    // All of one issue, so that both functions list as much.
    let issue = "issue-1";
    world
        .given((0..98).map(|index| {
            let mut event = data.row(index).event();
            event["issue_id"] = json!(issue);
            event
        }))
        .await;
    let files = std::env::temp_dir().join(format!("activity-log-bench-{}", std::process::id()));
    std::fs::create_dir_all(&files)?;
    let tls = Endpoint::start(endpoint.trim_start_matches("http://"), &files).await?;
    let mut measured: Vec<Measured> = FUNCTIONS.iter().map(|_| Measured::default()).collect();
    for round in 0..=RUNS {
        for (name, measured) in FUNCTIONS.iter().zip(&mut measured) {
            let started = start(&directory.join(name), name, &tls, issue).await?;
            // The first reads the program from disk.
            if round > 0 {
                measured.ready.push(started.ready);
                measured.cpu.push(started.cpu);
                measured.first.push(started.first);
            }
        }
    }
    std::fs::remove_dir_all(files)?;
    world.stop().await;
    let Some((bare, listing)) = measured.split_first() else { return Ok(()) };
    report.note("certificates a function reads at start", tls.trusted.to_string());
    report.note(
        "start to ready, bare",
        format!("{:.2} ms, {:.2} ms of CPU", bare.ready.median(), bare.cpu.median()),
    );
    report.note("first answer, bare", format!("{:.2} ms", bare.first.median()));
    for (name, measured) in FUNCTIONS.iter().skip(1).zip(listing) {
        let target = || format!("≤ bare + {MORE} ms");
        let (ready, first) = (measured.ready.median(), measured.first.median());
        let more = ready - bare.ready.median();
        let figures = format!("{ready:.2} ms (bare + {more:.2} ms), {:.2} ms of CPU", measured.cpu.median());
        report.check(format!("start to ready, {name}"), figures, target(), more <= MORE);
        let more = first - bare.first.median();
        let figures = format!("{first:.2} ms (bare + {more:.2} ms)");
        report.check(format!("first answer, {name}"), figures, target(), more <= MORE);
    }
    Ok(())
}

/// One start.
struct Started {
    ready: Duration,
    cpu: Duration,
    first: Duration,
}

/// What the function told its runtime API.
#[derive(Debug)]
enum Told {
    Ready(Instant),
    Answer(Instant, String),
}

struct Lambda {
    told: mpsc::UnboundedSender<Told>,
    events: Mutex<mpsc::Receiver<String>>,
}

async fn start(program: &PathBuf, name: &str, tls: &Endpoint, issue: &str) -> Result<Started> {
    let (told, mut hear) = mpsc::unbounded_channel();
    let (invoke, events) = mpsc::channel(1);
    let lambda = Arc::new(Lambda { told, events: Mutex::new(events) });
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .with_state(lambda);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    let served = tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.envs([
        ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_SESSION_TOKEN", "local"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &tls.url),
        ("LOG_TABLE", "log"),
    ]);
    command.env("SSL_CERT_FILE", &tls.trust);
    let began = Instant::now();
    let process = Process(command.spawn().map_err(|error| format!("{}: {error}", program.display()))?);
    let silent = || format!("{name} did not come back from its start or its request");
    let Some(Told::Ready(ready)) = timeout(LIMIT, hear.recv()).await? else { return Err(silent().into()) };
    let cpu = process.cpu()?;
    tokio::time::sleep(SETTLE).await;
    let invoked = Instant::now();
    invoke.send(event(name, issue).to_string()).await?;
    let Some(Told::Answer(answered, answer)) = timeout(LIMIT, hear.recv()).await? else {
        return Err(silent().into());
    };
    served.abort();
    let answer: Value = serde_json::from_str(&answer)?;
    let listed: Vec<Value> = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
    if answer["statusCode"] != 200 || (listed.len() != 50 && name != BARE) {
        return Err(format!("{name} answered {answer}").into());
    }
    Ok(Started { ready: ready - began, cpu, first: answered - invoked })
}

async fn next(State(lambda): State<Arc<Lambda>>) -> impl IntoResponse {
    let now = Instant::now();
    let mut events = lambda.events.lock().await;
    lambda.told.send(Told::Ready(now)).ok();
    // After the only event there is nothing more: wait to be ended.
    let event = match events.recv().await {
        Some(event) => event,
        None => std::future::pending().await,
    };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + LIMIT;
    let headers = [
        ("lambda-runtime-aws-request-id", "00000000-0000-4000-8000-000000000000".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event)
}

async fn response(State(lambda): State<Arc<Lambda>>, answer: String) -> impl IntoResponse {
    lambda.told.send(Told::Answer(Instant::now(), answer)).ok();
    axum::http::StatusCode::ACCEPTED
}

/// A request for the first page.
fn event(name: &str, issue: &str) -> Value {
    let (path, parameters) = match name {
        "list-issue-activity" => (
            format!("/api/v1/workspaces/{WORKSPACE}/issues/{issue}/activity"),
            json!({ "ws_id": WORKSPACE, "issue_id": issue }),
        ),
        _ => (format!("/api/v1/workspaces/{WORKSPACE}/activity"), json!({ "ws_id": WORKSPACE })),
    };
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": { "host": "api.example" }, "pathParameters": parameters, "isBase64Encoded": false,
        "requestContext": {
            "requestId": "req-1", "stage": "$default",
            "http": { "method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1" },
            "authorizer": { "jwt": { "claims": token_claims("owner", ""), "scopes": null } },
        }
    })
}

/// A running function; it ends with this.
struct Process(Child);

impl Process {
    /// CPU time it has used so far, in all its threads.
    fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let times = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += times.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
