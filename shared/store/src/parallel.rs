//! Several futures at once, but not all of them.

use std::future::Future;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::Result;

/// What the futures give, in their order, with `at_once` of them in flight; or the first error.
///
/// They come in a `Vec` since the compiler cannot tell that a caller which keeps a lazy `map` of borrows is `Send`.
pub(crate) async fn all<T>(at_once: usize, futures: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    stream::iter(futures).buffered(at_once).try_collect().await
}
