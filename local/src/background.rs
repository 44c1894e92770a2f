//! The work that continues beside requests: the queue, asynchronous invocations and the stream.

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
    queue: Option<QueueWork>,
    stream: Option<StreamPoller>,
}

impl BackgroundWork {
    /// Starts to work on the queue. The stream's poller has begun already, because that can fail.
    pub(crate) fn start(
        queue: Option<(QueuePoller, AsyncInvocations)>,
        stream: Option<StreamPoller>,
    ) -> Self {
        let queue = queue.map(|(poller, invocations)| QueueWork {
            queue: Arc::clone(&poller.queue),
            invocations,
            _consumers: poller.start(),
        });
        Self { queue, stream }
    }

    /// Finishes the work, within its time limits. The stream comes last, because it has what the queue records.
    pub(crate) async fn finish(self) {
        if let Some(queue) = self.queue {
            queue.finish().await;
        }
        if let Some(stream) = self.stream {
            stream.finish().await;
        }
    }
}

/// The work on a queue and on asynchronous invocations. All of it is in memory, so that dropping this loses what is left.
struct QueueWork {
    queue: Arc<Queue>,
    invocations: AsyncInvocations,
    _consumers: JoinSet<()>,
}

impl QueueWork {
    async fn finish(self) {
        let finished = async {
            self.queue.wait_until_empty().await;
            self.invocations.wait_until_none().await;
        };
        if self.unfinished() != (0, 0) {
            tracing::info!("draining the queue; another interrupt drops its messages");
        }
        timeout(DRAIN_TIMEOUT, finished).await.ok();
    }

    /// The numbers of messages and of asynchronous invocations that are unfinished.
    fn unfinished(&self) -> (usize, usize) {
        (self.queue.len(), self.invocations.count())
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
