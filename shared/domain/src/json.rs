//! JSON of callers, parsed strictly: a member that is given twice is an error, not a silent choice of one value.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{Error, Result};

/// Parses a body.
///
/// # Errors
/// [`Error::BadInput`] of `body` when it is not one JSON value, repeats a member, nests deeper than 128, or
/// holds a whole number that neither 64 bits nor a double keep exactly. Fractions are kept as doubles.
pub fn parse(body: &[u8]) -> Result<Value> {
    let read: Result<Exact, _> = serde_json::from_slice(body);
    read.map(|read| read.0).map_err(|error| Error::bad_input("body", format!("must be JSON: {error}")))
}

/// A JSON value that is always parsed strictly.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact(pub Value);

impl<'de> serde::Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Strict.deserialize(deserializer).map(Self)
    }
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // Past 2^53 a double does not tell neighbouring integers apart, and keeping another number than the one sent
        // would falsify the record.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() > EXACT {
            return Err(E::custom("a number is too large to be kept exactly; send it as a string"));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("member `{name}` is given twice")));
            }
            map.insert(name, members.next_value_seed(Strict)?);
        }
        Ok(Value::Object(map))
    }
}

/// The characters that [`text`] takes, as a regular expression: none is a control character.
pub const TEXT_PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";

/// Reads a string of 1 to `max` characters without control characters.
///
/// # Errors
/// [`Error::BadInput`] of `field` when the value is no such string.
pub fn text(field: &str, value: Value, max: usize) -> Result<String> {
    match value {
        Value::String(text)
            if (1..=max).contains(&text.chars().count()) && !text.contains(char::is_control) =>
        {
            Ok(text)
        }
        _ => {
            let detail = format!("must be a string of 1 to {max} characters without control characters");
            Err(Error::bad_input(field, detail))
        }
    }
}

/// The compact JSON of a value with the members of each object in the order of their names.
///
/// It sorts by itself, because the order of `serde_json`'s maps depends on a feature that any dependency may switch on.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(&mut text, value);
    text
}

fn write_canonical(text: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(text, value);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// An object's members, taken one by one. Those left at the end are unknown.
pub struct Members {
    prefix: String,
    map: Map<String, Value>,
}

impl Members {
    /// Reads `value` as an object; errors name it `field`, and its members `field.member`.
    pub fn of(field: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { prefix: format!("{field}."), map }),
            _ => Err(Error::bad_input(field, "must be an object")),
        }
    }

    /// Reads `value` as the outermost object, whose members are named without a prefix.
    pub fn of_event(value: Value) -> Result<Self> {
        let members = Self::of("body", value)?;
        Ok(Self { prefix: String::new(), ..members })
    }

    /// The name of the member `name` in errors.
    pub fn field(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Takes a member of any type. JSON null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a string of at most `max` characters without control characters, or nothing.
    ///
    /// # Errors
    /// [`Error::BadInput`] of a member that is no such string.
    pub fn text(&mut self, name: &str, max: usize) -> Result<Option<String>> {
        self.take(name).map(|value| text(&self.field(name), value, max)).transpose()
    }

    /// Takes a string that must be there.
    ///
    /// # Errors
    /// As [`Members::text`], and [`Error::BadInput`] of an absent member.
    pub fn required_text(&mut self, name: &str, max: usize) -> Result<String> {
        self.text(name, max)?.ok_or_else(|| Error::bad_input(self.field(name), "is required"))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Error::BadInput`] of a member that was not taken; it names those `allowed`.
    pub fn end(self, allowed: &str) -> Result<()> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Error::bad_input(self.field(&name), format!("is not known here; allowed are {allowed}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        parse(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn keeps_what_it_was_given() {
        let body = r#"{"a":[1,-2,1.5,"é\n",null,true],"b":{"c":18446744073709551615}}"#;
        assert_eq!(parse(body.as_bytes()).unwrap().to_string(), body);
    }

    #[test]
    fn doubles_are_kept_to_the_last_bit() {
        for text in ["494.77467143561597", "9.283518009983946e-8", "0.1", "1e-7", "9007199254740991.5"] {
            let read = parse(text.as_bytes()).unwrap();
            assert_eq!(read.as_f64(), text.parse().ok());
            assert_eq!(parse(read.to_string().as_bytes()).unwrap(), read);
        }
    }

    #[test]
    fn refuses_repeated_members_at_any_depth() {
        assert!(refused(r#"{"id":"a","id":"b"}"#).contains("`id` is given twice"));
        assert!(refused(r#"{"d":[{"x":1,"x":1}]}"#).contains("`x` is given twice"));
    }

    #[test]
    fn refuses_numbers_it_could_not_keep() {
        assert!(refused("[18446744073709551616]").contains("too large to be kept exactly"));
        assert!(refused("[1e999]").contains("out of range"));
    }

    #[test]
    fn refuses_what_is_not_one_value() {
        for body in ["", "{", "{} {}", "nul", "\u{feff}{}", &"[".repeat(200)] {
            assert!(refused(body).starts_with("body: must be JSON"), "{body}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
