//! The reads that one request of a caller may cost.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Error, Result};
use store::parallel::try_all;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Time in which reads may begin. The last of them may take as long as the client lets it, 8 s, and the function must
/// still be able to answer; its `Timeout` is in `template.yaml`.
const READ_TIME: Duration = Duration::from_secs(5);
/// Requests of 1 MB that a request may spend on counting what no counter counts.
const COUNT_REQUESTS: usize = 400;
/// Reads in flight for one request. Each may need a connection, whose start costs a small function more than the read.
pub(crate) const MAX_CONCURRENT_READS: usize = 16;

/// The activities that all merges of a request hold, in KiB of their texts. It is more than the most partitions of one
/// merge with the largest activity of each.
const HELD_KIB: u32 = 32 * 1024;
/// The activities that one merge holds, in KiB, if it has not so many partitions that they must hold more.
const MERGE_KIB: u32 = 16 * 1024;
/// The most of one partition, in KiB: what one request returns.
const MAX_PARTITION_KIB: u32 = 1024;
/// The least of one partition, in KiB: the largest activity.
const MIN_PARTITION_KIB: u32 = 68;

/// The reads that one request may cost, however many feeds it reads.
#[derive(Debug)]
pub struct Budget {
    count_requests: AtomicUsize,
    in_flight: Semaphore,
    held_kib: Semaphore,
    until: Instant,
}

/// The memory of a merge, which others may use once this is dropped.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    /// The bytes that each partition may hold.
    pub(crate) partition_bytes: usize,
    _permit: SemaphorePermit<'a>,
}

impl Budget {
    /// The budget of a request that begins now.
    pub fn start() -> Self {
        Self {
            count_requests: AtomicUsize::new(COUNT_REQUESTS),
            in_flight: Semaphore::new(MAX_CONCURRENT_READS),
            held_kib: Semaphore::new(HELD_KIB as usize),
            until: Instant::now() + READ_TIME,
        }
    }

    /// Whether a read may begin.
    pub(crate) fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// The memory to read so many partitions as one, once it is free. A merge must not wait for more while it has some.
    pub(crate) async fn memory(&self, partitions: usize) -> Result<Memory<'_>> {
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX).max(1);
        let each = (MERGE_KIB / partitions).clamp(MIN_PARTITION_KIB, MAX_PARTITION_KIB);
        let all = each.saturating_mul(partitions).min(HELD_KIB);
        let permit = self.held_kib.acquire_many(all).await.map_err(Error::internal)?;
        Ok(Memory { partition_bytes: each as usize * 1024, _permit: permit })
    }

    /// The results of the reads, in their order, or the first error. A read must not wait for other reads here.
    pub(crate) async fn read_all<T>(&self, reads: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
        let read = |read| async {
            let _permit = self.in_flight.acquire().await.map_err(Error::internal)?;
            read.await
        };
        try_all(MAX_CONCURRENT_READS, reads.into_iter().map(read).collect()).await
    }

    /// The result of a read, if there is time for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is none.
    pub(crate) async fn read_in_time<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        if self.has_time() { read.await } else { Err(out_of_time()) }
    }

    /// How many requests are left for counting.
    pub(crate) fn count_requests_left(&self) -> usize {
        self.count_requests.load(Ordering::Relaxed)
    }

    /// Takes one request for counting; false when none is left.
    pub(crate) fn take_count_request(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.has_time()
            && self.count_requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// The error of a read that could not begin in time. The caller may try again with less at once.
pub(crate) fn out_of_time() -> Error {
    Error::Unavailable("no time was left to read all that was asked for".into())
}
