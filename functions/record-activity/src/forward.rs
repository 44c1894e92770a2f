//! Forwarding: messages that need not be tried again here go to another queue at once. Those of unknown workspaces are
//! parked, and those that can never be recorded are refused.

use std::env;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, Config};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use chrono::TimeDelta;
use domain::error::Missing;
use domain::time::Timestamp;
use domain::{Error, Result};
use futures_util::stream::{self, StreamExt as _};
use http_api::problem::Problem;
use tokio::time::{Instant, timeout_at};

use crate::origin::{Origin, attribute};

/// The variables with the URLs of the two queues.
const RETRY_QUEUE_URL: &str = "RETRY_QUEUE_URL";
const REFUSED_QUEUE_URL: &str = "REFUSED_QUEUE_URL";
/// How long an event of an unknown workspace is parked, in all.
const PARKING_TIME: TimeDelta = TimeDelta::minutes(15);
/// The shortest and the longest delay of a parked message, in seconds.
const DELAYS: (i64, i64) = (5, 120);
/// The number of receives from which on a message is refused that only an outage kept from being recorded. After one
/// more, SQS would move it to a dead-letter queue, without its origin.
pub const LAST_RECEIVES: u32 = 19;
/// The most messages of a request.
const MAX_ENTRIES: usize = 10;
/// The most bytes of the messages of a request. SQS takes 1 MiB with the attributes, which have 2 KiB at most.
const MAX_BYTES: usize = 1024 * 1024;
/// The bytes that a message may have besides its body.
const ATTRIBUTE_BYTES: usize = 2 * 1024;
/// The longest reason, in characters.
const MAX_REASON: usize = 300;
/// Requests in flight.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// Sends messages to the queues of those that are tried later and of those that are not tried again.
#[derive(Debug, Clone)]
pub struct Forwarder {
    /// The client of SQS.
    pub client: Client,
    /// The URL of `RetryQueue`.
    pub retry_queue: String,
    /// The URL of `RefusedQueue`.
    pub refused_queue: String,
}

/// The queue that a message is forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// `RetryQueue`. The message is tried again after so many seconds, and was parked since then.
    Retry(i64, Timestamp),
    /// `RefusedQueue`. The message is not tried again.
    Refused,
}

impl Destination {
    /// The destination of a message whose recording ended in `error`, at `now`, when it was received for the `receives`th
    /// time; `None` if it stays in its queue and comes again.
    pub(crate) fn of(
        error: &Error,
        parked: Option<Timestamp>,
        receives: u32,
        now: Timestamp,
    ) -> Option<Self> {
        let since = parked.unwrap_or(now);
        let spent = now.utc() - since.utc();
        match error {
            Error::NotFound(Missing::RecordedWorkspace) if spent < PARKING_TIME => {
                let left = (PARKING_TIME - spent).num_milliseconds().div_euclid(1000) + 1;
                Some(Self::Retry(spent.num_seconds().clamp(DELAYS.0, DELAYS.1).min(left), since))
            }
            error if error.is_ours() && receives < LAST_RECEIVES => None,
            _ => Some(Self::Refused),
        }
    }
}

/// A message to forward.
pub(crate) struct Forward<'a> {
    pub(crate) origin: Origin,
    pub(crate) body: &'a str,
    pub(crate) destination: Destination,
    pub(crate) error: &'a Error,
}

impl Forwarder {
    /// The forwarder to the queues that the environment names, if it names them.
    pub async fn from_environment() -> Option<Self> {
        let queue = |name| env::var(name).ok().filter(|url| !url.is_empty());
        let (retry_queue, refused_queue) = (queue(RETRY_QUEUE_URL)?, queue(REFUSED_QUEUE_URL)?);
        let mut config = config().credentials_provider(EnvironmentVariableCredentialsProvider::new());
        config.set_region(EnvironmentVariableRegionProvider::new().region().await);
        config.set_endpoint_url(store::endpoint_url("AWS_ENDPOINT_URL_SQS"));
        Some(Self { client: Client::from_conf(config.build()), retry_queue, refused_queue })
    }

