//! ISO 8601: every spelling of an instant that can mean one thing only, and what is wrong with the others.
//!
//! A date is a calendar date, `2024-03-01`, an ordinal one, `2024-061`, or one of a week, `2024-W09-5`; a time may end with
//! its minutes or its hours, and its last part may have a fraction. Both may do without their separators. No offset means
//! UTC.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, TimeDelta, Utc, Weekday};

/// The words of a fault, which complete "its …".
type Fault = String;

const MICROS_OF_HOUR: u64 = 3_600_000_000;

/// Reads an instant. Digits past the microsecond are cut.
///
/// # Errors
/// The part at fault, and what is wrong with it.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, Fault> {
    if text.trim() != text {
        return Err("first or last character is a space".into());
    }
    let Some((date_text, rest)) = text.split_once(['T', 't', ' ']) else {
        return Err(match date(text) {
            Ok(_) => "time of day is missing".into(),
            Err(fault) => fault,
        });
    };
    let date = date(date_text)?;
    let (time_text, offset_text) = split_offset(rest)?;
    let (since_midnight, is_leap_second) = time(time_text)?;
    let local = NaiveDateTime::from(date).checked_add_signed(since_midnight).ok_or("year is out of range")?;
    let utc = local.checked_sub_signed(offset(offset_text)?).ok_or("year is out of range")?.and_utc();
    // The second 60 was read as the first of the next minute.
    if is_leap_second && !begins_half_year(utc) {
        let fault = "second is 60, and only the last minutes of June and of December, in UTC, can have that";
        return Err(fault.into());
    }
    Ok(utc)
}

/// Whether a leap second may have come before `time`, whose fraction is that of the leap second.
fn begins_half_year(time: DateTime<Utc>) -> bool {
    let is_first = time.day() == 1 && matches!(time.month(), 1 | 7);
    is_first && time.time() < chrono::NaiveTime::MIN + TimeDelta::seconds(1)
}

/// The digits of one part, of which there must be `count`.
fn number(part: &str, text: &str, count: usize) -> Result<u32, Fault> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().ok() } else { None };
    number.ok_or_else(|| format!("{part} must have {count} digits"))
}

/// The same, from `min` to `max`.
fn within(part: &str, text: &str, count: usize, (min, max): (u32, u32)) -> Result<u32, Fault> {
    let number = number(part, text, count)?;
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(format!("{part} is {text}, and must be {min:0count$} to {max:0count$}"))
}

fn date(text: &str) -> Result<NaiveDate, Fault> {
    if text.is_empty() {
        return Err("date is missing".into());
    }
    if !text.is_ascii() {
        return Err("date has a character that no date has".into());
    }
    let parts: Vec<&str> = text.split('-').collect();
    let with_week = |part: &str| part.starts_with(['W', 'w']);
    match parts[..] {
        [year, month, day] if !with_week(month) => calendar_date(year, month, day),
        [year, week, day] => week_date(year, &week[1..], day),
        [_, week] if with_week(week) => Err("day of the week is missing".into()),
        [year, day] if day.len() == 3 => ordinal_date(year, day),
        [_, _] => Err("day is missing".into()),
        [all] if all.len() == 8 && with_week(&all[4..]) => week_date(&all[..4], &all[5..7], &all[7..]),
        [all] if all.len() == 8 => calendar_date(&all[..4], &all[4..6], &all[6..]),
        [all] if all.len() == 7 && !with_week(&all[4..]) => ordinal_date(&all[..4], &all[4..]),
        _ => Err("date is not written like 2024-03-01".into()),
    }
}

fn calendar_date(year: &str, month: &str, day: &str) -> Result<NaiveDate, Fault> {
    let (year, month_number) = (number("year", year, 4)?, within("month", month, 2, (1, 12))?);
    let day_number = within("day", day, 2, (1, 31))?;
    let date = NaiveDate::from_ymd_opt(year.cast_signed(), month_number, day_number);
    date.ok_or_else(|| format!("day is {day}, and its month is shorter"))
}

fn ordinal_date(year: &str, day: &str) -> Result<NaiveDate, Fault> {
    let (year, number) = (number("year", year, 4)?, within("day of the year", day, 3, (1, 366))?);
    let date = NaiveDate::from_yo_opt(year.cast_signed(), number);
    date.ok_or_else(|| format!("day of the year is {day}, and its year is shorter"))
}

