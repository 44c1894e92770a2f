//! Feeds: ordered views of activities, of an issue, a workspace or several, a page at a time, at a cost that does not
//! grow with the page's depth.
//!
//! `plan` picks partitions, `merge` reads them as one, `rank` finds offsets by the counters, `count` counts what no
//! counter does. [`reader`] finds out what one caller may see.

mod budget;
mod count;
pub mod cursor;
mod merge;
mod plan;
mod query;
mod rank;
pub mod reader;
mod window;

use std::future::Future;

use domain::access::{View, VisibleWorkspace};
use domain::filter::Order;
use domain::position::Bound;
use domain::{Error, Result};
use store::{Row, Store};

pub use budget::Budget;
pub use plan::MAX_SOURCES;
pub use query::{Query, Scope};

use count::Counter;
use merge::{Merge, Taken};
use rank::{Counts, Ranks};
use window::Window;

/// Turns an activity into an entry of an API's page, and weighs it: the bytes it adds to the answer. An entry should
/// take little more memory than that. The activity says when and by whom it was recorded only if the reader sees that.
pub type Render<T> = fn(Row) -> Result<(T, usize)>;

/// A page of a feed.
#[derive(Debug, PartialEq)]
pub struct Page<T> {
    /// The entries, in order. There are fewer than the limit only when there are no more, or, with `next` set, when more
    /// would exceed [`Query::max_bytes`], or finding them reached the read budget.
    pub entries: Vec<T>,
    /// The positions of the first and the last of them.
    pub ends: Option<(Bound, Bound)>,
    /// Where the next page begins, in the direction of reading; `None` when this one is the last.
    pub next: Option<Bound>,
    /// Set when there are fewer entries than the limit and more follow: a lower limit that fits the answer, or that the
    /// reads of a request are likely to reach, 0 if there is none.
    pub fits: Option<usize>,
    /// Whether anything lies on the other side, when asked for.
    pub behind: Option<bool>,
    /// How many activities the whole feed has, when asked for.
    pub total: Option<u64>,
}

/// Reads a page.
///
/// `access` finds out what the caller may see. For one workspace it runs beside the first reads; for several, before
/// them. Nothing is returned before it has decided. If it fails, that is the answer at once: the reads beside it are
/// dropped, and none follows. They are one of the counters and at most two of the page, so that a refused request costs
/// little, however much there is.
///
/// # Errors
/// Those of `access` before any other; [`Error::Query`] when an offset or a total would read more than the budget.
pub async fn read<T>(
    store: &Store,
    budget: &Budget,
    query: &Query,
    render: Render<T>,
    access: impl Future<Output = Result<Vec<VisibleWorkspace>>>,
) -> Result<Page<T>> {
    let Some(workspace) = query.scope.workspace() else {
        return read_visible(store, budget, query, render, &shown(access.await?)).await;
    };
    let unchecked = [VisibleWorkspace::unchecked(workspace)];
    let mut merge = Merge::new(store, query, &unchecked, query.window(), budget)?;
    let reads = async { Ok(tokio::join!(merge.begin_unchecked(), counts(store, &unchecked, budget, query))) };
    let (visible, (begun, counts)) = tokio::try_join!(biased; access, reads)?;
    let visible = shown(visible);
    if visible.iter().any(|visible| visible.view == View::Settings) {
        // They are in a partition of their own.
        drop(merge);
        return read_visible(store, budget, query, render, &visible).await;
    }
    let counts = counts?;
    begun?;
    let merge = merge.seen_by(&visible);
    PageReader { store, query, visible: &visible, counts, budget, render }.read(merge).await
}

/// Reads a page of workspaces to which access is decided.
async fn read_visible<T>(
    store: &Store,
    budget: &Budget,
    query: &Query,
    render: Render<T>,
    visible: &[VisibleWorkspace],
) -> Result<Page<T>> {
    let mut merge = Merge::new(store, query, visible, query.window(), budget)?;
    let counts = counts(store, visible, budget, query);
    let ((), counts) = futures_util::future::try_join(merge.begin(), counts).await?;
    PageReader { store, query, visible, counts, budget, render }.read(merge).await
}

