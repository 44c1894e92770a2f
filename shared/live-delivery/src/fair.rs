//! Bounds the messages in flight, and shares them fairly: topic by topic, and in a topic user by user.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The topic and the user that a message is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) topic: &'a str,
    pub(crate) user: &'a str,
}

/// Bounds the messages in flight. When there is room, the topics take turns, and in each topic its users do. So however
/// many messages one of them has, the others wait for one of its messages only.
#[derive(Debug)]
pub(crate) struct FairLimiter {
    /// The most messages in flight.
    max: usize,
    /// The most of one topic. It is less, so that another topic need not even wait for a turn.
    max_of_topic: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    topics: HashMap<Arc<str>, TopicQueue>,
    /// The topics that have waiting messages, in the order of their turns.
    turns: VecDeque<Arc<str>>,
}

#[derive(Debug, Default)]
struct TopicQueue {
    in_flight: usize,
    users: HashMap<Arc<str>, VecDeque<Waiter>>,
    /// The users that have waiting messages, in the order of their turns.
    turns: VecDeque<Arc<str>>,
}

type Waiter = oneshot::Sender<InFlight>;

/// A message in flight, until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    limiter: Arc<FairLimiter>,
    topic: Arc<str>,
}

impl FairLimiter {
    /// At most `max` messages in flight, and `max_of_topic` of one topic.
    pub(crate) fn new(max: usize, max_of_topic: usize) -> Arc<Self> {
        Arc::new(Self { max, max_of_topic, state: Mutex::default() })
    }

    /// Waits until a message may be sent.
    pub(crate) async fn acquire(self: &Arc<Self>, lane: Lane<'_>) -> InFlight {
        loop {
            let receiver = {
                let mut state = self.lock();
                let topic: Arc<str> = lane.topic.into();
                let queue = state.topics.entry(Arc::clone(&topic)).or_default();
                let has_room = queue.in_flight < self.max_of_topic;
                if has_room && state.in_flight < self.max {
                    state.begin(&topic);
                    return InFlight { limiter: Arc::clone(self), topic };
                }
                state.wait(topic, lane.user.into())
            };
            // The limiter drops no waiter before it is served.
            if let Ok(in_flight) = receiver.await {
                return in_flight;
            }
        }
    }

