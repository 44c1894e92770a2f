//! Messages to connections, through API Gateway's management API.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{Builder, Config};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use shared::live::ConnectionId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Messages on their way at once, of all connections. Each takes API Gateway some 10 to 30 ms.
const AT_ONCE: usize = 64;
/// The longest pause after the first attempt that failed; it doubles with each.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may keep waiting what is sent to it at once: attempts that fail, the pauses after them, and what is
/// more than usual of those that succeed. Longer, and it would hold up the others; it catches up when it comes again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a message may take without trying anybody's patience.
const USUAL: Duration = Duration::from_millis(200);
/// Time for a connection to be closed.
const CLOSING: Duration = Duration::from_secs(4);

/// Sends to connections.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    room: Arc<Semaphore>,
}

/// Why a message did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The connection is gone.
    Gone,
    /// It was not taken, however often it was sent.
    Refused,
}

/// Sends through the API at `endpoint`, with region and credentials of the environment, where Lambda puts them.
pub(crate) async fn connect(endpoint: String) -> Sender {
    let mut config = config(endpoint).credentials_provider(EnvironmentVariableCredentialsProvider::new());
    config.set_region(EnvironmentVariableRegionProvider::new().region().await);
    Sender::new(Client::from_conf(config.build()))
}

/// What every client of the management API is configured with. It tries nothing again by itself: the SDK's retries share
/// an allowance, so that a few connections that take nothing would use up that of the others.
pub fn config(endpoint: String) -> Builder {
    Config::builder()
        .behavior_version_latest()
        .http_client(shared::store::https())
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .read_timeout(Duration::from_secs(3))
                .operation_timeout(Duration::from_secs(3))
                .build(),
        )
}

impl Sender {
    /// Sends through `client`, which must try nothing again by itself.
    pub fn new(client: Client) -> Self {
        Self { client, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Sends a message, again and again until `deadline` if need be, or until the connection has kept it waiting for too
    /// long. One whose answer was lost may arrive twice.
    ///
    /// # Errors
    /// Why it was given up. A connection that missed one must not be sent the next.
    pub async fn send(
        &self,
        to: &ConnectionId,
        message: impl Fn() -> String,
        deadline: Instant,
    ) -> Result<(), Lost> {
        self.send_next(to, message, &mut Patience::default(), deadline).await
    }

    /// The same for one of several messages, with the patience that those before have left.
    pub(crate) async fn send_next(
        &self,
        to: &ConnectionId,
        message: impl Fn() -> String,
        patience: &mut Patience,
        deadline: Instant,
    ) -> Result<(), Lost> {
        for attempt in 0.. {
            if patience.0.is_zero() {
                break;
            }
            // Of the room that all share, a pause takes none; and messages are made for it only.
            let place = self.room.acquire().await;
            let began = Instant::now();
            let request = self.client.post_to_connection().connection_id(to.as_str());
            let request = request.data(Blob::new(message())).send();
            let answer = tokio::time::timeout_at(deadline, request).await;
            drop(place);
            match answer {
                Ok(Ok(_)) => {
                    patience.0 = patience.0.saturating_sub(began.elapsed().saturating_sub(USUAL));
                    return Ok(());
                }
                Ok(Err(error)) => match error.as_service_error() {
                    Some(error) if error.is_gone_exception() => return Err(Lost::Gone),
                    Some(error)
                        if error.is_forbidden_exception() || error.is_payload_too_large_exception() =>
                    {
                        tracing::error!(%error, connection = to.as_str(), "a message was refused");
                        return Err(Lost::Refused);
                    }
                    // Too much at once, for the client or for the API; or the API failed, or did not answer.
                    _ => tracing::debug!(attempt, connection = to.as_str(), "a message was not taken"),
                },
                Err(_) => return Err(Lost::Refused),
            }
            tokio::time::sleep_until((Instant::now() + pause(attempt)).min(deadline)).await;
            patience.0 = patience.0.saturating_sub(began.elapsed());
        }
        Err(Lost::Refused)
    }

    /// Closes a connection; false when that did not succeed in some seconds. Its client connects again, and goes on from
    /// the last message it got.
    pub async fn close(&self, connection: &ConnectionId) -> bool {
        let closed = async {
            for attempt in 0.. {
                let request = self.client.delete_connection().connection_id(connection.as_str());
                match request.send().await {
                    Ok(_) => break,
                    Err(error) if error.as_service_error().is_some_and(|error| error.is_gone_exception()) => {
                        break;
                    }
                    Err(_) => tokio::time::sleep(pause(attempt)).await,
                }
            }
        };
        tokio::time::timeout(CLOSING, closed).await.is_ok()
    }
}

/// What is left of the patience with a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(PATIENCE)
    }
}

fn pause(attempt: u32) -> Duration {
    (PAUSE * 2u32.pow(attempt.min(6))).mul_f64(0.5 + fastrand::f64() / 2.0)
}
