//! Counting what no counter counts: by reading, in parallel, within a budget.

use domain::Result;
use domain::access::{View, VisibleWorkspace};
use domain::error::QueryError;
use domain::filter::{Order, Sort};
use domain::position::Bound;
use domain::time::Timestamp;
use store::{Continuation, Residual, Source, Span, Store};

use crate::budget::{Budget, MAX_CONCURRENT_READS};
use crate::plan::Plan;
use crate::query::Query;
use crate::window::Window;

/// Counts a source, one request after the other; `None` when the budget is spent before its end.
pub(crate) async fn count(
    store: &Store,
    source: &Source,
    residual: &Residual,
    budget: &Budget,
) -> Result<Option<u64>> {
    let (mut total, mut start) = (0, None);
    loop {
        if !budget.take_count_request() {
            return Ok(None);
        }
        let (count, next) = store.count(source, residual, start).await?;
        total += count;
        start = next;
        if start.is_none() {
            return Ok(Some(total));
        }
    }
}

/// The count of a source's first request, and the rest of the source.
struct First {
    count: u64,
    residual: Residual,
    rest: Vec<Source>,
}

/// Counts a whole feed.
pub(crate) struct Counter<'a> {
    pub(crate) store: &'a Store,
    pub(crate) query: &'a Query,
    pub(crate) visible: &'a [VisibleWorkspace],
    pub(crate) budget: &'a Budget,
}

impl Counter<'_> {
    /// How many activities the feed shows.
    ///
    /// # Errors
    /// [`QueryError::TotalTooLarge`] when that takes more than the budget.
    pub(crate) async fn count(&self) -> Result<u64> {
        // The order makes no difference to the count, and only a feed by time can be cut into pieces.
        let query = Query { sort: Sort::Time, ..self.query.clone() };
        let window = Window { order: Order::Ascending, start: None, end: None };
        let Plan { sources, residual, settings, settings_residual, .. } =
            Plan::narrow(&query, self.visible, window)?;
        if sources.len() + settings.len() > self.budget.count_requests_left() {
            return Err(QueryError::TotalTooLarge.into());
        }
        let firsts = sources.into_iter().map(|source| {
            let of_source =
                |visible: &&VisibleWorkspace| Some(&visible.workspace) == source.partition.workspace();
            let view = self.visible.iter().find(of_source).map(|visible| visible.view);
            let residual = Residual { hide_staff: view == Some(View::Client), ..residual.clone() };
            self.begin(source, residual)
        });
        let settings = settings.into_iter().map(|source| self.begin(source, settings_residual.clone()));
        let firsts = firsts.chain(settings);
        let firsts: Option<Vec<_>> = self.budget.read_all(firsts.collect()).await?.into_iter().collect();
        let firsts = firsts.ok_or(QueryError::TotalTooLarge)?;
        let pieces = firsts.iter().flat_map(|first| first.rest.iter().map(|piece| (piece, &first.residual)));
        let counts = pieces.map(|(piece, residual)| count(self.store, piece, residual, self.budget));
        let rest: Option<u64> = self.budget.read_all(counts.collect()).await?.into_iter().sum();
        let rest = rest.ok_or(QueryError::TotalTooLarge)?;
        Ok(rest + firsts.iter().map(|first| first.count).sum::<u64>())
    }

    /// Counts a source's first 1 MB; `None` when the budget does not allow it.
    async fn begin(&self, source: Source, residual: Residual) -> Result<Option<First>> {
        if !self.budget.take_count_request() {
            return Ok(None);
        }
        let (count, next) = self.store.count(&source, &residual, None).await?;
        let rest = match next {
            // Most feeds end within 1 MB.
            None => Vec::new(),
            Some(next) => self.pieces(&source, next).await?,
        };
        Ok(Some(First { count, residual, rest }))
    }

    /// The rest of a source, cut at midnights into pieces of about as many activities of the workspace.
    async fn pieces(&self, source: &Source, next: Continuation) -> Result<Vec<Source>> {
        let days = self.budget.read_in_time(self.store.days(&next.workspace)).await?;
        let rest = days.iter().map(|(day, tally)| (Timestamp::of_slot(*day, 0), tally.all));
        let within = |at: &Bound| *at > next.reached && *at < source.span.to;
        let rest: Vec<_> =
            rest.map(|(day, count)| (Bound::start_of(day), count)).filter(|(at, _)| within(at)).collect();
        let piece = rest.iter().map(|(_, count)| count).sum::<u64>().div_ceil(MAX_CONCURRENT_READS as u64);
        let mut cuts = vec![next.reached.clone().just_after()];
        let mut counted = 0;
        for (at, count) in rest {
            if counted >= piece {
                cuts.push(at);
                counted = 0;
            }
            counted += count;
        }
        let ends = cuts.iter().skip(1).chain([&source.span.to]);
        let part = |(from, to): (&Bound, &Bound)| Source {
            span: Span { from: from.clone(), to: to.clone() },
            partition: source.partition.clone(),
        };
        Ok(cuts.iter().zip(ends).map(part).collect())
    }
}