/// The workspaces of which anything is shown.
fn shown(visible: Vec<VisibleWorkspace>) -> Vec<VisibleWorkspace> {
    visible.into_iter().filter(|visible| visible.view != View::Nothing).collect()
}

/// The counts of each workspace, if the query goes by counters.
async fn counts(
    store: &Store,
    visible: &[VisibleWorkspace],
    budget: &Budget,
    query: &Query,
) -> Result<Vec<Counts>> {
    let is_needed = query.seeks() || query.total && query.is_counted();
    let visible = if is_needed { visible } else { &[] };
    let reads = visible.iter().map(|visible| budget.read_in_time(Counts::read(store, visible, budget)));
    budget.read_all(reads.collect()).await
}

/// Reads a page once access is decided.
struct PageReader<'a, T> {
    store: &'a Store,
    query: &'a Query,
    visible: &'a [VisibleWorkspace],
    counts: Vec<Counts>,
    budget: &'a Budget,
    render: Render<T>,
}

impl<T> PageReader<'_, T> {
    async fn read(self, mut merge: Merge<'_>) -> Result<Page<T>> {
        let Self { store, query, visible, counts, budget, render } = &self;
        if visible.is_empty() {
            let (behind, total) = (query.behind.then_some(false), query.total.then_some(0));
            return Ok(Page { entries: Vec::new(), ends: None, next: None, fits: None, behind, total });
        }
        let ranks = Ranks::new(store, visible, counts, budget);
        let page = async {
            if query.limit == 0 {
                return Ok(Taken::default());
            }
            if !query.seeks() {
                return merge.take(query.skip, query.limit, *render).await;
            }
            let Some((start, skip)) = ranks.seek(query).await? else { return Ok(Taken::default()) };
            merge.restart(start)?;
            merge.take(skip, query.limit, *render).await
        };
        let total = async {
            match query.total {
                false => Ok(None),
                true if query.is_counted() => ranks.between(query.since, query.until).await.map(Some),
                true => Counter { store, query, visible, budget }.count().await.map(Some),
            }
        };
        let (Taken { mut entries, next, fits }, total) = futures_util::future::try_join(page, total).await?;
        // The read of what is behind needs the memory of the page's partitions.
        drop(merge);
        let behind =
            if query.behind { Some(self.is_anything_behind(entries.is_empty()).await?) } else { None };
        if query.backward {
            entries.reverse();
        }
        let ends = entries.first().zip(entries.last());
        let ends = ends.map(|((_, first), (_, last))| (first.clone(), last.clone()));
        let entries = entries.into_iter().map(|(entry, _)| entry).collect();
        Ok(Page { entries, ends, next, fits, behind, total })
    }

    /// Whether anything lies before the point where reading began.
    async fn is_anything_behind(&self, is_page_empty: bool) -> Result<bool> {
        let Self { store, query, visible, budget, .. } = self;
        let window = query.window();
        let end = match (&window.start, query.skip, is_page_empty) {
            (None, 0, _) => return Ok(false),
            // The skipped activities lie there.
            (_, 1.., false) => return Ok(true),
            (_, 1.., true) => window.end,
            (Some(start), 0, _) => Some(match window.order {
                Order::Ascending => start.clone().just_after(),
                Order::Descending => start.clone().just_before(),
            }),
        };
        // Without time for it the answer is not known, and a page that was read is worth more than an error.
        if !budget.has_time() {
            return Ok(false);
        }
        let window = Window { order: window.order.reversed(), start: end, end: None };
        let mut merge = Merge::new(store, query, visible, window, budget)?;
        match merge.take(0, 1, |_| Ok(((), 0))).await {
            Err(Error::Unavailable(_)) if !budget.has_time() => Ok(false),
            taken => Ok(!taken?.entries.is_empty()),
        }
    }
}
