//! The embedded DynamoDB, so that the gateway, the tests and the benchmarks need no other program.

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Credentials, Region};
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An embedded DynamoDB, served on its own port of the loopback interface.
#[derive(Debug)]
pub struct Engine {
    endpoint: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl Engine {
    /// Starts the engine, in memory or on a SQLite file, which it creates when there is none.
    ///
    /// # Errors
    /// One line, when the file cannot be opened or is no database.
    pub async fn start(db_path: Option<&Path>) -> Result<Self, String> {
        let name = match db_path {
            // The name lets a second connection open it, to prepare the stream.
            None => format!("file:{}?mode=memory&cache=shared", uuid::Uuid::new_v4()),
            Some(path) => path.to_str().ok_or("the database's path is not UTF-8")?.to_owned(),
        };
        let shown = db_path.map_or_else(|| "in memory".into(), |path| path.display().to_string());
        let failed = |error: &dyn std::fmt::Display| format!("cannot open the database {shown}: {error}");
        let database = Database::new(&name).map_err(|error| failed(&error))?;
        prepare_stream(&name).map_err(|error| failed(&error))?;
        Self::serve(database).await
    }

    /// Starts the engine on an existing SQLite file, which it cannot change. Every write fails.
    ///
    /// # Errors
    /// One line, when the file is missing, cannot be read, or is no database of this version of the engine.
    pub async fn start_read_only(db_path: &Path) -> Result<Self, String> {
        let database = read_only_name(db_path).and_then(|name| Database::new(&name).map_err(Into::into));
        let shown = db_path.display();
        let database = database.map_err(|error| format!("cannot read the database {shown}: {error}"))?;
        Self::serve(database).await
    }

    async fn serve(database: Database) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            // A dropped sender stops the engine too.
            stopped.await.ok();
        }));
        Ok(Self { endpoint, stop, served })
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

/// The error with all its causes, in one line. The SDK's own display adds everything that it knows about the request.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