fn week_date(year: &str, week: &str, day: &str) -> Result<NaiveDate, Fault> {
    let (year, week_number) = (number("year", year, 4)?, within("week", week, 2, (1, 53))?);
    let day = within("day of the week", day, 1, (1, 7))?;
    let weekday = u8::try_from(day - 1).ok().and_then(|day| Weekday::try_from(day).ok());
    let date = weekday.and_then(|day| NaiveDate::from_isoywd_opt(year.cast_signed(), week_number, day));
    date.ok_or_else(|| format!("week is {week}, and its year is shorter"))
}

/// The time since midnight, and whether its second is the 60th, which is counted as the next minute's first.
fn time(text: &str) -> Result<(TimeDelta, bool), Fault> {
    if text.is_empty() {
        return Err("time of day is missing".into());
    }
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((_, "")) => return Err("fraction is missing".into()),
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    if !whole.is_ascii() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("time of day has a character that no time has".into());
    }
    let parts: Vec<&str> = match whole.contains(':') {
        true => whole.split(':').collect(),
        false if matches!(whole.len(), 2 | 4 | 6) => {
            (0..whole.len()).step_by(2).map(|at| &whole[at..at + 2]).collect()
        }
        false => Vec::new(),
    };
    let ranges = [("hour", 23), ("minute", 59), ("second", 60)];
    if parts.is_empty() || parts.len() > ranges.len() {
        return Err("time of day is not written like 12:34:56".into());
    }
    if parts[0] == "24" {
        return Err("hour is 24: write 00 of the next day".into());
    }
    let (mut micros, mut unit, mut last) = (0, MICROS_OF_HOUR, 0);
    for (index, (part, (name, max))) in parts.iter().zip(ranges).enumerate() {
        unit = MICROS_OF_HOUR / 60_u64.pow(u32::try_from(index).unwrap_or_default());
        last = within(name, part, 2, (0, max))?;
        micros += u64::from(last) * unit;
    }
    let is_leap_second = parts.len() == 3 && last == 60;
    micros += part_of(unit, fraction);
    Ok((TimeDelta::microseconds(micros.cast_signed()), is_leap_second))
}

/// The decimal fraction with these digits of `unit`, cut. Twelve digits tell every microsecond of an hour from the next.
fn part_of(unit: u64, digits: &str) -> u64 {
    let kept = digits.len().min(12);
    let (number, scale) =
        (digits[..kept].parse::<u128>().unwrap_or(0), 10_u128.pow(u32::try_from(kept).unwrap_or(0)));
    u64::try_from(number * u128::from(unit) / scale).unwrap_or(0)
}

/// Splits a time of day from its offset, which begins with its sign, and is empty if there is none.
fn split_offset(text: &str) -> Result<(&str, &str), Fault> {
    if text.contains('[') {
        return Err("time zone has a name in brackets: leave that out".into());
    }
    if text.contains(' ') {
        return Err("offset has a space before it; in a URL, + is written %2B".into());
    }
    Ok(match text.find(['Z', 'z', '+', '-', '\u{2212}']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    })
}

fn offset(text: &str) -> Result<TimeDelta, Fault> {
    if ["", "Z", "z"].contains(&text) {
        return Ok(TimeDelta::zero());
    }
    // ISO 8601 also knows the minus sign, and not the hyphen only.
    let (sign, digits) = match text.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, text.trim_start_matches(['-', '\u{2212}'])),
    };
    let is_signed_once = text.chars().count() == digits.chars().count() + 1;
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        _ if !is_signed_once || !digits.is_ascii() => ("", ""),
        (Some(parts), _) => parts,
        (None, 4) => digits.split_at(2),
        (None, _) => (digits, "00"),
    };
    if hours.is_empty() {
        return Err("offset is not written like Z or +01:00".into());
    }
    let hours = within("offset's hour", hours, 2, (0, 23))?;
    let minutes = within("offset's minute", minutes, 2, (0, 59))?;
    Ok(TimeDelta::minutes(sign * i64::from(hours * 60 + minutes)))
}
