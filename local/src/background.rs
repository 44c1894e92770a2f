//! The work that continues beside requests: the queues, asynchronous invocations and the stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::async_invocations::AsyncInvocations;
use crate::queue::Queue;
use crate::queue_poller::QueuePoller;
use crate::stream_poller::StreamPoller;

/// Time to finish the queue's messages and the asynchronous invocations when the gateway stops. Messages that cannot be
/// recorded would take longer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The work in progress beside requests.
pub(crate) struct BackgroundWork {
    queues: QueueWork,
    stream: Option<StreamPoller>,
}

impl BackgroundWork {
    /// Starts to work on the queues. The stream's poller has begun already, because that can fail.
    pub(crate) fn start(
        pollers: Vec<QueuePoller>,
        invocations: AsyncInvocations,
        stream: Option<StreamPoller>,
    ) -> Self {
        let queues = pollers.iter().map(|poller| Arc::clone(&poller.queue)).collect();
        let consumers = pollers.into_iter().map(QueuePoller::start).collect();
        Self { queues: QueueWork { queues, invocations, _consumers: consumers }, stream }
    }

    /// Finishes the work, within its time limits. The stream comes last, because it has what the queue records.
    pub(crate) async fn finish(self) {
        self.queues.finish().await;
        if let Some(stream) = self.stream {
            stream.finish().await;
        }
    }
}

/// The work on queues and on asynchronous invocations. All of it is in memory, so that dropping this loses what is left.
struct QueueWork {
    queues: Vec<Arc<Queue>>,
    invocations: AsyncInvocations,
    _consumers: Vec<JoinSet<()>>,
}

impl QueueWork {
    async fn finish(self) {
        let finished = async {
            for queue in &self.queues {
                queue.wait_until_empty().await;
            }
            self.invocations.wait_until_none().await;
        };
        if self.unfinished() != (0, 0) {
            tracing::info!("draining the queues; another interrupt drops their messages");
        }
        timeout(DRAIN_TIMEOUT, finished).await.ok();
    }

    /// The numbers of messages and of asynchronous invocations that are unfinished.
    fn unfinished(&self) -> (usize, usize) {
        (self.queues.iter().map(|queue| queue.len()).sum(), self.invocations.count())
    }
}

impl Drop for QueueWork {
    fn drop(&mut self) {
        let (messages, invocations) = self.unfinished();
        if messages + invocations > 0 {
            tracing::error!(messages, invocations, "lost unfinished work, which was in memory only");
        }
    }
}
