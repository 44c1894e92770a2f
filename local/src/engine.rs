//! The embedded DynamoDB, so that the gateway, the tests and the benchmarks need no other program.

use std::fs::File;
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Credentials, Region};
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use dynoxide::{Database, DynoxideError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::database_file;

/// An embedded DynamoDB, served on its own port of the loopback interface.
#[derive(Debug)]
pub struct Engine {
    /// Keeps other engines off the file, until this is dropped.
    _lock: Option<File>,
    endpoint: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl Engine {
    /// Starts the engine, in memory or on a SQLite file, which it creates when there is none. One engine at a time uses a
    /// file.
    ///
    /// # Errors
    /// One line that says what to do, when the file cannot be used.
    pub async fn start(db_path: Option<&Path>) -> Result<Self, String> {
        // SQLite gives names such as `:memory:` a meaning, but no absolute path.
        let path = db_path.map(database_file::locate).transpose()?;
        let name = match &path {
            // The name lets a second connection open it, to prepare the stream.
            None => format!("file:{}?mode=memory&cache=shared", uuid::Uuid::new_v4()),
            Some(path) => path.to_str().ok_or("the database's path is not UTF-8")?.to_owned(),
        };
        let lock = path.as_deref().map(database_file::open).transpose()?;
        let path = path.as_deref().unwrap_or(Path::new("in memory"));
        let database = Database::new(&name).map_err(|error| explain(path, error))?;
        prepare_stream(&name).map_err(|error| database_file::explain(path, &error))?;
        Self::serve(database, lock).await
    }

    /// Starts the engine on an existing SQLite file, which it cannot change. Every write fails.
    ///
    /// # Errors
    /// One line that says what to do, when the file is missing, in use, cannot be read, or is no database of this version of
    /// the engine.
    pub async fn start_read_only(db_path: &Path) -> Result<Self, String> {
        database_file::require_at_rest(db_path)?;
        let name = read_only_name(db_path);
        let name =
            name.map_err(|error| format!("cannot read the database {}: {error}", db_path.display()))?;
        let database = Database::new(&name).map_err(|error| explain(db_path, error))?;
        Self::serve(database, None).await
    }

    async fn serve(database: Database, lock: Option<File>) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            // A dropped sender stops the engine too.
            stopped.await.ok();
        }));
        Ok(Self { _lock: lock, endpoint, stop, served })
    }

    /// The URL at which it is served.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops the engine after it has answered the requests in flight.
    pub async fn stop(self) {
        self.stop.send(()).ok();
        if let Ok(Err(error)) = self.served.await {
            tracing::warn!(error, "unclean stop of the embedded engine");
        }
    }
}

/// An error of the engine about its file, in one line.
fn explain(path: &Path, error: DynoxideError) -> String {
    match error {
        DynoxideError::SqliteError(error) => database_file::explain(path, &error),
        error => format!("cannot use the database {}: {error}", path.display()),
    }
}

/// Adds an index to the engine's table of stream records, because without it every write reads the whole table. Deletes
/// records of more than a day, which DynamoDB does not keep either.
fn prepare_stream(name: &str) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(name)?;
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS _stream_records_by_number
         ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
         DELETE FROM _stream_records WHERE created_at < unixepoch() - 24 * 3600;",
    )
}

/// The name by which SQLite opens a file for reading only. The engine passes the name on as it is.
fn read_only_name(db_path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let path = db_path.canonicalize()?;
    let path = path.to_str().ok_or("its path is not UTF-8")?;
    // A write-ahead log beside the file means that another process uses the file, or did so when it crashed. SQLite has to
    // read that log. Without one the file is complete, and SQLite need not create a log.
    let is_complete = !Path::new(&format!("{path}-wal")).exists();
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{escaped}?mode=ro{}", if is_complete { "&immutable=1" } else { "" }))
}

/// A client of an engine that checks no credentials: the embedded one, or DynamoDB Local.
pub async fn client(endpoint: &str) -> Client {
    Client::from_conf(config(endpoint).build())
}

/// The configuration of such a client.
pub fn config(endpoint: &str) -> Builder {
    store::config()
        .region(Region::new(CLIENT_REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint)
}

/// The region of every client.
pub(crate) const CLIENT_REGION: &str = "us-east-1";

/// The credentials of every client, which are equal because DynamoDB Local separates the tables of different keys.
pub(crate) fn credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "local")
}

/// Checks that there is a DynamoDB at `endpoint`, which `client` uses.
///
/// # Errors
/// One line that says what to do.
pub async fn require_dynamodb(client: &Client, endpoint: &str) -> Result<(), String> {
    let failed = match client.list_tables().limit(1).send().await {
        // Any server may answer with a body that has nothing in it.
        Ok(tables) if tables.table_names.is_some() => return Ok(()),
        Ok(_) => "it answers something else".to_owned(),
        Err(error) if error.as_service_error().is_some() => {
            let meta = error.meta();
            let reason = meta.message().or(meta.code()).unwrap_or("it answers something else");
            reason.to_owned()
        }
        Err(error) => error_chain(&error),
    };
    Err(format!(
        "no DynamoDB answers at {endpoint} ({failed}); start one there, such as DynamoDB Local, or correct \
         --dynamodb-endpoint"
    ))
}

/// The error with all its causes, in one line. The SDK's own display adds everything that it knows about the request.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
