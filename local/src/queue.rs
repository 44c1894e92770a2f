//! A queue in memory that keeps what an SQS standard queue promises: a message is given out until it is deleted, in no
//! particular order, and after too many attempts it is put among the dead letters. It ends with the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::time::{Clock, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// The most messages that wait or are being worked on. SQS has no such limit, memory has.
const MAX_MESSAGES: usize = 10_000;
/// The same in bytes of their bodies.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The most dead letters that are kept; past these the oldest go.
const MAX_DEAD: usize = 1000;
/// The same in bytes of their bodies.
const MAX_DEAD_BYTES: usize = 16 * 1024 * 1024;
/// The most bytes of a batch, as text within JSON: Lambda gives a function 6 MB.
const MAX_BATCH_BYTES: usize = 6 * 1024 * 1024;
/// What a batch has around the body of each message, in bytes.
const AROUND_BODY: usize = 1024;

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its name, the same at every receipt.
    pub(crate) id: String,
    /// What was sent.
    pub(crate) body: String,
    /// When it was sent.
    pub(crate) sent: Timestamp,
    /// When it was first given out.
    pub(crate) first_received: Timestamp,
    /// When it was last given out.
    pub(crate) last_received: Timestamp,
    /// How often it was given out.
    pub(crate) receives: u64,
}

/// The queue takes no more for now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl std::fmt::Display for Full {
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
    /// Told when there may be something to receive.
    arrived: Notify,
    /// How many messages wait or are being worked on.
    length: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// Messages by when they can be received; the number tells apart what came at once.
    waiting: BTreeMap<(Instant, u64), Message>,
    /// The number of the next to wait.
    next: u64,
    /// Messages that wait or are being worked on.
    count: usize,
    /// Bytes of their bodies.
    bytes: usize,
    dead: VecDeque<Message>,
    dead_bytes: usize,
}

impl Queue {
    /// An empty queue. A message that was given out and not deleted is given out again after `visibility`, until it
    /// has been received `max_receives` times.
    pub(crate) fn new(clock: Clock, max_receives: u64, visibility: Duration) -> Self {
        let (arrived, length) = (Notify::new(), watch::Sender::new(0));
        Self { clock, max_receives, visibility, state: Mutex::default(), arrived, length }
    }

    /// Takes a message, to be given out after `delay`. Gives its id.
    ///
    /// # Errors
    /// [`Full`] past [`MAX_MESSAGES`] or [`MAX_BYTES`].
    pub(crate) fn send(&self, body: String, delay: Duration) -> Result<String, Full> {
        let mut state = self.lock();
        if !state.has_room(&body) {
            return Err(Full);
        }
        let id = state.enqueue(body, (self.clock)(), Instant::now() + delay);
        self.changed(&state);
        Ok(id)
    }

    /// Waits for messages and takes up to `limit` of them, fewer if they are large. Each has to be given back to
    /// [`Queue::settle`].
    pub(crate) async fn receive(&self, limit: usize) -> Vec<Message> {
        loop {
            let next = {
                let mut state = self.lock();
                let batch = state.take(limit, (self.clock)());
                let next = state.waiting.first_key_value().map(|((at, _), _)| *at);
                if !batch.is_empty() {
                    if next.is_some() {
                        // There may be work for another consumer.
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

    /// Takes back received messages. Those that are done are deleted; the others wait out the visibility timeout or,
    /// after their last attempt, become dead letters.
    pub(crate) fn settle(&self, batch: Vec<Message>, is_done: impl Fn(&Message) -> bool) {
        let visible = Instant::now() + self.visibility;
        let mut state = self.lock();
        for message in batch {
            let done = is_done(&message);
            if !done && message.receives < self.max_receives {
                state.wait(message, visible);
                continue;
            }
            state.count -= 1;
            state.bytes -= message.body.len();
            if !done {
                state.bury(message);
            }
        }
        self.changed(&state);
    }

    /// The dead letters, oldest first.
    pub(crate) fn dead_letters(&self) -> Vec<Message> {
        self.lock().dead.iter().cloned().collect()
    }

    /// Sends the dead letters again, as SQS does: as new messages. Those that find no room stay. Says how many went.
    pub(crate) fn redrive(&self) -> usize {
        let mut state = self.lock();
        let mut sent = 0;
        while let Some(letter) = state.dead.pop_front() {
            if !state.has_room(&letter.body) {
                state.dead.push_front(letter);
                break;
            }
            state.dead_bytes -= letter.body.len();
            state.enqueue(letter.body, (self.clock)(), Instant::now());
            sent += 1;
        }
        self.changed(&state);
        sent
    }

    /// How many messages wait or are being worked on.
    pub(crate) fn len(&self) -> usize {
        *self.length.borrow()
    }

    /// Waits until no message waits or is being worked on.
    pub(crate) async fn emptied(&self) {
        self.length.subscribe().wait_for(|length| *length == 0).await.ok();
    }

    fn changed(&self, state: &State) {
        self.length.send_replace(state.count);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic can only come from the logger, after the change it speaks of.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, body: &str) -> bool {
        self.count < MAX_MESSAGES && self.bytes + body.len() <= MAX_BYTES
    }

    fn enqueue(&mut self, body: String, sent: Timestamp, visible: Instant) -> String {
        self.count += 1;
        self.bytes += body.len();
        let id = Uuid::new_v4().to_string();
        let (first_received, last_received) = (sent, sent);
        let message = Message { id: id.clone(), body, sent, first_received, last_received, receives: 0 };
        self.wait(message, visible);
        id
    }

    fn wait(&mut self, message: Message, until: Instant) {
        self.next += 1;
        self.waiting.insert((until, self.next), message);
    }

    fn take(&mut self, limit: usize, now: Timestamp) -> Vec<Message> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < limit
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= Instant::now()
        {
            bytes += first.get().weight();
            if bytes > MAX_BATCH_BYTES && !batch.is_empty() {
                break;
            }
            let mut message = first.remove();
            if message.receives == 0 {
                message.first_received = now;
            }
            message.receives += 1;
            message.last_received = now;
            batch.push(message);
        }
        batch
    }

    fn bury(&mut self, message: Message) {
        let (id, receives) = (&message.id, message.receives);
        tracing::warn!("message {id} is a dead letter after {receives} attempts; see /dev/dead-letters");
        self.dead_bytes += message.body.len();
        self.dead.push_back(message);
        while (self.dead.len() > MAX_DEAD || self.dead_bytes > MAX_DEAD_BYTES)
            && let Some(oldest) = self.dead.pop_front()
        {
            self.dead_bytes -= oldest.body.len();
            tracing::warn!("there are too many dead letters; message {} is gone", oldest.id);
        }
    }
}

impl Message {
    /// Bytes it takes of a batch.
    fn weight(&self) -> usize {
        let escaped =
            self.body.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\t' | b'\n' | b'\r')).count();
        self.body.len() + escaped + AROUND_BODY
    }
}

#[cfg(test)]
mod tests;
