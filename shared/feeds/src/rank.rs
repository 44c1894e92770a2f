//! Ranks: how many activities come before an instant, and which one has a given rank, by the counters.
//!
//! Months hold a number for each day, days one for each ten minutes, so that any rank is found with one read
//! of a day's slots and one Query that skips at most a slot's worth, however deep it lies.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::count::count;
use super::{Budget, Order, Query, Sort};
use crate::access::{Place, View};
use crate::keys::{self, Position};
use crate::store::{Days, Residual, Source, Span, Store};
use crate::time::{SLOTS_A_DAY, Timestamp};
use crate::{Error, Result};

/// How many activities each slot of a day shows.
type Slots = [u64; SLOTS_A_DAY as usize];

/// The ranks of the activities of some workspaces, as they are shown there.
pub(super) struct Ranks<'a> {
    store: &'a Store,
    places: Vec<(&'a Place, &'a Days)>,
    /// How many each day shows.
    days: BTreeMap<NaiveDate, u64>,
    budget: &'a Budget,
}

impl<'a> Ranks<'a> {
    /// The ranks by the days of each place, as far as those were read.
    pub(super) fn new(store: &'a Store, places: &'a [Place], days: &'a [Days], budget: &'a Budget) -> Self {
        let places: Vec<_> = places.iter().zip(days).collect();
        let mut sums = BTreeMap::new();
        for (place, days) in &places {
            for (day, tally) in *days {
                *sums.entry(*day).or_default() += tally.visible(place.view);
            }
        }
        Self { store, places, days: sums, budget }
    }

    /// How many activities lie within the bounds.
    pub(super) async fn between(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<u64> {
        let (from, to) = tokio::try_join!(self.from(since), self.to(until))?;
        Ok(to.saturating_sub(from))
    }

    /// Where to begin reading, and how many activities to skip from there, so that the page begins as many activities
    /// into the feed as it skips. `None` past the feed's end.
    pub(super) async fn seek(&self, query: &Query) -> Result<Option<(Position, u64)>> {
        let ascending = query.direction() == Order::Ascending;
        let rank = if ascending {
            self.from(query.since).await?.checked_add(query.skip)
        } else {
            self.to(query.until).await?.checked_sub(1).and_then(|last| last.checked_sub(query.skip))
        };
        let Some(mut rank) = rank else { return Ok(None) };
        let mut days = self.days.iter();
        let holds = |(_, count): &(&NaiveDate, &u64)| {
            let found = rank < **count;
            if !found {
                rank -= **count;
            }
            found
        };
        let Some((&day, _)) = days.find(holds) else { return Ok(None) };
        for (slot, count) in (0u8..).zip(self.slots(day).await?) {
            if rank >= count {
                rank -= count;
                continue;
            }
            let (edge, skip, bound) = if ascending {
                let start = Timestamp::of_slot(day, slot);
                (start, rank, query.since.filter(|since| *since > start))
            } else {
                let end = Timestamp::of_slot(day, slot + 1);
                (end, count - 1 - rank, query.until.filter(|until| *until < end))
            };
            return Ok(Some(match bound {
                None => (Position::start_of(edge), skip),
                // The feed begins in this very slot.
                Some(bound) => (Position::start_of(bound), query.skip),
            }));
        }
        // A transaction just committed may show in the month before it shows in the day; its activity is then the
        // day's last.
        Ok(Some((Position::start_of(Timestamp::of_slot(day, SLOTS_A_DAY)), 0)))
    }

    async fn from(&self, since: Option<Timestamp>) -> Result<u64> {
        match since {
            None => Ok(0),
            Some(since) => Box::pin(self.before(since)).await,
        }
    }

    async fn to(&self, until: Option<Timestamp>) -> Result<u64> {
        match until {
            None => Ok(self.days.values().sum()),
            Some(until) => Box::pin(self.before(until)).await,
        }
    }

    /// How many activities happened before `time`.
    async fn before(&self, time: Timestamp) -> Result<u64> {
        let (day, slot) = (time.day(), time.slot());
        let days: u64 = self.days.range(..day).map(|(_, count)| count).sum();
        if time == Timestamp::of_slot(day, 0) || !self.days.contains_key(&day) {
            return Ok(days);
        }
        let slots = async { Ok(self.slots(day).await?.iter().take(slot.into()).sum::<u64>()) };
        let (slots, part) = tokio::try_join!(slots, self.part(day, Timestamp::of_slot(day, slot), time))?;
        Ok(days + slots + part)
    }

    /// The places that have activities on a day.
    fn on(&self, day: NaiveDate) -> impl Iterator<Item = &'a Place> {
        self.places.iter().filter(move |(_, days)| days.contains_key(&day)).map(|(place, _)| *place)
    }

    /// How many activities each slot of a day shows.
    async fn slots(&self, day: NaiveDate) -> Result<Slots> {
        let slots = self.on(day).map(|place| async move {
            let slots = self.budget.timely(Box::pin(self.store.slots(&place.workspace, day))).await?;
            Ok::<Slots, Error>(slots.map(|tally| tally.visible(place.view)))
        });
        let mut sums = [0; SLOTS_A_DAY as usize];
        for slots in self.budget.all(slots.collect()).await? {
            sums.iter_mut().zip(slots).for_each(|(sum, count)| *sum += count);
        }
        Ok(sums)
    }

    /// How many activities happened from the start of a slot of a day to an instant within it.
    async fn part(&self, day: NaiveDate, start: Timestamp, time: Timestamp) -> Result<u64> {
        if time == start {
            return Ok(0);
        }
        let parts = self.on(day).map(|place| async move {
            let source = Source {
                workspace: Some(place.workspace.clone()),
                index: None,
                partition: (keys::PK, keys::workspace(&place.workspace)),
                key: (keys::SK, keys::ACTIVITY_PREFIX.into()),
                sort: Sort::Time,
                span: Span { from: Position::start_of(start), to: Position::start_of(time) },
            };
            let residual = Residual { hide_staff: place.view == View::Client, ..Residual::default() };
            count(self.store, &source, &residual, self.budget, None).await
        });
        self.budget.all(parts.collect()).await?.into_iter().sum::<Option<u64>>().ok_or_else(|| {
            let detail = "cannot be used with this range of time, whose ends cut into ten minutes of too many \
                          activities; move them to full ten minutes";
            Error::bad_input("offset", detail)
        })
    }
}
