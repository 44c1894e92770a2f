//! Instants to the microsecond, in the forms the log writes them.

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, TimeDelta, Timelike, Utc};

use crate::{Error, Result};

/// Reads the current time. Passed in wherever time matters, so that tests decide it.
pub type Clock = std::sync::Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    std::sync::Arc::new(|| Timestamp::truncate(Utc::now()))
}

/// Slots of ten minutes in a day.
pub const SLOTS_A_DAY: u8 = 144;

/// An instant in UTC with microsecond precision, of the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The last instant of the year 9999: after every activity there can be.
    pub const MAX: Self = Self(match DateTime::from_timestamp_micros(253_402_300_799_999_999) {
        Some(time) => time,
        None => unreachable!(),
    });

    /// The least time between two instants.
    pub const RESOLUTION: TimeDelta = TimeDelta::microseconds(1);

    /// Cuts `time` to the microsecond.
    pub fn truncate(time: DateTime<Utc>) -> Self {
        // A leap second's subseconds exceed one second; going through the count carries them over.
        Self(DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time))
    }

    /// The instant, for other libraries.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Parses RFC 3339, or the same without an offset, which means UTC. Digits past the microsecond are cut.
    ///
    /// # Errors
    /// [`Error::BadInput`] of `field` when the text is neither, or the year is not one of 1 to 9999.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let parsed = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc)).or_else(|_| {
            DateTime::parse_from_rfc3339(&format!("{text}Z")).map(|time| time.with_timezone(&Utc))
        });
        match parsed.map(Self::truncate) {
            Ok(time) if (1..=9999).contains(&time.0.year()) && text.is_ascii() => Ok(time),
            _ => Err(Error::bad_input(field, "must be an RFC 3339 time such as 2025-01-01T00:00:00Z")),
        }
    }

    /// The fixed-width form used in keys: `2025-01-01T00:00:00.000000`. Its byte order is time order.
    pub fn key(self) -> String {
        self.0.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
    }

    /// The day this instant falls on.
    pub fn day(self) -> NaiveDate {
        self.0.date_naive()
    }

    /// The ten-minute slot of the day, 0 to 143.
    pub fn slot(self) -> u8 {
        (self.0.num_seconds_from_midnight() / 600) as u8
    }

    /// When slot `slot` of `day` begins; slot 144 is the next day's first.
    pub fn of_slot(day: NaiveDate, slot: u8) -> Self {
        Self(day.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::minutes(10 * i64::from(slot)))
    }

    /// RFC 3339 in UTC, as JavaScript writes it and reads it: `2025-01-01T00:00:00.000Z`, with six fraction digits when
    /// three are not enough.
    pub fn rfc3339(self) -> String {
        let digits = if self.0.timestamp_subsec_micros().is_multiple_of(1000) {
            SecondsFormat::Millis
        } else {
            SecondsFormat::Micros
        };
        self.0.to_rfc3339_opts(digits, true)
    }

    /// Later by `delta`, or earlier; at the most the last instant there is.
    pub fn plus(self, delta: TimeDelta) -> Self {
        self.0.checked_add_signed(delta).map_or(Self::MAX, |time| Self::truncate(time).min(Self::MAX))
    }
}

/// The reference's form: `2025-01-01T00:00:00`, with three or six fraction digits when they are not zero: other
/// numbers of digits, Python before 3.11 cannot read.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = self.0.format("%Y-%m-%dT%H:%M:%S");
        match self.0.timestamp_subsec_micros() {
            0 => write!(f, "{whole}"),
            micros if micros % 1000 == 0 => write!(f, "{whole}.{:03}", micros / 1000),
            micros => write!(f, "{whole}.{micros:06}"),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("t", text).unwrap()
    }

    #[test]
    fn prints_the_references_form() {
        for (given, shown) in [
            ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00"),
            ("2025-01-01T00:00:00", "2025-01-01T00:00:00"),
            ("2025-01-01T02:00:00+02:00", "2025-01-01T00:00:00"),
            ("2025-01-01T00:00:00.120000Z", "2025-01-01T00:00:00.120"),
            ("2025-01-01T00:00:00.000001", "2025-01-01T00:00:00.000001"),
            ("2025-01-01T00:00:00.1234567Z", "2025-01-01T00:00:00.123456"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ] {
            assert_eq!(at(given).to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_is_not_a_time() {
        for bad in [
            "",
            "now",
            "2025-01-01",
            "2025-13-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+01:00",
            " 2025-01-01T00:00:00",
            "2025-01-01T00:00",
            "99-1-1T1:1:1",
            "+2025-01-01T00:00:00",
            "2025-01-01T00:00:00 Z",
            "٢٠٢٥-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse("since", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_fixed_width_and_sort_by_time() {
        assert_eq!(at("2025-01-01T00:00:00Z").key(), "2025-01-01T00:00:00.000000");
        assert_eq!(at("0999-01-01T00:00:00.5Z").key(), "0999-01-01T00:00:00.500000");
        assert!(at("0999-12-31T23:59:59.999999Z").key() < at("1000-01-01T00:00:00Z").key());
        assert_eq!(Timestamp::MAX.key(), "9999-12-31T23:59:59.999999");
    }

    #[test]
    fn finds_the_slot_and_its_start() {
        let time = at("2025-03-04T23:59:59.999999Z");
        assert_eq!(time.slot(), 143);
        assert_eq!(Timestamp::of_slot(time.day(), 143), at("2025-03-04T23:50:00Z"));
        assert_eq!(Timestamp::of_slot(time.day(), 144), at("2025-03-05T00:00:00Z"));
    }
}