    /// Sends the messages, and returns for each whether the other queue has it. It waits for no request longer than until
    /// `deadline`, so that a message may be there although it is not known to be.
    pub(crate) async fn send(&self, messages: &[Forward<'_>], deadline: Instant) -> Vec<bool> {
        let mut requests: Vec<(&str, Vec<usize>)> = Vec::new();
        for queue in [&self.retry_queue, &self.refused_queue] {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for (index, message) in messages.iter().enumerate() {
                if self.queue_of(message.destination) != queue {
                    continue;
                }
                let size = message.body.len() + ATTRIBUTE_BYTES;
                if batch.len() == MAX_ENTRIES || (bytes + size > MAX_BYTES && !batch.is_empty()) {
                    requests.push((queue, std::mem::take(&mut batch)));
                    bytes = 0;
                }
                bytes += size;
                batch.push(index);
            }
            if !batch.is_empty() {
                requests.push((queue, batch));
            }
        }
        let mut sending = Vec::with_capacity(requests.len());
        for (queue, batch) in &requests {
            sending.push(timeout_at(deadline, self.send_batch(queue, messages, batch)));
        }
        let answers: Vec<_> = stream::iter(sending).buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await;
        let mut sent = vec![false; messages.len()];
        for answer in answers {
            match answer.unwrap_or_else(|_| Err(Error::Unavailable("no answer of SQS in time".into()))) {
                Ok(forwarded) => forwarded.into_iter().for_each(|index| sent[index] = true),
                Err(error) => tracing::error!(error = error.chain(), "messages not forwarded"),
            }
        }
        sent
    }

    fn queue_of(&self, destination: Destination) -> &String {
        match destination {
            Destination::Retry(..) => &self.retry_queue,
            Destination::Refused => &self.refused_queue,
        }
    }

    /// Sends the messages with these indexes, and returns the indexes of those that were accepted.
    async fn send_batch(&self, queue: &str, messages: &[Forward<'_>], batch: &[usize]) -> Result<Vec<usize>> {
        let entries = batch.iter().map(|&index| entry(index, &messages[index])).collect::<Result<_>>()?;
        let request = self.client.send_message_batch().queue_url(queue).set_entries(Some(entries));
        let answer = Box::pin(request.send()).await;
        let answer = answer.map_err(|error| Error::Unavailable(Box::new(error.into_service_error())))?;
        for failed in &answer.failed {
            let (code, message) = (failed.code.as_str(), failed.message.as_deref());
            tracing::error!(code, message, "message not forwarded");
        }
        Ok(answer.successful.iter().filter_map(|entry| entry.id.parse().ok()).collect())
    }
}

fn entry(index: usize, message: &Forward<'_>) -> Result<SendMessageBatchRequestEntry> {
    let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(message.body);
    let mut origin = message.origin.clone();
    let (mut delay, mut said) = (0, Vec::new());
    match message.destination {
        Destination::Retry(seconds, since) => {
            origin.parked = Some(since);
            delay = i32::try_from(seconds).unwrap_or_default();
        }
        Destination::Refused => {
            // Sent again by an operator, it has all the time once more.
            origin.parked = None;
            let Problem { code, detail, .. } = Problem::new(message.error, None);
            let code = serde_json::to_value(code).map_err(Error::internal)?;
            said = vec![("code", code.as_str().unwrap_or_default().to_owned()), ("reason", reason(&detail))];
        }
    }
    let mut entry = entry.delay_seconds(delay).set_message_group_id(origin.group.take());
    let said = said.into_iter().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in origin.attributes().into_iter().chain(said) {
        entry = entry.message_attributes(name, attribute(&value)?);
    }
    entry.build().map_err(Error::internal)
}

/// A reason as SQS takes it: not too long, and without characters that XML cannot hold.
fn reason(detail: &str) -> String {
    let is_allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    detail.chars().take(MAX_REASON).map(|c| if is_allowed(c) { c } else { '\u{fffd}' }).collect()
}

/// The transport, the retries and the time limits of the client.
pub fn config() -> Builder {
    Config::builder()
        .behavior_version_latest()
        .http_client(store::https())
        .retry_config(
            RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .operation_attempt_timeout(Duration::from_secs(3))
                .build(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_workspaces_are_parked_for_fifteen_minutes() {
        let start = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let unknown = Error::NotFound(Missing::RecordedWorkspace);
        let (mut now, mut parked, mut tries) = (start, None, 0);
        while let Some(Destination::Retry(delay, since)) = Destination::of(&unknown, parked, 1, now) {
            assert!((1..=120).contains(&delay) && since == start, "{delay}");
            (now, parked, tries) = (now.plus(TimeDelta::seconds(delay)), Some(since), tries + 1);
        }
        assert_eq!((now.utc() - start.utc()).num_seconds(), 901);
        assert_eq!(tries, 13);
    }

    #[test]
    fn only_what_may_succeed_stays() {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let outage = Error::Unavailable("away".into());
        let refused = Some(Destination::Refused);
        assert_eq!(Destination::of(&outage, None, LAST_RECEIVES - 1, now), None);
        assert_eq!(Destination::of(&outage, None, LAST_RECEIVES, now), refused);
        assert_eq!(Destination::of(&Error::bad_input("id", "is bad"), None, 1, now), refused);
        assert_eq!(reason("a\u{1}b"), "a\u{fffd}b");
    }
}
