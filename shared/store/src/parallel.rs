//! Several futures at once, but a bounded number of them.

use std::future::Future;

use domain::Result;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

/// The results of the futures, in their order, with at most `max_concurrent` of them in flight; or the first error.
///
/// They come in a `Vec` because the compiler cannot tell that a caller which keeps a lazy `map` of borrows is `Send`.
pub async fn try_all<T>(
    max_concurrent: usize,
    futures: Vec<impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    stream::iter(futures).buffered(max_concurrent).try_collect().await
}
