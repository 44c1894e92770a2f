//! Counters: how many activities each day, and each ten minutes of a day, holds.
//!
//! They commit with what they count, so their sum is always the number of activities. Reads are strongly
//! consistent: a counter read later is never behind one read before.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{Datelike as _, NaiveDate};

use super::{Item, Store, keys};
use domain::access::View;
use domain::ids::WorkspaceId;
use domain::time::{SLOTS_A_DAY, Timestamp};
use domain::{Error, Result};

/// A count of activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// All activities.
    pub all: u64,
    /// The activities for staff.
    pub staff: u64,
}

impl Tally {
    /// How many activities `view` shows. No counter counts the changes of settings apart, so that it is none for their view.
    pub fn visible(self, view: View) -> u64 {
        match view {
            View::All => self.all,
            View::Client => self.all.saturating_sub(self.staff),
            View::Settings | View::Nothing => 0,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.staff += other.staff;
    }
}

/// The days of a workspace that have activities.
pub type Days = BTreeMap<NaiveDate, Tally>;

/// The ten-minute slots of one day.
pub type Slots = [Tally; SLOTS_A_DAY as usize];

/// The attribute of a month's counter for a day, which counts all activities or only those for staff.
pub(super) fn day_attribute(time: Timestamp, staff: bool) -> String {
    format!("{}{}", if staff { 's' } else { 'd' }, time.day().format("%d"))
}

/// The attribute of a day's counter for a slot: two characters, so that all 144 fit one write unit of 1 KiB.
pub(super) fn slot_attribute(time: Timestamp, staff: bool) -> String {
    format!("{}{:02x}", if staff { "s" } else { "" }, time.slot())
}

impl Store {
    /// The days of a workspace, with what each holds.
    pub async fn days(&self, workspace: &WorkspaceId) -> Result<Days> {
        let mut days = Days::new();
        for item in self.counters(workspace, keys::MONTH_PREFIX).await? {
            let month = sort_key(&item)?.trim_start_matches(keys::MONTH_PREFIX).split('#').next();
            let month: NaiveDate =
                format!("{}-01", month.unwrap_or_default()).parse().map_err(Error::internal)?;
            for (name, count) in numbers(&item) {
                let (staff, number) = (name.starts_with('s'), name.trim_start_matches(['d', 's']));
                let day = month.with_day(number.parse().map_err(Error::internal)?);
                let day = day.ok_or_else(|| Error::internal("a day past the month's end"))?;
                days.entry(day).or_default().add(tally(count?, staff));
            }
        }
        Ok(days)
    }

    /// The slots of one day of a workspace.
    pub async fn slots(&self, workspace: &WorkspaceId, day: NaiveDate) -> Result<Slots> {
        let mut slots = [Tally::default(); SLOTS_A_DAY as usize];
        for item in self.counters(workspace, &keys::day_counter_prefix(day)).await? {
            for (name, count) in numbers(&item) {
                let slot =
                    usize::from_str_radix(name.trim_start_matches('s'), 16).map_err(Error::internal)?;
                let slot = slots.get_mut(slot).ok_or_else(|| Error::internal("a slot past the day's end"))?;
                slot.add(tally(count?, name.starts_with('s')));
            }
        }
        Ok(slots)
    }

    async fn counters(&self, workspace: &WorkspaceId, prefix: &str) -> Result<Vec<Item>> {
        self.partition(keys::counters(workspace), prefix, None).await
    }
}

fn tally(count: u64, staff: bool) -> Tally {
    // An activity for staff is counted under both names, so that one number is enough when nothing is hidden.
    if staff { Tally { all: 0, staff: count } } else { Tally { all: count, staff: 0 } }
}

fn sort_key(item: &Item) -> Result<&str> {
    match item.get(keys::SK) {
        Some(AttributeValue::S(sk)) => Ok(sk),
        _ => Err(Error::internal("a counter without a sort key")),
    }
}

fn numbers(item: &Item) -> impl Iterator<Item = (&str, Result<u64>)> {
    item.iter().filter(|(name, _)| *name != keys::PK && *name != keys::SK).map(|(name, value)| {
        let count = match value {
            AttributeValue::N(number) => number.parse().map_err(Error::internal),
            _ => Err(Error::internal(format!("counter {name} is no number"))),
        };
        (name.as_str(), count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_short_and_of_their_time() {
        let time = Timestamp::parse("t", "2025-01-09T23:59:59Z").unwrap();
        assert_eq!((day_attribute(time, false), day_attribute(time, true)), ("d09".into(), "s09".into()));
        assert_eq!((slot_attribute(time, false), slot_attribute(time, true)), ("8f".into(), "s8f".into()));
    }
}
