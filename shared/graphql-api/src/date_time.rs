//! The scalar of instants.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::TimeDelta;
use domain::Error;
use domain::time::Timestamp;

/// The digits of a second's fraction that JavaScript's dates have.
const DIGITS_OF_MILLISECONDS: usize = 3;

/// An instant, and how exactly it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DateTime {
    pub(crate) time: Timestamp,
    is_exact: bool,
}

impl From<Timestamp> for DateTime {
    fn from(time: Timestamp) -> Self {
        Self { time, is_exact: true }
    }
}

impl DateTime {
    /// The first instant after this one. A client that has milliseconds means the whole of one, because it knows the times
    /// of activities no better.
    pub(crate) fn end(self) -> Timestamp {
        self.time.plus(if self.is_exact { Timestamp::RESOLUTION } else { TimeDelta::milliseconds(1) })
    }
}

/// An instant: RFC 3339 in UTC with six fraction digits, `2024-12-31T23:59:59.999000Z`, so that the order of the texts is
/// the order of time. An argument may have any offset and fewer digits; without an offset it is UTC.
#[Scalar(name = "DateTime", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let time = Timestamp::parse("DateTime", text).map_err(|error| match error {
            Error::BadInput(faults) => {
                let details: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
                InputValueError::custom(details.join("; "))
            }
            error => InputValueError::custom(error),
        })?;
        let fraction = text.split_once(['.', ',']).map_or("", |(_, fraction)| fraction);
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        Ok(Self { time, is_exact: digits > DIGITS_OF_MILLISECONDS })
    }

    fn to_value(&self) -> Value {
        Value::String(format!("{}Z", self.time.key()))
    }
}
