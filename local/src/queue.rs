//! A queue in memory with the guarantees of an SQS standard queue. A message is delivered until it is deleted, in no
//! particular order. After too many attempts it becomes a dead letter. The queue ends with the process.
//!
//! It is fair, as SQS's queues are: while a group of messages has too many in flight, those of others come first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::time::{Clock, Timestamp};
use md5::{Digest as _, Md5};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::template::QueueSource;

/// The most messages that are waiting or in flight. SQS has no such limit, but memory has one.
const MAX_MESSAGES: usize = 100_000;
/// The most bytes of their bodies.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The most dead letters. Beyond it the oldest are dropped.
const MAX_DEAD_LETTERS: usize = 1000;
/// The most bytes of their bodies.
const MAX_DEAD_LETTER_BYTES: usize = 16 * 1024 * 1024;
/// The most bytes of a batch, as text within JSON. A function gets at most 6 MB.
const MAX_BATCH_BYTES: usize = 6 * 1024 * 1024;
/// The bytes that a batch holds beside the body of each message.
const ENVELOPE_BYTES: usize = 1024;
/// A group is noisy when it has at least this many messages in flight, and more than a tenth of all:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html>.
const NOISY_MESSAGES: usize = 30;
/// The share of the messages in flight that a group may have, as one in so many.
const NOISY_SHARE: usize = 10;

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its id, the same at every receipt.
    pub(crate) id: String,
    /// The text that was sent.
    pub(crate) body: String,
    /// Its sender and its attributes.
    pub(crate) label: Label,
    /// When it was sent.
    pub(crate) sent: Timestamp,
    /// When it was first received.
    pub(crate) first_received: Timestamp,
    /// When it was last received.
    pub(crate) last_received: Timestamp,
    /// How often it was received.
    pub(crate) receives: u64,
}

/// The sender, the group and the attributes of a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Label {
    /// The access key id of its sender, or nothing.
    pub(crate) sender: String,
    /// The group that it belongs to. A message without one is a group of its own.
    pub(crate) group: Option<String>,
    /// The texts of its message attributes.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A queue that feeds a function.
#[derive(Clone)]
pub(crate) struct FunctionQueue {
    pub(crate) queue: Arc<Queue>,
    /// Its description in the template.
    pub(crate) source: QueueSource,
}

/// The error of a message that the queue has no room for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl std::fmt::Display for QueueFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The queue holds {MAX_MESSAGES} messages, or {MAX_BYTES} bytes, and takes no more for now.")
    }
}

/// A queue with its dead letters.
pub(crate) struct Queue {
    clock: Clock,
    max_receives: u64,
    visibility: Duration,
    state: Mutex<State>,
    /// Notified when there may be something to receive.
    arrived: Notify,
    /// How many messages are waiting or in flight.
    length: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// Waiting messages, by the time from which they can be received, and by a number, because such times may be equal.
    waiting: BTreeMap<(Instant, u64), Message>,
    /// The number of the last message that began to wait.
    last_number: u64,
    /// Messages in flight, by their group.
    in_flight: HashMap<Option<String>, usize>,
    /// Messages that are waiting or in flight.
    count: usize,
    /// The bytes of their bodies.
    bytes: usize,
    dead_letters: VecDeque<Message>,
    dead_letter_bytes: usize,
}

impl Queue {
    /// An empty queue. A received message that is not deleted can be received again after `visibility`, until it has been
    /// received `max_receives` times.
    pub(crate) fn new(clock: Clock, max_receives: u64, visibility: Duration) -> Self {
        let (arrived, length) = (Notify::new(), watch::Sender::new(0));
        Self { clock, max_receives, visibility, state: Mutex::default(), arrived, length }
    }

    /// Sends a message, which can be received after `delay`, and returns its id.
    ///
    /// # Errors
    /// Past [`MAX_MESSAGES`] or [`MAX_BYTES`].
    pub(crate) fn send(&self, body: String, delay: Duration) -> Result<String, QueueFull> {
        self.send_labelled(body, Label::default(), delay)
    }

    /// Sends a message with a label.
    ///
    /// # Errors
    /// As [`Queue::send`].
    pub(crate) fn send_labelled(
        &self,
        body: String,
        label: Label,
        delay: Duration,
    ) -> Result<String, QueueFull> {
        let mut state = self.lock();
        if !state.has_room(&body) {
            return Err(QueueFull);
        }
        let id = state.enqueue(body, label, (self.clock)(), Instant::now() + delay);
        self.notify(&state);
        Ok(id)
    }

    /// Sends a message to the dead letters, and returns its id.
    pub(crate) fn send_dead(&self, body: String, label: Label) -> String {
        let message = Message::new(body, label, (self.clock)());
        let id = message.id.clone();
        self.lock().add_dead_letter(message);
        id
    }

    /// Waits for messages and receives up to `limit` of them, fewer if they are large. The caller hands each to
    /// [`Queue::settle`].
    pub(crate) async fn receive(&self, limit: usize) -> Vec<Message> {
        loop {
            let next = {
                let mut state = self.lock();
                let batch = state.take(limit, (self.clock)());
                let next = state.waiting.first_key_value().map(|((at, _), _)| *at);
                if !batch.is_empty() {
                    if next.is_some() {
                        // Another consumer may take the rest.
                        self.arrived.notify_one();
                    }
                    return batch;
                }
                next
            };
            match next {
                None => self.arrived.notified().await,
                Some(at) => {
                    tokio::time::timeout_at(at, self.arrived.notified()).await.ok();
                }
            }
        }
    }