    fn release(self: &Arc<Self>, topic: &str) {
        let served = {
            let mut state = self.lock();
            state.end(topic);
            let mut served = Vec::new();
            while state.in_flight < self.max
                && let Some((topic, waiter)) = state.next(self.max_of_topic)
            {
                state.begin(&topic);
                served.push((InFlight { limiter: Arc::clone(self), topic }, waiter));
            }
            served
        };
        for (in_flight, waiter) in served {
            // A waiter that was cancelled just now drops its message, which makes room again.
            waiter.send(in_flight).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, topic: &Arc<str>) {
        self.in_flight += 1;
        self.topics.entry(Arc::clone(topic)).or_default().in_flight += 1;
    }

    fn end(&mut self, topic: &str) {
        self.in_flight -= 1;
        if let Some(queue) = self.topics.get_mut(topic) {
            queue.in_flight -= 1;
            if queue.in_flight == 0 && queue.turns.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    fn wait(&mut self, topic: Arc<str>, user: Arc<str>) -> oneshot::Receiver<InFlight> {
        let (waiter, receiver) = oneshot::channel();
        let queue = self.topics.entry(Arc::clone(&topic)).or_default();
        if queue.turns.is_empty() {
            self.turns.push_back(topic);
        }
        let waiting = queue.users.entry(Arc::clone(&user)).or_default();
        if waiting.is_empty() {
            queue.turns.push_back(user);
        }
        waiting.push_back(waiter);
        receiver
    }

    /// The next waiting message of the topic whose turn it is, among those that have less than `max_of_topic` in flight.
    fn next(&mut self, max_of_topic: usize) -> Option<(Arc<str>, Waiter)> {
        for _ in 0..self.turns.len() {
            let topic = self.turns.pop_front()?;
            let Some(queue) = self.topics.get_mut(&topic) else { continue };
            let waiter = if queue.in_flight < max_of_topic { queue.next() } else { None };
            if !queue.turns.is_empty() {
                self.turns.push_back(Arc::clone(&topic));
            }
            if let Some(waiter) = waiter {
                return Some((topic, waiter));
            }
        }
        None
    }
}

impl TopicQueue {
    /// The next waiting message of the user whose turn it is. Messages that nobody sends any more are dropped.
    fn next(&mut self) -> Option<Waiter> {
        while let Some(user) = self.turns.pop_front() {
            let Some(waiting) = self.users.get_mut(&user) else { continue };
            let waiter = std::iter::from_fn(|| waiting.pop_front()).find(|waiter| !waiter.is_closed());
            if waiting.is_empty() {
                self.users.remove(&user);
            } else {
                self.turns.push_back(user);
            }
            if waiter.is_some() {
                return waiter;
            }
        }
        None
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.limiter.release(&self.topic);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;

    fn lane(text: &'static str) -> Lane<'static> {
        let (topic, user) = text.split_at(1);
        Lane { topic, user }
    }

    /// Messages that wait for a limiter. A lane is a letter for the topic, and another for the user.
    struct Waiting(Vec<(&'static str, BoxFuture<'static, InFlight>)>);

    impl Waiting {
        fn new(limiter: &Arc<FairLimiter>, lanes: &[&'static str]) -> Self {
            let mut waiting = Self(Vec::new());
            for &text in lanes {
                let limiter = Arc::clone(limiter);
                let acquire = async move { limiter.acquire(lane(text)).await };
                waiting.0.push((text, acquire.boxed()));
            }
            assert!(waiting.begun().is_empty());
            waiting
        }

        /// The messages that begin now.
        fn begun(&mut self) -> Vec<(&'static str, InFlight)> {
            let mut begun = Vec::new();
            self.0.retain_mut(|(text, acquire)| match acquire.now_or_never() {
                Some(in_flight) => {
                    begun.push((*text, in_flight));
                    false
                }
                None => true,
            });
            begun
        }

        /// The lanes in the order in which they are served, when each message ends before the next one begins.
        fn serve(mut self, first: InFlight) -> Vec<&'static str> {
            drop(first);
            let mut order = Vec::new();
            while !self.0.is_empty() {
                let begun = self.begun();
                let [(text, _)] = begun.as_slice() else { panic!("{} began at once", begun.len()) };
                order.push(*text);
            }
            order
        }
    }

    #[tokio::test]
    async fn topics_and_their_users_take_turns() {
        let limiter = FairLimiter::new(1, 1);
        let first = limiter.acquire(lane("x")).await;
        let lanes = ["Aa", "Aa", "Aa", "Aa", "Ab", "Ab", "Ba", "Cc"];
        let order = Waiting::new(&limiter, &lanes).serve(first);
        assert_eq!(order, ["Aa", "Ba", "Cc", "Ab", "Aa", "Ab", "Aa", "Aa"]);
        assert!(limiter.lock().topics.is_empty() && limiter.lock().in_flight == 0);
    }

    #[tokio::test]
    async fn one_topic_leaves_room_for_others() {
        let limiter = FairLimiter::new(3, 2);
        let busy = [limiter.acquire(lane("Aa")).await, limiter.acquire(lane("Aa")).await];
        let mut waiting = Waiting::new(&limiter, &["Aa", "Ab"]);
        let quiet = limiter.acquire(lane("Bb")).now_or_never().unwrap();
        assert!(waiting.begun().is_empty());
        // The room of another topic is not the busy one's.
        drop(quiet);
        assert!(waiting.begun().is_empty());
        drop(busy);
        assert_eq!(waiting.begun().len(), 2);
    }

    #[tokio::test]
    async fn cancelled_message_takes_no_room() {
        let limiter = FairLimiter::new(1, 1);
        let first = limiter.acquire(lane("Aa")).await;
        let mut waiting = Waiting::new(&limiter, &["Aa", "Ab", "Bb"]);
        drop(waiting.0.remove(0));
        drop(first);
        // The second one is cancelled after it was its turn, and before it knew.
        drop(waiting.0.remove(0));
        assert_eq!(waiting.begun().len(), 1);
        assert!(limiter.acquire(lane("Aa")).now_or_never().is_some());
    }
}
