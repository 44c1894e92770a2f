//! Instants to the microsecond, in the forms the log writes them.

mod iso8601;

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

    /// Parses ISO 8601 in every spelling that can mean one instant only, RFC 3339 among them. Without an offset it means
    /// UTC. Digits past the microsecond are cut.
    ///
    /// # Errors
    /// [`Error::BadInput`] of `field`, with the part at fault, when the text is no such time, there is none such, or the
    /// year is not one of 1 to 9999.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let in_range = |time: DateTime<Utc>| match time.year() {
            1..=9999 => Ok(Self::truncate(time)),
            _ => Err("year must be 0001 to 9999 in UTC".to_owned()),
        };
        iso8601::parse(text).and_then(in_range).map_err(|fault| {
            Error::bad_input(field, format!("must be a time such as 2025-01-01T00:00:00Z: its {fault}"))
        })
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
    fn reads_every_spelling_of_an_instant() {
        for (given, instant) in [
            // Jira's, Java's without and JavaScript's with milliseconds.
            ("2024-03-01T12:34:56.000+0000", "2024-03-01T12:34:56"),
            ("2024-03-01T12:34:56.789-0530", "2024-03-01T18:04:56.789"),
            ("2024-03-01T12:34:56.789Z", "2024-03-01T12:34:56.789"),
            ("2024-03-01t12:34:56z", "2024-03-01T12:34:56"),
            ("2024-03-01 12:34:56+01:00", "2024-03-01T11:34:56"),
            ("2024-03-01T12:34:56+01", "2024-03-01T11:34:56"),
            ("2024-03-01T12:34:56-00:00", "2024-03-01T12:34:56"),
            ("2024-03-01T12:34:56\u{2212}05:00", "2024-03-01T17:34:56"),
            ("2024-03-01T12:34:56,5Z", "2024-03-01T12:34:56.500"),
            ("2024-03-01T12:34Z", "2024-03-01T12:34:00"),
            ("2024-03-01T12:34", "2024-03-01T12:34:00"),
            ("2024-03-01T12Z", "2024-03-01T12:00:00"),
            ("2024-03-01T12.5Z", "2024-03-01T12:30:00"),
            ("2024-03-01T12:34.1Z", "2024-03-01T12:34:06"),
            ("20240301T123456Z", "2024-03-01T12:34:56"),
            ("20240301T123456.25+0100", "2024-03-01T11:34:56.250"),
            ("20240301T1234-03", "2024-03-01T15:34:00"),
            ("20240301T12:34:56Z", "2024-03-01T12:34:56"),
            ("2024-061T12:34:56Z", "2024-03-01T12:34:56"),
            ("2024061T123456Z", "2024-03-01T12:34:56"),
            ("2024-366T00:00:00Z", "2024-12-31T00:00:00"),
            ("2024-W09-5T12:34:56Z", "2024-03-01T12:34:56"),
            ("2024W095T123456Z", "2024-03-01T12:34:56"),
            ("2020-W53-7T00:00:00Z", "2021-01-03T00:00:00"),
            ("2025-W01-1T00:00:00Z", "2024-12-30T00:00:00"),
            ("2024-02-29T23:59:59.9999999Z", "2024-02-29T23:59:59.999999"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999"),
            ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500"),
            ("2015-07-01T01:59:60+02:00", "2015-07-01T00:00:00"),
            ("2015-07-01T05:29:60+05:30", "2015-07-01T00:00:00"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ] {
            assert_eq!(at(given).to_string(), instant, "{given}");
        }
    }

    #[test]
    fn refusal_says_which_part_is_wrong() {
        for (bad, fault) in [
            ("", "date is missing"),
            ("now", "date is not written like"),
            ("1700000000", "date is not written like"),
            ("2025-01-01", "time of day is missing"),
            ("2025-01-01T", "time of day is missing"),
            ("2025-01-01TZ", "time of day is missing"),
            ("2025", "date is not written like"),
            ("2025-01", "day is missing"),
            ("2025-W01", "day of the week is missing"),
            ("2025-W01T00:00:00Z", "day of the week is missing"),
            ("2025-13-01T00:00:00Z", "month is 13, and must be 01 to 12"),
            ("2025-00-01T00:00:00Z", "month is 00, and must be 01 to 12"),
            ("2025-01-32T00:00:00Z", "day is 32, and must be 01 to 31"),
            ("2025-02-30T00:00:00Z", "day is 30, and its month is shorter"),
            ("2023-02-29T00:00:00Z", "day is 29, and its month is shorter"),
            ("2025-366T00:00:00Z", "day of the year is 366, and its year is shorter"),
            ("2025-000T00:00:00Z", "day of the year is 000, and must be 001 to 366"),
            ("2025-W53-1T00:00:00Z", "week is 53, and its year is shorter"),
            ("2025-W01-8T00:00:00Z", "day of the week is 8, and must be 1 to 7"),
            ("2025-1-1T00:00:00Z", "month must have 2 digits"),
            ("99-01-01T00:00:00Z", "year must have 4 digits"),
            ("10000-01-01T00:00:00Z", "year must have 4 digits"),
            ("+2025-01-01T00:00:00", "year must have 4 digits"),
            ("0000-12-31T23:59:59Z", "year must be 0001 to 9999"),
            ("0001-01-01T00:00:00+01:00", "year must be 0001 to 9999"),
            ("9999-12-31T23:59:59-01:00", "year must be 0001 to 9999"),
            ("2025-01-01T24:00:00Z", "hour is 24: write 00 of the next day"),
            ("2025-01-01T25:00:00Z", "hour is 25, and must be 00 to 23"),
            ("2025-01-01T12:60:00Z", "minute is 60, and must be 00 to 59"),
            ("2025-01-01T12:34:61Z", "second is 61, and must be 00 to 60"),
            ("2025-01-01T12:34:60Z", "second is 60, and only the last minutes"),
            ("2025-03-15T23:59:60Z", "second is 60, and only the last minutes"),
            ("2016-12-31T23:59:60+01:00", "second is 60, and only the last minutes"),
            ("2016-12-31T22:59:60Z", "second is 60, and only the last minutes"),
            ("2025-01-01T12:34:5Z", "second must have 2 digits"),
            ("2025-01-01T1:1:1Z", "hour must have 2 digits"),
            ("2025-01-01T12345Z", "time of day is not written like"),
            ("2025-01-01T12:34:56:78Z", "time of day is not written like"),
            ("2025-01-01T12:34:56.Z", "fraction is missing"),
            ("2025-01-01T12:34:56.x", "time of day has a character"),
            ("2025-01-01T12:34:56 +01:00", "offset has a space before it"),
            ("2025-01-01T00:00:00 01:00", "offset has a space before it; in a URL, + is written %2B"),
            ("2025-01-01T00:00:00 Z", "offset has a space before it"),
            ("2025-01-01T00:00:00+24:00", "offset's hour is 24, and must be 00 to 23"),
            ("2025-01-01T00:00:00+01:60", "offset's minute is 60, and must be 00 to 59"),
            ("2025-01-01T00:00:00+1", "offset's hour must have 2 digits"),
            ("2025-01-01T00:00:00+", "offset is not written like"),
            ("2025-01-01T00:00:00+-1", "offset's hour must have 2 digits"),
            ("2025-01-01T00:00:00--01", "offset is not written like"),
            ("2025-01-01T00:00:00ZZ", "offset is not written like"),
            ("2025-01-01T00:00:00UTC", "second must have 2 digits"),
            ("2025-01-01T00:00:00+01:00[Europe/Paris]", "time zone has a name in brackets"),
            (" 2025-01-01T00:00:00", "first or last character is a space"),
            ("2025-01-01T00:00:00Z\n", "first or last character is a space"),
            ("٢٠٢٥-01-01T00:00:00Z", "date has a character"),
            ("2025-01-01T٠٠:00:00Z", "time of day has a character"),
            ("2025-01-01T00:00:00+é1", "offset is not written like"),
            ("é", "date has a character"),
        ] {
            let refused = Timestamp::parse("since", bad).unwrap_err().to_string();
            let expected = format!("since: must be a time such as 2025-01-01T00:00:00Z: its {fault}");
            assert!(refused.starts_with(&expected), "{bad}: {refused}");
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
