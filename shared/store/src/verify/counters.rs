//! Counters, held against the activities.

use std::collections::BTreeMap;

use domain::ids::WorkspaceId;
use domain::time::Timestamp;

use super::Fault;
use crate::{Item, keys};

/// The counters of one workspace. Each number has a name: the sort key without its shard, and the attribute.
#[derive(Default)]
pub(super) struct Counters {
    /// Summed over the shards.
    sums: BTreeMap<Box<str>, u64>,
    /// The values that are no numbers in some shard.
    broken: BTreeMap<Box<str>, String>,
}

impl Counters {
    /// Takes in one shard of a counter.
    pub(super) fn add(&mut self, counter: &str, item: &Item) {
        let mut numbers = item.iter().filter(|(name, _)| *name != keys::PK && *name != keys::SK).peekable();
        if numbers.peek().is_none() {
            // Nothing writes an empty counter, so it must not be there.
            self.sums.entry(counter.into()).or_default();
        }
        for (name, value) in numbers {
            let name = format!("{counter} {name}").into_boxed_str();
            match value.as_n().ok().and_then(|number| number.parse::<u64>().ok()) {
                Some(number) => {
                    let sum = self.sums.entry(name).or_default();
                    *sum = sum.saturating_add(number);
                }
                None => {
                    self.broken.insert(name, format!("{value:?}"));
                }
            }
        }
    }

    /// The numbers that are not those of `activities`, which come with their times and whether they are for staff.
    pub(super) fn compare(
        &self,
        workspace: &WorkspaceId,
        activities: impl Iterator<Item = (Timestamp, bool)>,
    ) -> Vec<Fault> {
        let mut there: BTreeMap<String, u64> = BTreeMap::new();
        for (time, staff) in activities {
            // This reads the text of the key, so that it does not repeat a fault of the code that counts.
            let time = time.key();
            let (month, day, date, hour) = (&time[..7], &time[8..10], &time[..10], &time[11..13]);
            let slot = hour.parse().unwrap_or(0u16) * 6 + time[14..15].parse().unwrap_or(0);
            let kinds: &[(&str, &str)] = if staff { &[("d", ""), ("s", "s")] } else { &[("d", "")] };
            for (of_day, of_slot) in kinds {
                *there.entry(format!("M#{month} {of_day}{day}")).or_default() += 1;
                *there.entry(format!("D#{date} {of_slot}{slot:02x}")).or_default() += 1;
            }
        }
        let mut faults = Vec::new();
        let mut fault = |number: &str, found, there| {
            let (workspace, number) = (workspace.clone(), number.to_owned());
            faults.push(Fault::Counter { workspace, number, found, there });
        };
        for (number, text) in &self.broken {
            fault(number, Some(text.clone()), there.remove(&**number));
        }
        for (number, &sum) in self.sums.iter().filter(|(number, _)| !self.broken.contains_key(*number)) {
            let there = there.remove(&**number);
            if there != Some(sum) {
                fault(number, Some(sum.to_string()), there);
            }
        }
        for (number, &there) in &there {
            fault(number, None, Some(there));
        }
        faults
    }
}
