//! Messages to connections, through API Gateway's management API.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{Builder, Config};
use aws_sdk_apigatewaymanagement::error::SdkError;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use domain::subscription::ConnectionId;
use store::backoff::{Backoff, Jitter};
use tokio::time::{Instant, timeout, timeout_at};

use crate::fair::{FairLimiter, Lane};

/// Messages in flight, for all connections together. Each takes API Gateway some 10 to 30 ms.
const MAX_CONCURRENT_MESSAGES: usize = 128;
/// Messages of one topic in flight.
const MAX_CONCURRENT_MESSAGES_OF_TOPIC: usize = 64;
/// The longest first pause between the attempts to send a message.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between those attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(3_200);
/// The [`RetryBudget`] of a connection. A longer one would let a slow connection hold up the others. A client that is
/// disconnected resumes where it was.
const RETRY_BUDGET: Duration = Duration::from_secs(3);
/// A message that takes at most this long costs nothing of the [`RetryBudget`].
const FREE_DURATION: Duration = Duration::from_millis(200);
/// Time to connect to the API.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for one attempt, whether it connects or not.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time to close a connection, with all attempts.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// Sends messages to connections, and closes them. Clones share their limit of messages in flight.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    in_flight: Arc<FairLimiter>,
    jitter: Arc<Jitter>,
}

/// Why a message did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryError {
    /// The connection is gone.
    Gone,
    /// The API refused the message, failed until the retry budget was spent, or did not answer before the deadline.
    Refused,
}

/// The time that one connection may still take from the others: failed attempts, the pauses after them, and whatever
/// successful attempts take beyond [`FREE_DURATION`].
#[derive(Debug)]
pub(crate) struct RetryBudget(Duration);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(RETRY_BUDGET)
    }
}

impl RetryBudget {
    fn spend(&mut self, time: Duration) {
        self.0 = self.0.saturating_sub(time);
    }

    /// When the budget is spent if nothing succeeds from now on.
    fn spent_at(&self) -> Instant {
        Instant::now() + self.0
    }
}

/// The configuration of every client of the management API at `endpoint`, such as
/// `https://{api}.execute-api.{region}.amazonaws.com/{stage}`, but for its region and its credentials.
///
/// The client retries nothing, because the SDK's retries share one allowance. A few connections that refuse messages
/// would use up the retries of all others.
pub fn config(endpoint: String) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(ATTEMPT_TIMEOUT);
    Config::builder()
        .behavior_version_latest()
        .http_client(store::https())
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build())
}

impl Sender {
    /// A sender through `client`, which [`config`] configured. `rng` decides its pauses between attempts.
    pub fn new(client: Client, rng: fastrand::Rng) -> Self {
        let in_flight = FairLimiter::new(MAX_CONCURRENT_MESSAGES, MAX_CONCURRENT_MESSAGES_OF_TOPIC);
        Self { client, in_flight, jitter: Arc::new(Jitter::new(rng)) }
    }

    /// A sender through the API at `endpoint`, with the region and the credentials that Lambda puts into the environment.
    pub(crate) async fn connect(endpoint: String) -> Self {
        let mut config = config(endpoint).credentials_provider(EnvironmentVariableCredentialsProvider::new());
        config.set_region(EnvironmentVariableRegionProvider::new().region().await);
        Self::new(Client::from_conf(config.build()), fastrand::Rng::new())
    }

    /// Sends a message, with retries until `deadline` or until the connection has used up 3 s. The message may arrive
    /// twice, because the answer to a successful attempt may be lost.
    ///
    /// # Errors
    /// Why the message did not arrive. The caller must send nothing more to that connection, because its client would miss
    /// this message for good.
    pub async fn send(
        &self,
        to: &ConnectionId,
        message: impl Fn() -> String,
        deadline: Instant,
    ) -> Result<(), DeliveryError> {
        let lane = Lane { topic: "", user: to.as_str() };
        self.send_within(lane, to, message, &mut RetryBudget::default(), deadline).await
    }

    /// Sends one of several messages, with the budget that the earlier ones left, when it is the turn of `lane`.
    pub(crate) async fn send_within(
        &self,
        lane: Lane<'_>,
        to: &ConnectionId,
        message: impl Fn() -> String,
        budget: &mut RetryBudget,
        deadline: Instant,
    ) -> Result<(), DeliveryError> {
        let mut backoff = Backoff::new(&self.jitter, FIRST_PAUSE, LONGEST_PAUSE);
        while !budget.0.is_zero() {
            // The message is made only then, so that no more messages exist than are in flight.
            let in_flight = self.in_flight.acquire(lane).await;
            let began = Instant::now();
            let request = self.client.post_to_connection().connection_id(to.as_str());
            let request = request.data(Blob::new(message())).send();
            let answer = timeout_at(deadline, request).await;
            drop(in_flight);
            match answer {
                Ok(Ok(_)) => {
                    budget.spend(began.elapsed().saturating_sub(FREE_DURATION));
                    return Ok(());
                }
                Ok(Err(error)) => check_retryable(to, &error)?,
                Err(_) => return Err(DeliveryError::Refused),
            }
            budget.spend(began.elapsed());
            let paused = Instant::now();
            if !backoff.wait_until(deadline.min(budget.spent_at())).await {
                return Err(DeliveryError::Refused);
            }
            budget.spend(paused.elapsed());
        }
        Err(DeliveryError::Refused)
    }

    /// Whether the API says that a connection is gone.
    pub(crate) async fn is_gone(&self, connection: &ConnectionId) -> bool {
        let found = self.client.get_connection().connection_id(connection.as_str()).send().await;
        found.is_err_and(|error| error.as_service_error().is_some_and(|error| error.is_gone_exception()))
    }

    /// Closes a connection, with retries; false when that did not succeed within 4 s. Its client reconnects, and resumes
    /// after the last message that it received.
    pub async fn close(&self, connection: &ConnectionId) -> bool {
        let mut backoff = Backoff::new(&self.jitter, FIRST_PAUSE, LONGEST_PAUSE);
        let closed = async {
            loop {
                let request = self.client.delete_connection().connection_id(connection.as_str());
                match request.send().await {
                    Ok(_) => break,
                    Err(error) if error.as_service_error().is_some_and(|error| error.is_gone_exception()) => {
                        break;
                    }
                    Err(_) => backoff.wait().await,
                }
            }
        };
        timeout(CLOSE_TIMEOUT, closed).await.is_ok()
    }
}

/// Checks that another attempt may succeed: the client or the API had too many messages, or the API failed.
fn check_retryable(to: &ConnectionId, error: &SdkError<PostToConnectionError>) -> Result<(), DeliveryError> {
    let connection = to.as_str();
    match error.as_service_error() {
        Some(error) if error.is_gone_exception() => Err(DeliveryError::Gone),
        Some(error) if error.is_forbidden_exception() || error.is_payload_too_large_exception() => {
            tracing::error!(%error, connection, "refused message");
            Err(DeliveryError::Refused)
        }
        _ => {
            tracing::debug!(connection, "failed attempt to send message");
            Ok(())
        }
    }
}
