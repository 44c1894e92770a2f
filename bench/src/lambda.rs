//! Lambda on this machine: a runtime API, and a function's program that runs against it as it would there.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Result;

/// A running function; it ends with this.
pub(crate) struct Lambda {
    name: String,
    process: Process,
    invoke: mpsc::Sender<String>,
    told: mpsc::UnboundedReceiver<Told>,
    limit: Duration,
    served: JoinHandle<std::io::Result<()>>,
    /// From the process's start until it asked for its first event.
    pub(crate) ready: Duration,
    /// CPU time until then.
    pub(crate) cpu: Duration,
}

/// What the function told its runtime API.
#[derive(Debug)]
enum Told {
    Ready(Instant),
    Answer(Instant, String),
}

struct Api {
    told: mpsc::UnboundedSender<Told>,
    events: Mutex<mpsc::Receiver<String>>,
    limit: Duration,
}

impl Lambda {
    /// Starts a program, with an environment as bare as Lambda's and the table `log` at `endpoint`. It has `limit` to
    /// start, and for each invocation.
    pub(crate) async fn start(
        program: &Path,
        endpoint: &str,
        environment: &[(&str, &Path)],
        limit: Duration,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (tell, mut told) = mpsc::unbounded_channel();
        let (invoke, events) = mpsc::channel(1);
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answer))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(answer))
            .with_state(Arc::new(Api { told: tell, events: Mutex::new(events), limit }));
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
        let Ok(Some(Told::Ready(ready))) = timeout(limit, told.recv()).await else {
            return Err(format!("{name} did not come back from its start").into());
        };
        let cpu = process.cpu()?;
        Ok(Self { name, process, invoke, told, limit, served, ready: ready - began, cpu })
    }

    /// Invokes it, and gives the time it took and its answer.
    pub(crate) async fn invoke(&mut self, event: String) -> Result<(Duration, String)> {
        let invoked = Instant::now();
        self.invoke.send(event).await?;
        loop {
            match timeout(self.limit, self.told.recv()).await {
                Ok(Some(Told::Ready(_))) => {}
                Ok(Some(Told::Answer(at, answer))) => return Ok((at - invoked, answer)),
                _ => return Err(format!("{} did not answer", self.name).into()),
            }
        }
    }

    /// CPU time it has used so far, in all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    /// The most memory it has had so far, in bytes.
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

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let now = Instant::now();
    let mut events = api.events.lock().await;
    api.told.send(Told::Ready(now)).ok();
    // After the last event there is nothing more: wait to be ended.
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

async fn answer(State(api): State<Arc<Api>>, answer: String) -> impl IntoResponse {
    api.told.send(Told::Answer(Instant::now(), answer)).ok();
    axum::http::StatusCode::ACCEPTED
}

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
