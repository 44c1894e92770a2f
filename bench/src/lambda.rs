//! Lambda on this machine: a runtime API, and a function's program that runs against it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Version};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use domain::time::system_clock;
use harness::token_claims;
use local::http_api::{HttpApi, HttpCall};
use local::template::Template;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Result;

/// A running function, whose process ends when this is dropped.
pub(crate) struct Lambda {
    name: String,
    process: Process,
    invoke: mpsc::Sender<String>,
    reports: mpsc::UnboundedReceiver<RuntimeReport>,
    limit: Duration,
    served: JoinHandle<std::io::Result<()>>,
    /// The time from the start of the process until it asked for its first event.
    pub(crate) ready: Duration,
    /// The CPU time until then.
    pub(crate) cpu: Duration,
}

/// A call of the runtime API.
#[derive(Debug)]
enum RuntimeReport {
    Ready(Instant),
    Response(Instant, String),
}

struct Api {
    reports: mpsc::UnboundedSender<RuntimeReport>,
    events: Mutex<mpsc::Receiver<String>>,
    limit: Duration,
}

impl Lambda {
    /// Starts a program with an environment as bare as Lambda's, and the table `log` at `endpoint`. The start and each
    /// invocation may take `limit`.
    pub(crate) async fn start(
        program: &Path,
        endpoint: &str,
        environment: &[(&str, &Path)],
        limit: Duration,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (report, mut reports) = mpsc::unbounded_channel();
        let (invoke, events) = mpsc::channel(1);
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(respond))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(respond))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::new(Api { reports: report, events: Mutex::new(events), limit }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let served = tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.envs([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", &name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("LOG_TABLE", "log"),
        ]);
        command.envs(environment.iter().copied());
        let began = Instant::now();
        let process = Process(command.spawn().map_err(|error| format!("{}: {error}", program.display()))?);
        let Ok(Some(RuntimeReport::Ready(ready))) = timeout(limit, reports.recv()).await else {
            return Err(format!("{name} did not start in time").into());
        };
        let cpu = process.cpu()?;
        Ok(Self { name, process, invoke, reports, limit, served, ready: ready - began, cpu })
    }

    /// Invokes the function, and returns the time that it took, and its response.
    pub(crate) async fn invoke(&mut self, event: String) -> Result<(Duration, String)> {
        let invoked = Instant::now();
        self.invoke.send(event).await?;
        loop {
            match timeout(self.limit, self.reports.recv()).await {
                Ok(Some(RuntimeReport::Ready(_))) => {}
                Ok(Some(RuntimeReport::Response(at, response))) => return Ok((at - invoked, response)),
                _ => return Err(format!("{} did not respond", self.name).into()),
            }
        }
    }

    /// The CPU time that all its threads used so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    /// The most memory that it used so far, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// The event of an HTTP request of the workspace's owner.
pub(crate) fn http_event(method: &str, path: &str, query: &str, body: String) -> Result<Value> {
    let api = HttpApi::new(&Template::load()?);
    let matched = api.route(method, path).map_err(|error| format!("{method} {path}: {error:?}"))?;
    let call = HttpCall {
        method,
        path,
        query,
        version: Version::HTTP_11,
        headers: &HeaderMap::new(),
        body: body.into_bytes(),
        claims: token_claims("owner", "").as_object().cloned(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: "req-1",
        time: system_clock()(),
        domain: "api.example",
    };
    Ok(api.event(&matched, call)?)
}

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let now = Instant::now();
    let mut events = api.events.lock().await;
    api.reports.send(RuntimeReport::Ready(now)).ok();
    // No event follows the last one, so the function waits for its end.
    let event = match events.recv().await {
        Some(event) => event,
        None => std::future::pending().await,
    };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + api.limit;
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

async fn respond(State(api): State<Arc<Api>>, response: String) -> impl IntoResponse {
    api.reports.send(RuntimeReport::Response(Instant::now(), response)).ok();
    axum::http::StatusCode::ACCEPTED
}

struct Process(Child);

impl Process {
    /// The CPU time that all its threads used so far.
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
