//! Ranks: how many activities come before an instant, and which activity has a given rank, by the counters.
//!
//! Months hold a number for each day, and days a number for each ten minutes. So any rank is found with one read of a
//! day's slots and one Query that skips at most a slot's worth, however deep it lies.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use domain::access::{View, VisibleWorkspace};
use domain::error::QueryError;
use domain::filter::Order;
use domain::position::Bound;
use domain::time::{SLOTS_A_DAY, Timestamp};
use domain::{Error, Result};
use store::{Days, Partition, Residual, Source, Span, Store};

use crate::budget::Budget;
use crate::count::count;
use crate::plan::Plan;
use crate::query::{Query, Scope};
use crate::window::Window;

/// How many activities the reader sees of each slot of a day.
type Slots = [u64; SLOTS_A_DAY as usize];

/// The activities that the reader sees of a workspace: how many each day, or the times of the few.
#[derive(Debug)]
pub(crate) enum Counts {
    /// The counters of the days.
    Days(Days),
    /// The times of the changes of settings, if nothing else is shown.
    Settings(Vec<Timestamp>),
}

impl Counts {
    /// Reads those of a workspace.
    ///
    /// # Errors
    /// [`QueryError::TotalTooLarge`] when the settings changed more often than a request may read.
    pub(crate) async fn read(store: &Store, visible: &VisibleWorkspace, budget: &Budget) -> Result<Self> {
        if visible.view != View::Settings {
            return store.days(&visible.workspace).await.map(Self::Days);
        }
        let window = Window { order: Order::Ascending, start: None, end: None };
        let query = Query::new(Scope::Workspace(visible.workspace.clone()), 0);
        let Plan { settings, settings_residual, .. } =
            Plan::of(&query, std::slice::from_ref(visible), window)?;
        let mut times = Vec::new();
        for source in settings {
            let mut start = None;
            loop {
                if !budget.take_count_request() {
                    return Err(QueryError::TotalTooLarge.into());
                }
                let all = (usize::MAX, usize::MAX);
                let chunk = store.chunk(&source, Order::Ascending, &settings_residual, all, start).await?;
                times.extend(chunk.rows.iter().map(|row| row.activity.created_at));
                start = chunk.next;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(Self::Settings(times))
    }
}

/// The ranks of activities among those that the reader sees of some workspaces.
pub(crate) struct Ranks<'a> {
    store: &'a Store,
    /// The workspaces whose counters are used.
    visible: Vec<(&'a VisibleWorkspace, &'a Days)>,
    /// The times of the activities of all others.
    settings: Vec<Timestamp>,
    /// How many activities the reader sees of each day.
    days: BTreeMap<NaiveDate, u64>,
    budget: &'a Budget,
}

impl<'a> Ranks<'a> {
    /// The ranks by the days of each workspace, as far as those were read.
    pub(crate) fn new(
        store: &'a Store,
        visible: &'a [VisibleWorkspace],
        counts: &'a [Counts],
        budget: &'a Budget,
    ) -> Self {
        let (mut counted, mut settings, mut sums) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (visible, counts) in visible.iter().zip(counts) {
            match counts {
                Counts::Days(days) => {
                    for (day, tally) in days {
                        *sums.entry(*day).or_default() += tally.visible(visible.view);
                    }
                    counted.push((visible, days));
                }
                Counts::Settings(times) => {
                    times.iter().for_each(|time| *sums.entry(time.day()).or_default() += 1);
                    settings.extend(times);
                }
            }
        }
        Self { store, visible: counted, settings, days: sums, budget }
    }

    /// How many activities lie within the bounds.
    pub(crate) async fn between(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<u64> {
        let (from, to) = tokio::try_join!(self.from(since), self.to(until))?;
        Ok(to.saturating_sub(from))
    }

    /// Where to begin reading, and how many activities to skip from there, so that the page begins [`Query::skip`]
    /// activities into the feed. `None` past the feed's end.
    pub(crate) async fn seek(&self, query: &Query) -> Result<Option<(Bound, u64)>> {
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
                None => (Bound::start_of(edge), skip),
                // The feed begins in this very slot.
                Some(bound) => (Bound::start_of(bound), query.skip),
            }));
        }
        // The month was read before the day, so a transaction may have committed in between. Its activity is then taken
        // for the day's last.
        Ok(Some((Bound::start_of(Timestamp::of_slot(day, SLOTS_A_DAY)), 0)))
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

    /// The workspaces that have activities on a day.
    fn on(&self, day: NaiveDate) -> impl Iterator<Item = &'a VisibleWorkspace> {
        self.visible.iter().filter(move |(_, days)| days.contains_key(&day)).map(|(visible, _)| *visible)
    }

    /// How many activities the reader sees of each slot of a day.
    async fn slots(&self, day: NaiveDate) -> Result<Slots> {
        let slots = self.on(day).map(|visible| async move {
            let read = Box::pin(self.store.slots(&visible.workspace, day));
            let slots = self.budget.read_in_time(read).await?;
            Ok::<Slots, Error>(slots.map(|tally| tally.visible(visible.view)))
        });
        let mut sums = [0; SLOTS_A_DAY as usize];
        for slots in self.budget.read_all(slots.collect()).await? {
            sums.iter_mut().zip(slots).for_each(|(sum, count)| *sum += count);
        }
        for time in self.settings.iter().filter(|time| time.day() == day) {
            if let Some(sum) = sums.get_mut(usize::from(time.slot())) {
                *sum += 1;
            }
        }
        Ok(sums)
    }

    /// How many activities happened from the start of a slot of a day to an instant within it.
    async fn part(&self, day: NaiveDate, start: Timestamp, time: Timestamp) -> Result<u64> {
        if time == start {
            return Ok(0);
        }
        let parts = self.on(day).map(|visible| async move {
            let source = Source {
                partition: Partition::Workspace(visible.workspace.clone()),
                span: Span { from: Bound::start_of(start), to: Bound::start_of(time) },
            };
            let residual = Residual { hide_staff: visible.view == View::Client, ..Residual::default() };
            count(self.store, &source, &residual, self.budget).await
        });
        let parts = self.budget.read_all(parts.collect()).await?;
        let settings = self.settings.iter().filter(|at| (start..time).contains(*at)).count() as u64;
        let counted = parts.into_iter().sum::<Option<u64>>();
        Ok(settings + counted.ok_or(Error::Query(QueryError::SkipWithinSlot))?)
    }
}
