//! Ranks: how many activities come before an instant, and which one has a given rank, by the counters.
//!
//! Months hold a number for each day, days one for each ten minutes, so that any rank is found with one read
//! of a day's slots and one Query that skips at most a slot's worth, however deep it lies.

use tokio::time::Instant;

use super::{Order, Query, plan};
use crate::access::View;
use crate::ids::WorkspaceId;
use crate::keys::{self, Position};
use crate::store::{Days, Residual, Source, Span, Store};
use crate::time::{SLOTS_A_DAY, Timestamp};
use crate::{Error, Result};

/// Requests that counting part of a slot may take: 64 MB within ten minutes.
const SLOT_REQUESTS: usize = 64;

/// The ranks of a workspace's activities, as `view` shows them.
pub(super) struct Ranks<'a> {
    pub(super) store: &'a Store,
    pub(super) workspace: &'a WorkspaceId,
    pub(super) days: &'a Days,
    pub(super) view: View,
    pub(super) until: Instant,
}

impl Ranks<'_> {
    /// How many activities lie within the bounds.
    pub(super) async fn between(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<u64> {
        let (from, to) = tokio::try_join!(self.from(since), self.to(until))?;
        Ok(to.saturating_sub(from))
    }

    /// Where to begin reading, and how many activities to skip from there, so that the page begins `offset`
    /// activities into the feed. `None` past its end.
    pub(super) async fn seek(&self, query: &Query, offset: u64) -> Result<Option<(Span, usize)>> {
        let rank = match query.order {
            Order::Ascending => self.from(query.since).await?.checked_add(offset),
            Order::Descending => {
                self.to(query.until).await?.checked_sub(1).and_then(|last| last.checked_sub(offset))
            }
        };
        let Some(mut rank) = rank else { return Ok(None) };
        let mut days = self.days.iter().map(|(day, tally)| (*day, tally.visible(self.view)));
        let holds = |(_, count): &(_, u64)| {
            let found = rank < *count;
            if !found {
                rank -= count;
            }
            found
        };
        let Some((day, _)) = days.find(holds) else { return Ok(None) };
        let slots = self.store.slots(self.workspace, day).await?;
        for (slot, tally) in (0u8..).zip(slots) {
            let count = tally.visible(self.view);
            if rank >= count {
                rank -= count;
                continue;
            }
            let mut span = plan::whole(query);
            let skip = match query.order {
                Order::Ascending => {
                    span.from = Position::start_of(Timestamp::of_slot(day, slot));
                    rank
                }
                Order::Descending => {
                    span.to = Position::start_of(Timestamp::of_slot(day, slot + 1));
                    count - 1 - rank
                }
            };
            return Ok(Some((span, usize::try_from(skip).map_err(Error::internal)?)));
        }
        // A transaction just committed may show in the month before it shows in the day; its activity is then the
        // day's last.
        let mut span = plan::whole(query);
        let end = Position::start_of(Timestamp::of_slot(day, SLOTS_A_DAY));
        match query.order {
            Order::Ascending => span.from = end,
            Order::Descending => span.to = end,
        }
        Ok(Some((span, 0)))
    }

    async fn from(&self, since: Option<Timestamp>) -> Result<u64> {
        match since {
            None => Ok(0),
            Some(since) => Box::pin(self.before(since)).await,
        }
    }

    async fn to(&self, until: Option<Timestamp>) -> Result<u64> {
        match until {
            None => Ok(self.days.values().map(|tally| tally.visible(self.view)).sum()),
            Some(until) => Box::pin(self.before(until)).await,
        }
    }

    /// How many activities happened before `time`.
    async fn before(&self, time: Timestamp) -> Result<u64> {
        let (day, slot) = (time.day(), time.slot());
        let days: u64 = self.days.range(..day).map(|(_, tally)| tally.visible(self.view)).sum();
        if time == Timestamp::of_slot(day, 0) || !self.days.contains_key(&day) {
            return Ok(days);
        }
        let slots = async {
            let slots = self.store.slots(self.workspace, day).await?;
            Ok(slots.iter().take(slot.into()).map(|tally| tally.visible(self.view)).sum::<u64>())
        };
        let (slots, part) = tokio::try_join!(slots, self.part(Timestamp::of_slot(day, slot), time))?;
        Ok(days + slots + part)
    }

    /// How many activities happened from the start of a slot to an instant within it.
    async fn part(&self, start: Timestamp, time: Timestamp) -> Result<u64> {
        if time == start {
            return Ok(0);
        }
        let source = Source {
            index: None,
            partition: (keys::PK, keys::workspace(self.workspace)),
            sort: (keys::SK, keys::ACTIVITY_PREFIX.into()),
        };
        let span = Span { from: Position::start_of(start), to: Position::start_of(time) };
        let residual = Residual { hide_staff: self.view == View::Client, ..Residual::default() };
        let count = self.store.count(&source, &span, &residual, SLOT_REQUESTS, self.until).await?;
        count.ok_or_else(|| {
            let detail = "cannot be used with this since and until, which cut into ten minutes of too many \
                          activities; move them to full ten minutes";
            Error::bad_input("offset", detail)
        })
    }
}