    /// Deletes the received messages that are done. The others wait for the visibility timeout, or become dead letters after
    /// their last attempt.
    pub(crate) fn settle(&self, batch: Vec<Message>, is_done: impl Fn(&Message) -> bool) {
        let visible = Instant::now() + self.visibility;
        let mut state = self.lock();
        for message in batch {
            state.land(&message.label.group);
            let done = is_done(&message);
            if !done && message.receives < self.max_receives {
                state.wait(message, visible);
                continue;
            }
            state.count -= 1;
            state.bytes -= message.body.len();
            if !done {
                state.add_dead_letter(message);
            }
        }
        self.notify(&state);
    }

    /// The dead letters, oldest first.
    pub(crate) fn dead_letters(&self) -> Vec<Message> {
        self.lock().dead_letters.iter().cloned().collect()
    }

    /// Sends the dead letters again as new messages, as SQS does, and returns how many. Those without room stay.
    pub(crate) fn redrive(&self) -> usize {
        let mut state = self.lock();
        let mut sent = 0;
        while let Some(letter) = state.dead_letters.pop_front() {
            if !state.has_room(&letter.body) {
                state.dead_letters.push_front(letter);
                break;
            }
            state.dead_letter_bytes -= letter.body.len();
            state.enqueue(letter.body, letter.label, (self.clock)(), Instant::now());
            sent += 1;
        }
        self.notify(&state);
        sent
    }

    /// How many messages are waiting or in flight.
    pub(crate) fn len(&self) -> usize {
        *self.length.borrow()
    }

    /// Waits until no message is waiting or in flight.
    pub(crate) async fn wait_until_empty(&self) {
        self.length.subscribe().wait_for(|length| *length == 0).await.ok();
    }

    fn notify(&self, state: &State) {
        self.length.send_replace(state.count);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only the logger can panic while the lock is held, after the change that it reports.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, body: &str) -> bool {
        self.count < MAX_MESSAGES && self.bytes + body.len() <= MAX_BYTES
    }

    fn enqueue(&mut self, body: String, label: Label, sent: Timestamp, visible: Instant) -> String {
        self.count += 1;
        self.bytes += body.len();
        let message = Message::new(body, label, sent);
        let id = message.id.clone();
        self.wait(message, visible);
        id
    }

    fn wait(&mut self, message: Message, until: Instant) {
        self.last_number += 1;
        self.waiting.insert((until, self.last_number), message);
    }

    /// Takes messages that can be received now: the oldest first, but those of noisy groups last.
    fn take(&mut self, limit: usize, now: Timestamp) -> Vec<Message> {
        let visible = self.waiting.range(..=(Instant::now(), u64::MAX));
        let (noisy, quiet): (Vec<_>, Vec<_>) =
            visible.partition(|(_, message)| self.is_noisy(&message.label.group));
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for (key, message) in quiet.into_iter().chain(noisy).take(limit) {
            bytes += message.batch_bytes();
            if bytes > MAX_BATCH_BYTES && !taken.is_empty() {
                break;
            }
            taken.push(*key);
        }
        let mut batch = Vec::with_capacity(taken.len());
        for mut message in taken.iter().filter_map(|key| self.waiting.remove(key)).collect::<Vec<_>>() {
            *self.in_flight.entry(message.label.group.clone()).or_default() += 1;
            if message.receives == 0 {
                message.first_received = now;
            }
            message.receives += 1;
            message.last_received = now;
            batch.push(message);
        }
        batch
    }

    fn is_noisy(&self, group: &Option<String>) -> bool {
        let in_flight = self.in_flight.get(group).copied().unwrap_or_default();
        let all: usize = self.in_flight.values().sum();
        group.is_some() && in_flight >= NOISY_MESSAGES && in_flight * NOISY_SHARE > all
    }

    /// Takes a message back from its consumer.
    fn land(&mut self, group: &Option<String>) {
        if let Some(in_flight) = self.in_flight.get_mut(group) {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.in_flight.remove(group);
            }
        }
    }

    fn add_dead_letter(&mut self, message: Message) {
        let (message_id, receives) = (&message.id, message.receives);
        tracing::warn!(message_id, receives, "new dead letter, shown at /dev/dead-letters");
        self.dead_letter_bytes += message.body.len();
        self.dead_letters.push_back(message);
        while (self.dead_letters.len() > MAX_DEAD_LETTERS || self.dead_letter_bytes > MAX_DEAD_LETTER_BYTES)
            && let Some(oldest) = self.dead_letters.pop_front()
        {
            self.dead_letter_bytes -= oldest.body.len();
            tracing::warn!(message_id = oldest.id, "dropped oldest dead letter");
        }
    }
}

impl Message {
    fn new(body: String, label: Label, sent: Timestamp) -> Self {
        let (id, first_received, last_received) = (Uuid::new_v4().to_string(), sent, sent);
        Self { id, body, label, sent, first_received, last_received, receives: 0 }
    }

    /// The bytes that it takes of a batch.
    fn batch_bytes(&self) -> usize {
        let escaped =
            self.body.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\t' | b'\n' | b'\r')).count();
        self.body.len() + escaped + ENVELOPE_BYTES
    }
}

/// The digest by which SQS lets a sender check what arrived.
pub(crate) fn body_md5(body: &str) -> String {
    Md5::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
