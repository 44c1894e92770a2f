//! The value of a field that holds, in whatever order its values arrive.
//!
//! A workspace goes by time or by versions. Times are uncertain, because clocks differ and events overtake each other. Two
//! changes within a tolerance have no order: the more restrictive one holds, and a removed member stays out. Versions are
//! the order of the system of record, and the newest holds.

use chrono::TimeDelta;

use crate::activity::Activity;
use crate::ids::ActivityId;
use crate::position::TimePosition;
use crate::time::Timestamp;

/// The tolerance unless it is set otherwise.
pub const DEFAULT_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// When an activity said something of the directory. Whatever has a version was said later than all that has only a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precedence {
    /// At a time; the id tells activities of one instant apart.
    Time(TimePosition),
    /// In a version of the workspace's system of record.
    Version(u64, ActivityId),
}

impl Precedence {
    /// When `activity` was said. A time is the earlier one of the producer's clock and the recorder's, so that a clock
    /// ahead gains nothing.
    pub fn of(activity: &Activity) -> Self {
        let id = activity.id.clone();
        match activity.version {
            Some(version) => Self::Version(version, id),
            None => {
                let recorded_at = activity.recorded.as_ref().map(|recorded| recorded.recorded_at);
                let created_at = recorded_at.map_or(activity.created_at, |at| at.min(activity.created_at));
                Self::Time(TimePosition { created_at, id })
            }
        }
    }

    /// The activity that said it.
    pub fn id(&self) -> &ActivityId {
        match self {
            Self::Time(position) => &position.id,
            Self::Version(_, id) => id,
        }
    }

    /// The time from which on a contradiction is clearly later; none for a version.
    pub fn clearly_later(&self, tolerance: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::Time(position) => Some(position.created_at.plus(tolerance)),
            Self::Version(..) => None,
        }
    }

    /// Whether it was said so much after `other` that no tolerance makes them one.
    pub fn is_clearly_after(&self, other: &Self, tolerance: TimeDelta) -> bool {
        self > other && !other.is_within(self, tolerance)
    }

    /// Whether it may have been said as late as `newest`.
    fn is_within(&self, newest: &Self, tolerance: TimeDelta) -> bool {
        match (self, newest) {
            (Self::Time(ours), Self::Time(newest)) => ours.created_at.plus(tolerance) >= newest.created_at,
            (Self::Version(ours, _), Self::Version(newest, _)) => ours == newest,
            _ => false,
        }
    }
}

/// The value that holds, of those that were said, each with the newest time it was said: of all within `tolerance` of the
/// newest, the most restrictive. `None` when nothing was said.
pub fn holding<T: Ord>(
    said: impl IntoIterator<Item = (T, Precedence)>,
    tolerance: TimeDelta,
) -> Option<(T, Precedence)> {
    let said: Vec<(T, Precedence)> = said.into_iter().collect();
    let newest = said.iter().map(|(_, at)| at).max()?.clone();
    // The first is the most restrictive. Said twice, a value counts from the later time.
    said.into_iter()
        .filter(|(_, at)| at.is_within(&newest, tolerance))
        .min_by(|(a, a_at), (b, b_at)| a.cmp(b).then_with(|| b_at.cmp(a_at)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Precedence {
        let created_at = Timestamp::truncate(chrono::DateTime::from_timestamp(seconds, 0).unwrap());
        Precedence::Time(TimePosition {
            created_at,
            id: ActivityId::parse("id", format!("a{seconds}")).unwrap(),
        })
    }

    fn version(number: u64) -> Precedence {
        Precedence::Version(number, ActivityId::parse("id", format!("v{number}")).unwrap())
    }

    fn held(said: &[(u8, Precedence)]) -> Option<u8> {
        holding(said.iter().cloned(), DEFAULT_TOLERANCE).map(|(value, _)| value)
    }

    #[test]
    fn newest_holds_unless_something_stricter_is_near() {
        assert_eq!(held(&[]), None);
        assert_eq!(held(&[(9, at(10))]), Some(9));
        assert_eq!(held(&[(1, at(10)), (9, at(16))]), Some(9));
        assert_eq!(held(&[(1, at(10)), (9, at(15))]), Some(1));
        assert_eq!(held(&[(9, at(10)), (1, at(15))]), Some(1));
        // Nearness is not transitive.
        assert_eq!(held(&[(1, at(4)), (5, at(8)), (9, at(12))]), Some(5));
        assert_eq!(held(&[(1, version(3)), (9, version(4))]), Some(9));
        assert_eq!(held(&[(9, version(4)), (1, version(4))]), Some(1));
        assert_eq!(held(&[(1, at(1_000)), (9, version(0))]), Some(9));
    }

    proptest! {
        #[test]
        fn order_of_arrival_does_not_matter(
            (said, shuffled) in prop::collection::vec((0u8..4, 0i64..30), 1..12)
                .prop_flat_map(|said| (Just(said.clone()), Just(said).prop_shuffle())),
        ) {
            // The table keeps the newest time of each value, in whatever order they come.
            let keep = |said: &[(u8, i64)]| {
                let mut kept = std::collections::BTreeMap::new();
                for &(value, seconds) in said {
                    let newest = kept.entry(value).or_insert(seconds);
                    *newest = seconds.max(*newest);
                }
                let kept: Vec<_> = kept.into_iter().map(|(value, seconds)| (value, at(seconds))).collect();
                held(&kept)
            };
            prop_assert_eq!(keep(&said), keep(&shuffled));
            let all: Vec<_> = said.iter().map(|&(value, seconds)| (value, at(seconds))).collect();
            prop_assert_eq!(keep(&said), held(&all));
        }
    }
}
