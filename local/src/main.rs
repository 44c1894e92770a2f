//! Serves everything on http://localhost:8000: `cargo run -p local`.

mod verify_table;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use local::engine::{self, Engine};
use local::stream::Stream;
use local::template::Template;
use local::{Behind, Gateway, demo, openapi, tables};
use shared::store::{Connections, Store};
use shared::time::system_clock;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::{EnvFilter, fmt};

/// The table of activities, wherever it is.
const LOG_TABLE: &str = "activity-log";
/// The table of connections, but for the port: each gateway has connections of its own.
const CONNECTIONS_TABLE: &str = "activity-log-connections";
/// What is logged unless `RUST_LOG` says otherwise: our requests, and others' failures.
const LOGGED: &str = "error,local=info,shared=info,shell=info,list_workspace_activity=info,\
                      list_issue_activity=info,record_activity=info,graphql=info,\
                      live=info,subscriptions=info,broadcast=info";
/// How long requests under way are waited for; none takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves the Activity Log on this machine, with nothing else to install.
#[derive(Debug, Parser)]
#[command(name = "local", args_conflicts_with_subcommands = true)]
struct Args {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Keep the data in this SQLite file, instead of in memory
    #[arg(long, value_name = "FILE", conflicts_with = "dynamodb_endpoint")]
    db_path: Option<PathBuf>,
    /// Use this DynamoDB, such as DynamoDB Local, instead of the embedded one
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    dynamodb_endpoint: Option<String>,
    /// Do not record the demo workspace
    #[arg(long)]
    no_demo: bool,
    /// Tell subscribers as badly as Lambda may: batches twice, or killed half way, as this number has it
    #[arg(long, value_name = "SEED")]
    unreliable: Option<u64>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the REST API's OpenAPI document, and stop
    Openapi,
    Verify(verify_table::Args),
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    let url: axum::http::Uri = text.parse().map_err(|_| "not a URL")?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(text.to_owned()),
        _ => Err("must begin with http:// or https://"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // Help; when nobody reads it, that is no failure.
            error.print().ok();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            // The first paragraph says what is wrong, the rest how to use it.
            let text = error.to_string();
            say(text.split("\n\n").next().unwrap_or(&text));
            return ExitCode::from(2);
        }
    };
    match run(args).await {
        Ok(status) => status,
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes one line to standard error.
fn say(text: &str) {
    let line: Vec<&str> = text.split_whitespace().collect();
    writeln!(std::io::stderr(), "{}", line.join(" ")).ok();
}

async fn run(args: Args) -> Result<ExitCode, String> {
    if matches!(args.command, Some(Command::Openapi)) {
        return print(&openapi::document()).map(|()| ExitCode::SUCCESS);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let ansi = std::io::stderr().is_terminal();
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(ansi).init();
    if let Some(Command::Verify(args)) = &args.command {
        let (lines, good) = verify_table::run(args).await?;
        return print(&lines).map(|()| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut signals = signals()?;
    tokio::select! {
        started = start(&args) => {
            let (listener, gateway, engine) = started?;
            serve(listener, gateway, engine, signals).await?;
        }
        _ = signals.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes everything ready to serve.
async fn start(args: &Args) -> Result<(TcpListener, Gateway, Option<Engine>), String> {
    // First of all, so that a second start with the same file does not get to the file.
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await;
    let listener = listener.map_err(|error| format!("cannot listen on 127.0.0.1:{}: {error}", args.port))?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let (engine, endpoint) = match &args.dynamodb_endpoint {
        Some(endpoint) => (None, endpoint.clone()),
        None => {
            let engine = Engine::start(args.db_path.as_deref()).await?;
            let endpoint = engine.endpoint().to_owned();
            (Some(engine), endpoint)
        }
    };
    let client = engine::client(&endpoint).await;
    let template = Template::load()?;
    let connections_table = format!("{CONNECTIONS_TABLE}-{port}");
    for (logical_id, table) in [("LogTable", LOG_TABLE), ("ConnectionsTable", &connections_table)] {
        let made = tables::ensure(&client, &template, logical_id, table, true).await;
        made.map_err(|error| format!("{endpoint}: {error}"))?;
    }
    let stream = Stream::open(&endpoint, &client, &template, "LogTable", LOG_TABLE).await;
    let mut stream = stream.map_err(|error| format!("{endpoint}: {error}"))?;
    if let Some(seed) = args.unreliable {
        stream = stream.unreliable(seed);
    }
    let store = Store::new(client, LOG_TABLE);
    let connections = Connections::beside(&store, connections_table);
    let url = format!("http://localhost:{port}");
    let clock = system_clock();
    if !args.no_demo {
        demo::record(store.clone(), fastrand::Rng::new(), clock()).await?;
    }
    let behind = Behind { store, connections, stream: Some(stream), clock, jitter: fastrand::Rng::new() };
    let gateway = Gateway::new(behind, &template, url.clone());
    let mut greeting =
        format!("Activity Log   {url}\nDocumentation  {url}/docs\nGraphQL        {url}/graphql\n");
    greeting += &format!("Tokens         {url}/dev/token?sub=service&scope=activity:write\n");
    if !args.no_demo {
        greeting += &demo::invitation(&url, &gateway.token(demo::OWNER, ""));
    }
    print(&greeting)?;
    Ok((listener, gateway, engine))
}

/// Serves until the first signal, then lets what is under way finish, until the second.
async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    engine: Option<Engine>,
    mut signals: mpsc::Receiver<()>,
) -> Result<(), String> {
    let (stop, stopped) = oneshot::channel::<()>();
    let mut served = tokio::spawn(local::serve(listener, gateway, async {
        stopped.await.ok();
    }));
    tokio::select! {
        _ = &mut served => return Err("the gateway stopped by itself".to_owned()),
        _ = signals.recv() => {}
    }
    stop.send(()).ok();
    let finished = async {
        served.await.ok();
        if let Some(engine) = engine {
            engine.stop().await;
        }
    };
    tokio::select! {
        () = finished => {}
        _ = signals.recv() => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
    Ok(())
}

/// Something for each Ctrl-C and each SIGTERM, from now on.
fn signals() -> Result<mpsc::Receiver<()>, String> {
    let (sender, receiver) = mpsc::channel(1);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signal = signal(kind).map_err(|error| format!("cannot wait for signals: {error}"))?;
            let sender = sender.clone();
            tokio::spawn(
                async move { while signal.recv().await.is_some() && sender.send(()).await.is_ok() {} },
            );
        }
    }
    #[cfg(not(unix))]
    tokio::spawn(
        async move { while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).await.is_ok() {} },
    );
    Ok(receiver)
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot print: {error}"))
}
