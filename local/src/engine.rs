//! DynamoDB embedded: the gateway, the tests and the benchmarks need nothing but this program.

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Credentials, Region};
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An embedded DynamoDB, served on a port of its own on the loopback interface.
#[derive(Debug)]
pub struct Engine {
    endpoint: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl Engine {
    /// Starts the engine, in memory or on a SQLite file that is made when it is not there.
    ///
    /// # Errors
    /// One line: the file cannot be opened, or is no database.
    pub async fn start(db_path: Option<&Path>) -> Result<Self, String> {
        let name = match db_path {
            // A name, so that it can be opened once more.
            None => format!("file:{}?mode=memory&cache=shared", uuid::Uuid::new_v4()),
            Some(path) => path.to_str().ok_or("the database's path is not UTF-8")?.to_owned(),
        };
        let shown = db_path.map_or_else(|| "in memory".into(), |path| path.display().to_string());
        let failed = |error: &dyn std::fmt::Display| format!("cannot open the database {shown}: {error}");
        let database = Database::new(&name).map_err(|error| failed(&error))?;
        prepare_stream(&name).map_err(|error| failed(&error))?;
        Self::serve(database).await
    }

    /// Starts the engine on a SQLite file that is there, and that it cannot change. Every write fails.
    ///
    /// # Errors
    /// One line: the file is not there, cannot be read, or is no database of this version of the engine.
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

    /// Where it is served.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops it, once the requests under way are answered.
    pub async fn stop(self) {
        self.stop.send(()).ok();
        if let Ok(Err(error)) = self.served.await {
            tracing::warn!(error, "the embedded engine did not stop cleanly");
        }
    }
}

/// Gives the engine's table of stream records the index that it lacks, without which every write reads all of it; and
/// removes from it what DynamoDB would not have any more, either.
fn prepare_stream(name: &str) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(name)?;
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS _stream_records_by_number
         ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
         DELETE FROM _stream_records WHERE created_at < unixepoch() - 24 * 3600;",
    )
}

/// The name of a file by which SQLite opens it for reading only: the engine passes it on as it is.
fn read_only_name(db_path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let path = db_path.canonicalize()?;
    let path = path.to_str().ok_or("its path is not UTF-8")?;
    // Beside this file another process may be at work, or was when it crashed, and what it wrote last is in there.
    // Without it nothing is, and SQLite need not make one.
    let alone = !Path::new(&format!("{path}-wal")).exists();
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("file:{escaped}?mode=ro{}", if alone { "&immutable=1" } else { "" }))
}

/// A client of an engine that checks no credentials: the embedded one, or DynamoDB Local.
pub async fn client(endpoint: &str) -> Client {
    Client::from_conf(config(endpoint).build())
}

/// What such a client is configured with.
pub fn config(endpoint: &str) -> Builder {
    shared::store::config()
        .region(Region::new(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint)
}

/// The region that every client here is in.
pub(crate) const REGION: &str = "us-east-1";

/// What every client here signs with: DynamoDB Local keeps the tables of different keys apart.
pub(crate) fn credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "local")
}
