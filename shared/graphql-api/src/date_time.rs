//! The scalar of instants.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use domain::Error;
use domain::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DateTime(pub(crate) Timestamp);

/// An instant: RFC 3339 with three or six fraction digits, `2024-12-31T23:59:59.999Z`. An argument may have any offset;
/// without one it is UTC.
#[Scalar(name = "DateTime", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        Timestamp::parse("DateTime", text).map(Self).map_err(|error| match error {
            Error::BadInput(faults) => {
                let details: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
                InputValueError::custom(details.join("; "))
            }
            error => InputValueError::custom(error),
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.rfc3339())
    }
}
