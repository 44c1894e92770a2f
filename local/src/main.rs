//! Serves everything on http://localhost:8000: `cargo run -p local`.

mod location;
mod options;
mod signals;
mod verify_table;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use domain::time::system_clock;
use local::engine::{self, Engine};
use local::functions::Function;
use local::stream::Stream;
use local::template::Template;
use local::token::SigningKey;
use local::{Backend, Gateway, database_file, demo, openapi, signing_key, tables};
use store::{Connections, Store};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::{EnvFilter, fmt};

use location::{CONNECTIONS_TABLE, LOG_TABLE};
use options::{Args, Command};

/// Time for the requests in progress to be answered, which is more than any of them takes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            // Help that nobody reads is no failure.
            error.print().ok();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            // With the usage, if the options are at fault and not their values.
            error.print().ok();
            return ExitCode::from(2);
        }
    };
    match run(args).await {
        Ok(status) => status,
        Err(message) => {
            print_error(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes one line to standard error.
fn print_error(text: &str) {
    let line: Vec<&str> = text.split_whitespace().collect();
    writeln!(std::io::stderr(), "{}", line.join(" ")).ok();
}

async fn run(args: Args) -> Result<ExitCode, String> {
    if matches!(args.command, Some(Command::Openapi)) {
        return print(&openapi::document()).map(|()| ExitCode::SUCCESS);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_log_filter()));
    let ansi = std::io::stderr().is_terminal();
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(ansi).init();
    if let Some(Command::Verify(args)) = &args.command {
        let (lines, is_good) = verify_table::run(args).await?;
        return print(&lines).map(|()| if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut signals = signals::receive()?;
    tokio::select! {
        started = start(&args) => {
            let (listener, gateway, engine) = started?;
            serve(listener, gateway, engine, signals).await?;
        }
        _ = signals.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The default log filter: information from our own crates, and errors from all others.
fn default_log_filter() -> String {
    let libraries = lambda_support::LIBRARIES.iter().map(|&name| name.to_owned());
    let ours = libraries.chain(Function::all().map(Function::log_target));
    ours.fold("error,local=info".to_owned(), |filter, target| format!("{filter},{target}=info"))
}

/// Prepares everything that serving needs.
async fn start(args: &Args) -> Result<(TcpListener, Gateway, Option<Engine>), String> {
    // The port comes first, so that a second start with the same options does not touch the file of the first.
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
    if engine.is_none() {
        engine::require_dynamodb(&client, &endpoint).await?;
    }
    let template = Template::load()?;
    let connections_table = format!("{CONNECTIONS_TABLE}-{port}");
    for (logical_id, table) in [("LogTable", LOG_TABLE), ("ConnectionsTable", &connections_table)] {
        let ensured = tables::ensure(&client, &template, logical_id, table, true).await;
        ensured.map_err(|error| format!("{endpoint}: {error}"))?;
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
    let key = signing_key(args.db_path.as_deref());
    let jitter = fastrand::Rng::new();
    let backend = Backend { store, connections, stream: Some(stream), clock, jitter, key };
    let gateway = Gateway::new(backend, &template, url.clone());
    let mut greeting =
        format!("Activity Log   {url}\nDocumentation  {url}/docs\nGraphQL        {url}/graphql\n");
    greeting += &format!("Tokens         {url}/dev/token?sub=service&scope=activity:write+activity:admin\n");
    if !args.no_demo {
        greeting += &demo::invitation(&url, &gateway.token(demo::OWNER, ""));
    }
    print(&greeting)?;
    Ok((listener, gateway, engine))
}

/// The key that is kept for a database file, or for this user. Without it, tokens end with this process.
fn signing_key(db_path: Option<&Path>) -> SigningKey {
    let file = match db_path {
        Some(path) => database_file::locate(path).map(|path| signing_key::beside(&path)),
        None => signing_key::in_cache(|name| std::env::var_os(name))
            .ok_or_else(|| "no variable HOME or XDG_CACHE_HOME says where to keep it".to_owned()),
    };
    file.and_then(|file| SigningKey::kept_in(&file)).unwrap_or_else(|reason| {
        tracing::warn!(reason, "the key of tokens is not kept, so tokens end with this process");
        SigningKey::of_process()
    })
}

/// Serves until the first signal, and then finishes the requests in progress, until the second signal.
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
        () = tokio::time::sleep(SHUTDOWN_TIMEOUT) => {}
    }
    Ok(())
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot print: {error}"))
}
