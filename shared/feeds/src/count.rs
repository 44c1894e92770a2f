//! Counting what no counter counts: by reading, in parallel, within a budget.

use super::plan::{Plan, Window};
use super::{AT_ONCE, Budget, Order, Query, Sort};
use crate::access::{Place, View};
use crate::keys::Position;
use crate::store::{Item, Residual, Source, Span, Store};
use crate::time::Timestamp;
use crate::{Error, Result};

/// Counts a source from `start` on, a request after the other; `None` when the budget is spent before its end.
pub(super) async fn count(
    store: &Store,
    source: &Source,
    residual: &Residual,
    budget: &Budget,
    mut start: Option<Item>,
) -> Result<Option<u64>> {
    let mut total = 0;
    loop {
        if !budget.take() {
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

/// What the first request counted of a source, and what is left of it.
struct First {
    count: u64,
    residual: Residual,
    rest: Vec<Source>,
}

/// Counts a whole feed.
pub(super) struct Counting<'a> {
    pub(super) store: &'a Store,
    pub(super) query: &'a Query,
    pub(super) places: &'a [Place],
    pub(super) budget: &'a Budget,
}

impl Counting<'_> {
    /// How many activities it shows.
    ///
    /// # Errors
    /// [`Error::BadInput`] when that takes more than the budget.
    pub(super) async fn count(&self) -> Result<u64> {
        // There are as many in one order as in the other, and by time they can be counted in pieces.
        let query = Query { sort: Sort::Time, ..self.query.clone() };
        let window = Window { order: Order::Ascending, start: None, end: None };
        let Plan { sources, residual, .. } = Plan::narrow(&query, self.places, window)?;
        let too_much = || {
            let detail = "would read more of this feed than a request may; narrow it to a shorter time or fewer workspaces";
            Error::bad_input("total", detail)
        };
        if sources.len() > self.budget.left() {
            return Err(too_much());
        }
        let firsts = sources.into_iter().map(|source| {
            let of_source = |place: &&Place| Some(&place.workspace) == source.workspace.as_ref();
            let view = self.places.iter().find(of_source).map(|place| place.view);
            let residual = Residual { hide_staff: view == Some(View::Client), ..residual.clone() };
            self.begin(source, residual)
        });
        let firsts: Option<Vec<_>> = self.budget.all(firsts.collect()).await?.into_iter().collect();
        let firsts = firsts.ok_or_else(too_much)?;
        let pieces = firsts.iter().flat_map(|first| first.rest.iter().map(|piece| (piece, &first.residual)));
        let counts = pieces.map(|(piece, residual)| count(self.store, piece, residual, self.budget, None));
        let rest: Option<u64> = self.budget.all(counts.collect()).await?.into_iter().sum();
        Ok(rest.ok_or_else(too_much)? + firsts.iter().map(|first| first.count).sum::<u64>())
    }

    /// Counts a source's first 1 MB; `None` when the budget does not allow it.
    async fn begin(&self, source: Source, residual: Residual) -> Result<Option<First>> {
        if !self.budget.take() {
            return Ok(None);
        }
        let (count, next) = self.store.count(&source, &residual, None).await?;
        let rest = match next {
            // Most feeds are shorter.
            None => Vec::new(),
            Some(next) => self.pieces(&source, &next).await?,
        };
        Ok(Some(First { count, residual, rest }))
    }

    /// What is left of a source, cut at midnights into pieces of about as many activities of the workspace.
    async fn pieces(&self, source: &Source, next: &Item) -> Result<Vec<Source>> {
        let nowhere = || Error::internal("a count that ends nowhere");
        let (place, workspace) = source.reached(next).ok_or_else(nowhere)?;
        let days = self.budget.timely(self.store.days(&workspace)).await?;
        let rest = days.iter().map(|(day, tally)| (Timestamp::of_slot(*day, 0), tally.all));
        let within = |at: &Position| *at > place && *at < source.span.to;
        let rest: Vec<_> =
            rest.map(|(day, count)| (Position::start_of(day), count)).filter(|(at, _)| within(at)).collect();
        let piece = rest.iter().map(|(_, count)| count).sum::<u64>().div_ceil(AT_ONCE as u64);
        let mut cuts = vec![place.just_after()];
        let mut counted = 0;
        for (at, count) in rest {
            if counted >= piece {
                cuts.push(at);
                counted = 0;
            }
            counted += count;
        }
        let ends = cuts.iter().skip(1).chain([&source.span.to]);
        let part = |(from, to): (&Position, &Position)| Source {
            span: Span { from: from.clone(), to: to.clone() },
            ..source.clone()
        };
        Ok(cuts.iter().zip(ends).map(part).collect())
    }
}
