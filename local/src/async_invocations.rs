//! Asynchronous invocations, which are retried as Lambda retries them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::functions::{API_TIMEOUT, Function, Functions};

/// The most asynchronous invocations in progress. Lambda has no such limit, but memory has one.
pub(crate) const MAX_CONCURRENT_INVOCATIONS: u32 = 100;

/// The asynchronous invocations in progress. Clones share them.
#[derive(Clone)]
pub(crate) struct AsyncInvocations {
    slots: Arc<Semaphore>,
    retry_pause: Duration,
}

/// The error of an invocation beyond [`MAX_CONCURRENT_INVOCATIONS`].
#[derive(Debug)]
pub(crate) struct TooManyInvocations;

impl AsyncInvocations {
    /// None yet. A failed invocation is retried after `retry_pause`, and once more after twice that time. In Lambda these are
    /// one and two minutes.
    pub(crate) fn new(retry_pause: Duration) -> Self {
        Self { slots: Arc::new(Semaphore::new(MAX_CONCURRENT_INVOCATIONS as usize)), retry_pause }
    }

    /// Begins an invocation, which keeps its request id in all retries.
    ///
    /// # Errors
    /// When too many are in progress.
    pub(crate) fn begin(
        &self,
        functions: &Arc<Functions>,
        function: Function,
        payload: Vec<u8>,
        request_id: &str,
    ) -> Result<(), TooManyInvocations> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| TooManyInvocations)?;
        let (functions, request_id) = (Arc::clone(functions), request_id.to_owned());
        let mut pauses = [self.retry_pause, 2 * self.retry_pause].into_iter();
        tokio::spawn(async move {
            let _slot = slot;
            loop {
                let invoked = functions.invoke(function, payload.clone(), &request_id, API_TIMEOUT).await;
                let Err(failure) = invoked else { return };
                let Some(pause) = pauses.next() else {
                    tracing::error!(request_id, %failure, "gave up asynchronous invocation");
                    return;
                };
                tracing::warn!(request_id, %failure, "failed asynchronous invocation");
                tokio::time::sleep(pause).await;
            }
        });
        Ok(())
    }

    /// How many are in progress.
    pub(crate) fn count(&self) -> usize {
        MAX_CONCURRENT_INVOCATIONS as usize - self.slots.available_permits()
    }

    /// Waits until none is in progress.
    pub(crate) async fn wait_until_none(&self) {
        self.slots.acquire_many(MAX_CONCURRENT_INVOCATIONS).await.ok();
    }
}
