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
        let database = match db_path {
            None => Database::memory(),
            Some(path) => Database::new(path.to_str().ok_or("the database's path is not UTF-8")?),
        };
        let shown = db_path.map_or_else(|| "in memory".into(), |path| path.display().to_string());
        let database = database.map_err(|error| format!("cannot open the database {shown}: {error}"))?;
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

/// A client of an engine that checks no credentials: the embedded one, or DynamoDB Local.
pub async fn client(endpoint: &str) -> Client {
    Client::from_conf(config(endpoint).build())
}

/// What such a client is configured with.
pub fn config(endpoint: &str) -> Builder {
    shared::store::config()
        .region(Region::new("us-east-1"))
        // DynamoDB Local keeps the tables of different keys apart, so everyone uses these.
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(endpoint)
}
