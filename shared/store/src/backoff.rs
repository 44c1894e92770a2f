//! Pauses between attempts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Random numbers for pauses. Equal seeds give equal pauses, so that a failure can be replayed.
#[derive(Debug)]
pub struct Jitter(Mutex<fastrand::Rng>);

impl Jitter {
    /// Random numbers from `rng`.
    pub fn new(rng: fastrand::Rng) -> Self {
        Self(Mutex::new(rng))
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&self, bound: u64) -> u64 {
        // A panic while the lock is held cannot leave the generator half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(..bound)
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::new(fastrand::Rng::new())
    }
}

/// Exponential backoff with full jitter: each pause is random, up to a bound that doubles with each attempt.
///
/// Full jitter spreads clients that collided, where equal pauses would let them collide again
/// (<https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
#[derive(Debug)]
pub struct Backoff<'a> {
    jitter: &'a Jitter,
    bound: Duration,
    longest: Duration,
}

impl<'a> Backoff<'a> {
    /// A backoff whose first pause is at most `first`, and whose longest is at most `longest`.
    pub fn new(jitter: &'a Jitter, first: Duration, longest: Duration) -> Self {
        Self { jitter, bound: first, longest }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let micros = u64::try_from(self.bound.as_micros()).unwrap_or(u64::MAX).max(1);
        self.bound = self.bound.saturating_mul(2).min(self.longest);
        Duration::from_micros(self.jitter.below(micros))
    }

    /// Waits before the next attempt.
    pub async fn wait(&mut self) {
        sleep(self.next_pause()).await;
    }

    /// Waits before the next attempt; false, without waiting, when that would leave no time before `deadline`.
    pub async fn wait_until(&mut self, deadline: Instant) -> bool {
        let pause = self.next_pause();
        if Instant::now() + pause >= deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_longest() {
        let jitter = Jitter::new(fastrand::Rng::with_seed(1));
        let mut backoff = Backoff::new(&jitter, Duration::from_millis(20), Duration::from_millis(100));
        for bound in [20, 40, 80, 100, 100] {
            assert_eq!(backoff.bound, Duration::from_millis(bound));
            assert!(backoff.next_pause() < Duration::from_millis(bound));
        }
    }

    #[test]
    fn equal_seeds_pause_alike() {
        let pauses = |seed| {
            let jitter = Jitter::new(fastrand::Rng::with_seed(seed));
            let mut backoff = Backoff::new(&jitter, Duration::from_millis(20), Duration::from_secs(1));
            (0..8).map(|_| backoff.next_pause()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }
}
