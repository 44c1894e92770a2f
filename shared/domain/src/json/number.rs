//! Numbers, digit by digit.

/// A number as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(String);

impl Number {
    /// A number that JSON's syntax allows.
    pub(super) fn written(text: String) -> Self {
        Self(text)
    }

    /// The number as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One spelling for all of equal value: `12e-1` of `1.20`.
    pub fn canonical(&self) -> String {
        let Decimal { is_negative, digits, exponent } = self.decimal();
        let sign = if is_negative { "-" } else { "" };
        format!("{sign}{digits}e{exponent}")
    }

    /// Whether it is 0 or more.
    pub fn is_positive(&self) -> bool {
        !self.decimal().is_negative
    }

    /// Whether it is a whole number, such as `5`, `5.0` and `5e3`.
    pub fn is_whole(&self) -> bool {
        self.decimal().exponent >= 0
    }

    /// The number, if it is whole and fits.
    pub fn as_u64(&self) -> Option<u64> {
        let Decimal { is_negative, digits, exponent } = self.decimal();
        let power = 10_u64.checked_pow(u32::try_from(exponent).ok()?)?;
        digits.parse::<u64>().ok()?.checked_mul(power).filter(|_| !is_negative)
    }

    /// Whether its exponent is one that [`Number::canonical`] can count with: any of up to 18 digits.
    pub(super) fn is_countable(&self) -> bool {
        let exponent = self.0.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
        exponent.trim_start_matches(['+', '-']).trim_start_matches('0').len() <= 18
    }

    fn decimal(&self) -> Decimal {
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((&self.0, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i64 = exponent.trim_start_matches('+').parse().unwrap_or_default();
        let all = format!("{}{fraction}", whole.trim_start_matches('-'));
        let digits = all.trim_end_matches('0');
        let cut = (all.len() - digits.len()) as i64;
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Decimal { is_negative: false, digits: "0".into(), exponent: 0 };
        }
        let exponent = exponent + cut - fraction.len() as i64;
        Decimal { is_negative: whole.starts_with('-'), digits: digits.into(), exponent }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

/// A number as digits that neither begin nor end with a zero, times a power of ten. Zero is `0`, and positive.
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::written(text.into())
    }

    #[test]
    fn spellings_of_one_value_are_one() {
        for (text, canonical) in [
            ("0", "0e0"),
            ("-0", "0e0"),
            ("0.000", "0e0"),
            ("0e99", "0e0"),
            ("1", "1e0"),
            ("1.0", "1e0"),
            ("10", "1e1"),
            ("1e1", "1e1"),
            ("0.1e2", "1e1"),
            ("-12.340e-2", "-1234e-4"),
            ("1700000000.123456789", "1700000000123456789e-9"),
            ("1E+20", "1e20"),
            ("1e-999", "1e-999"),
            ("1e999999999999999999", "1e999999999999999999"),
        ] {
            assert_eq!(number(text).canonical(), canonical, "{text}");
            assert!(number(text).is_countable());
        }
        assert!(!number("1e1000000000000000000").is_countable());
        assert!(number("1e0000000000000000000001").is_countable());
    }

    #[test]
    fn whole_numbers_are_read() {
        for (text, value) in
            [("5", Some(5)), ("5.0", Some(5)), ("5e3", Some(5_000)), ("18446744073709551615", Some(u64::MAX))]
        {
            assert_eq!(number(text).as_u64(), value, "{text}");
        }
        for text in ["-5", "0.5", "5e-1", "18446744073709551616", "1e20", "1e999999999999999999"] {
            assert_eq!(number(text).as_u64(), None, "{text}");
        }
        assert!(number("-0").is_positive() && !number("-1e-9").is_positive());
        assert!(number("1e3").is_whole() && number("1.50e1").is_whole() && !number("1.5").is_whole());
    }
}
