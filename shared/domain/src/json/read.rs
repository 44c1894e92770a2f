//! Reading JSON, strictly.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Json, MAX_NAME, Number, Object};
use crate::error::{Fault, FaultList, MAX_FAULTS};
use crate::{Error, Result};

/// The deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 128;
/// Stands for a string that cannot be read, so that the faults of the other members are found too.
const UNREADABLE: &str = "\u{fffd}";

/// Checks that bytes are one JSON value. Those that are not UTF-8 become halves of characters, so that only the string that has
/// them is refused.
///
/// # Errors
/// [`Error::BadInput`] of `field` when they are not one JSON value.
pub fn parse(field: &str, bytes: &[u8]) -> Result<Box<RawValue>> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\udc{byte:02x}")));
    }
    RawValue::from_string(text).map_err(|error| Error::bad_input(field, format!("must be JSON: {error}")))
}

/// The items of an array; `None` for any other value.
pub fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// A value, and what is wrong with its JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The value, with something else in place of what cannot be read.
    pub value: Json,
    /// The faults, each with its member.
    pub faults: Vec<Fault>,
}

impl Document {
    /// Reads a value. These are faults: a member that is given twice, half a character, nesting deeper than 128, and an exponent
    /// of more than 18 digits.
    pub fn read(raw: &RawValue) -> Self {
        let mut faults = Vec::new();
        let value = read(raw, &Path::Root, 0, &mut faults);
        Self { value, faults }
    }

    /// The value, if nothing is wrong with it.
    ///
    /// # Errors
    /// [`Error::BadInput`] of all faults.
    pub fn sound(self) -> Result<Json> {
        let mut faults = FaultList::default();
        faults.extend(self.faults);
        faults.finish(Some(self.value))
    }
}

impl<T: Into<Json>> From<T> for Document {
    fn from(value: T) -> Self {
        Self { value: value.into(), faults: Vec::new() }
    }
}

/// The way from the outermost value to another one.
enum Path<'a> {
    Root,
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shortened = |name: &str| name.chars().take(MAX_NAME).collect::<String>();
        match self {
            Self::Root => f.write_str("body"),
            Self::Member(Self::Root, name) => f.write_str(&shortened(name)),
            Self::Member(object, name) => write!(f, "{object}.{}", shortened(name)),
            Self::Item(array, index) => write!(f, "{array}[{index}]"),
        }
    }
}

fn read(raw: &RawValue, path: &Path<'_>, depth: usize, faults: &mut Vec<Fault>) -> Json {
    let text = raw.get();
    let mut fault = |detail: String| {
        if faults.len() < MAX_FAULTS {
            faults.push(Fault { field: path.to_string(), detail });
        }
        Json::String(UNREADABLE.into())
    };
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => fault(format!("nests deeper than {MAX_DEPTH}")),
        Some(b'{') => match serde_json::from_str::<Pairs<'_>>(text) {
            Ok(Pairs(pairs)) => {
                let mut names = HashSet::with_capacity(pairs.len());
                let mut firsts = Vec::with_capacity(pairs.len());
                for (name, raw) in pairs {
                    match names.insert(name.clone()) {
                        true => firsts.push((name, raw)),
                        false => {
                            fault(format!("has the member {name:.64} twice"));
                        }
                    }
                }
                let mut members = Vec::with_capacity(firsts.len());
                for (name, raw) in firsts {
                    let value = read(raw, &Path::Member(path, &name), depth + 1, faults);
                    members.push((name, value));
                }
                Json::Object(Object(members))
            }
            Err(_) => fault(format!("has a member whose name has {HALF}")),
        },
        Some(b'[') => {
            let items = items(raw).unwrap_or_default();
            let item =
                |(index, raw): (usize, &RawValue)| read(raw, &Path::Item(path, index), depth + 1, faults);
            Json::Array(items.into_iter().enumerate().map(item).collect())
        }
        Some(b'"') => match serde_json::from_str(text) {
            Ok(text) => Json::String(text),
            Err(_) => fault(format!("has {HALF}")),
        },
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'n') => Json::Null,
        _ => {
            let number = Number::written(text.to_owned());
            if number.is_countable() {
                Json::Number(number)
            } else {
                fault("has too large an exponent".into())
            }
        }
    }
}

/// All that can be wrong with a string whose syntax is right.
const HALF: &str = "half a character: was a string cut inside an emoji, or is it not UTF-8?";

/// The members of an object as they are written.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry::<String, &RawValue>()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &[u8]) -> Vec<String> {
        let Document { faults, .. } = Document::read(&parse("body", text).unwrap());
        faults.into_iter().map(|Fault { field, detail }| format!("{field} {detail}")).collect()
    }

    #[test]
    fn every_fault_is_found_and_named() {
        let half = |field: &str| format!("{field} has {HALF}");
        assert_eq!(
            faults(br#"{"a":{"b":["x","\ud83d"]},"c":"\ude00x","d":"\ud83d\ude00"}"#),
            [half("a.b[1]"), half("c")]
        );
        assert_eq!(faults(b"{\"a\":\"\xff\",\"b\":\"\xc3\xa9\"}"), [half("a")]);
        assert_eq!(
            faults(br#"{"id":"a","d":[{"x":1,"x":1}],"id":"b"}"#),
            ["body has the member id twice", "d[0] has the member x twice"]
        );
        assert_eq!(faults(br#"{"a":{"\ud800":1}}"#), [format!("a has a member whose name has {HALF}")]);
        assert_eq!(faults(b"[1e9999999999999999999]"), ["body[0] has too large an exponent"]);
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        assert_eq!(faults(deep.as_bytes()).len(), 1);
        assert!(faults(&deep.as_bytes()[1..257]).is_empty());
        assert!(faults(format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes()).len() == 1);
        let many = format!("[{}0]", r#""\ud800","#.repeat(100));
        assert_eq!(faults(many.as_bytes()).len(), MAX_FAULTS);
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for body in [
            "",
            "{",
            "{} {}",
            "nul",
            "\u{feff}{}",
            "[01]",
            "[1.]",
            "[\"\u{1}\"]",
            "{\"a\"}",
            "[\"\\x\"]",
            "[1,]",
        ] {
            let error = parse("body", body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("body: must be JSON"), "{body}");
        }
        assert!(parse("body", b"{\xff}").is_err());
    }

    #[test]
    fn items_of_arrays_stand_alone() {
        let body = parse("body", br#"[{"a":"\ud800"}, {"a":1.0} ]"#).unwrap();
        let items = items(&body).unwrap();
        assert_eq!(
            items.iter().map(|item| item.get()).collect::<Vec<_>>(),
            [r#"{"a":"\ud800"}"#, r#"{"a":1.0}"#]
        );
        assert!(super::items(&parse("body", b"{}").unwrap()).is_none());
    }
}
