//! Feeds a function from a stream, as Lambda's event source mapping does: batches in order, each until it succeeds or is
//! given up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use store::backoff::{Backoff, Jitter};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::functions::{Function, Functions};
use crate::response::new_request_id;
use crate::stream::{Stream, StreamReader, sequence_number};
use crate::template::StreamSource;

/// Time between two reads when nothing was recorded here, because others may record into the same table.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pauses before the reads that look for what was just recorded here, because a stream may be a little late.
const PAUSES_AFTER_RECORDING: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(50)];
/// The longest first pause before a failed batch is retried.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before a failed batch is retried.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time to deliver what is in the stream when the gateway stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest life of an invocation that an unreliable stream kills, in milliseconds.
const MAX_KILLED_LIFE_MS: u64 = 40;

/// A task that feeds a function from a stream.
pub(crate) struct StreamPoller {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl StreamPoller {
    /// Starts to feed the stream's function with what is recorded from now on.
    ///
    /// # Errors
    /// One line, when the stream cannot be read or its function is not served here.
    pub(crate) async fn start(stream: &Stream, functions: &Arc<Functions>) -> Result<Self, String> {
        let source = stream.source().clone();
        let function = Function::named(&source.function);
        let function = function.ok_or_else(|| format!("{} is not served here", source.function))?;
        let reader = stream.follow().await?;
        let (stop, stopped) = oneshot::channel();
        let faults = stream.fault_seed().map(|seed| Jitter::new(fastrand::Rng::with_seed(seed)));
        let functions = Arc::clone(functions);
        let worker = Worker { source, functions, function, faults, jitter: Jitter::default() };
        Ok(Self { stop, task: tokio::spawn(worker.run(reader, stopped)) })
    }

    /// Delivers what is in the stream by now, within [`DRAIN_TIMEOUT`].
    pub(crate) async fn finish(self) {
        self.stop.send(()).ok();
        timeout(DRAIN_TIMEOUT, self.task).await.ok();
    }
}

struct Worker {
    source: StreamSource,
    functions: Arc<Functions>,
    function: Function,
    /// Chooses the faults of an unreliable stream.
    faults: Option<Jitter>,
    jitter: Jitter,
}

impl Worker {
    async fn run(self, mut reader: StreamReader, mut stopped: oneshot::Receiver<()>) {
        loop {
            let pauses: &[Duration] = tokio::select! {
                () = self.functions.recorded.notified() => &PAUSES_AFTER_RECORDING,
                () = sleep(POLL_INTERVAL) => &[Duration::ZERO],
                _ = &mut stopped => {
                    self.deliver_all(&mut reader).await;
                    return;
                }
            };
            for pause in pauses {
                sleep(*pause).await;
                if self.deliver_all(&mut reader).await {
                    break;
                }
            }
        }
    }

    /// Delivers everything that is in the stream now. Returns whether there was anything.
    async fn deliver_all(&self, reader: &mut StreamReader) -> bool {
        let mut had_records = false;
        while let Some(records) = reader.read().await {
            had_records = true;
            for batch in records.chunks(self.source.batch_size) {
                if let Some(lifetime) = self.next_fault() {
                    self.deliver_unreliably(batch, lifetime).await;
                }
                let mut backoff = Backoff::new(&self.jitter, FIRST_PAUSE, LONGEST_PAUSE);
                self.deliver(batch.to_vec(), 0, &mut backoff).await;
            }
        }
        had_records
    }

    /// How long an additional first invocation of the next batch lives, if the batch gets one.
    fn next_fault(&self) -> Option<Duration> {
        let faults = self.faults.as_ref()?;
        match faults.below(8) {
            0 => Some(self.source.timeout),
            1 | 2 => Some(Duration::from_millis(faults.below(MAX_KILLED_LIFE_MS))),
            _ => None,
        }
    }

    async fn deliver_unreliably(&self, batch: &[Value], lifetime: Duration) {
        let (request_id, timeout) = (new_request_id(), self.source.timeout);
        let invoked =
            self.functions.invoke_and_kill(self.function, payload(batch), &request_id, timeout, lifetime);
        let is_killed = invoked.await.is_err();
        tracing::info!(request_id, records = batch.len(), is_killed, "repeated batch on purpose");
    }

    /// Delivers a batch until it succeeds or is given up.
    async fn deliver(&self, mut batch: Vec<Value>, mut attempt: u32, backoff: &mut Backoff<'_>) {
        let source = &self.source;
        while !batch.is_empty() {
            let Some(failed_from) = self.first_failure(&batch).await else { return };
            batch.drain(..failed_from);
            if attempt >= source.max_retries {
                tracing::error!(records = batch.len(), "gave up records of the stream");
                return;
            }
            if source.bisects && batch.len() > 1 {
                let second_half = batch.split_off(batch.len() / 2);
                let first_half = std::mem::replace(&mut batch, second_half);
                Box::pin(self.deliver(first_half, attempt + 1, backoff)).await;
            }
            backoff.wait().await;
            attempt += 1;
        }
    }

    /// Invokes the function with a batch, and returns the index of the first record that failed.
    async fn first_failure(&self, batch: &[Value]) -> Option<usize> {
        let (request_id, timeout) = (new_request_id(), self.source.timeout);
        match self.functions.invoke(self.function, payload(batch), &request_id, timeout).await {
            Ok(answer) if self.source.reports_failures => first_reported(&answer, batch),
            Ok(_) => None,
            Err(failure) => {
                tracing::warn!(request_id, records = batch.len(), %failure, "failed batch of the stream");
                Some(0)
            }
        }
    }
}

fn payload(batch: &[Value]) -> Vec<u8> {
    json!({ "Records": batch }).to_string().into_bytes()
}

/// The index of the first record that an answer reports as failed. An answer that names an unknown record reports the whole
/// batch, as it does for Lambda.
fn first_reported(answer: &Value, batch: &[Value]) -> Option<usize> {
    let failures = answer["batchItemFailures"].as_array()?;
    let index = |failure: &Value| {
        let id = failure["itemIdentifier"].as_str()?;
        batch.iter().position(|record| sequence_number(record) == Some(id))
    };
    failures.iter().map(|failure| index(failure).unwrap_or(0)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_the_first_record_that_failed() {
        let batch = ["1", "2", "3"].map(|number| json!({ "dynamodb": { "SequenceNumber": number } }));
        let failed = |ids: &[&str]| {
            let failures = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>();
            first_reported(&json!({ "batchItemFailures": failures }), &batch)
        };
        assert_eq!(failed(&[]), None);
        assert_eq!(failed(&["2"]), Some(1));
        assert_eq!(failed(&["3", "2"]), Some(1));
        assert_eq!(failed(&["4"]), Some(0));
        assert_eq!(first_reported(&Value::Null, &batch), None);
    }
}
