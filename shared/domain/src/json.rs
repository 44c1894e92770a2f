//! JSON of callers. It is kept exactly: numbers digit by digit, members in their order. It is read strictly: a member that is
//! given twice is a fault, not a silent choice of one value.
//!
//! serde_json reads numbers as doubles, so that only its syntax is used here, value by value.

mod details;
mod members;
mod number;
mod read;

use std::fmt;

use serde_json::Value;

pub use details::Details;
pub use members::{Members, TEXT_PATTERN, text};
pub use number::Number;
pub use read::{Document, items, parse};

/// The most characters of a member's name in an error.
const MAX_NAME: usize = 64;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

/// The members of an object, in their order, each once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(Vec<(String, Json)>);

impl Json {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Its JSON with the members of each object in the order of their names, and one spelling for each number, so that equal
    /// values have equal texts.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true, |number, text| text.push_str(&number.canonical()));
        text
    }

    /// The same with numbers as they were written.
    pub(crate) fn sorted(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true, as_written);
        text
    }

    fn write(&self, text: &mut String, is_sorted: bool, write_number: fn(&Number, &mut String)) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => write_number(number, text),
            Self::String(value) => write_string(text, value),
            Self::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    item.write(text, is_sorted, write_number);
                }
                text.push(']');
            }
            Self::Object(Object(members)) => {
                let mut members: Vec<_> = members.iter().collect();
                if is_sorted {
                    members.sort_unstable_by_key(|(name, _)| name);
                }
                text.push('{');
                for (index, (name, value)) in members.into_iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    write_string(text, name);
                    text.push(':');
                    value.write(text, is_sorted, write_number);
                }
                text.push('}');
            }
        }
    }
}

fn as_written(number: &Number, text: &mut String) {
    text.push_str(number.as_str());
}

fn write_string(text: &mut String, value: &str) {
    text.push_str(&Value::from(value).to_string());
}

/// The compact JSON.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text, false, as_written);
        f.write_str(&text)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

/// A value that serde_json has read.
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(Number::written(number.to_string())),
            Value::String(text) => Self::String(text),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
        }
    }
}

impl FromIterator<(String, Json)> for Object {
    /// The last one of two members of one name counts.
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(members: I) -> Self {
        let mut object = Self::default();
        members.into_iter().for_each(|(name, value)| object.insert(&name, value));
        object
    }
}

impl Object {
    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Sets a member, in its place or at the end.
    pub fn insert(&mut self, name: &str, value: Json) {
        match self.0.iter_mut().find(|(found, _)| found == name) {
            Some((_, found)) => *found = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.remove(at).1)
    }

    /// The members, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        let Document { value, faults } = Document::read(&parse("body", text.as_bytes()).unwrap());
        assert!(faults.is_empty(), "{text}: {faults:?}");
        value
    }

    #[test]
    fn everything_comes_back_as_it_was_sent() {
        for text in [
            r#"{"b":[1,-2,1.50,"é\n",null,true,false,{}],"a":{"c":18446744073709551616}}"#,
            "[1700000000.123456789,1e20,1E+2,-0,0.0,1.0,123456789012345678901234567890]",
            r#"{"":0,"a b":"\u0001"}"#,
            "[]",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read(" { \"a\" : [ 1 , 2 ] } ").to_string(), r#"{"a":[1,2]}"#);
        assert_eq!(read(r#""\u00e9\/""#).to_string(), "\"é/\"");
    }

    #[test]
    fn equal_values_have_one_canonical_text() {
        for (one, other) in [
            (r#"{"a":1,"b":[2,{"d":4,"c":3}]}"#, r#"{"b":[2.0,{"c":3e0,"d":40e-1}],"a":10e-1}"#),
            ("0", "-0.000e5"),
            ("100", "1E+2"),
        ] {
            assert_eq!(read(one).canonical(), read(other).canonical(), "{one} {other}");
        }
        for (one, other) in [("[1,2]", "[2,1]"), ("1", "\"1\""), ("1", "10"), ("{}", "[]"), ("null", "false")]
        {
            assert_ne!(read(one).canonical(), read(other).canonical(), "{one} {other}");
        }
    }
}
