//! Details as JSON.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Document, Json, Object};
use crate::{Error, Result};

/// An object as JSON, with its members and numbers as they were sent. It is parsed only where its members matter, because parsed
/// JSON may take a hundred times the memory.
#[derive(Debug, Clone, Default)]
pub struct Details(Option<Box<RawValue>>);

impl Details {
    /// The object of a JSON text.
    ///
    /// # Errors
    /// [`Error::Internal`] when it is none.
    pub fn from_json(text: String) -> Result<Self> {
        let json = RawValue::from_string(text).map_err(Error::internal)?;
        match json.get() {
            "{}" => Ok(Self(None)),
            text if text.starts_with('{') => Ok(Self(Some(json))),
            _ => Err(Error::internal("details are no object")),
        }
    }

    /// Details with these members.
    ///
    /// # Errors
    /// None in fact: JSON that was written can be read.
    pub fn of(members: Object) -> Result<Self> {
        Self::from_json(Json::Object(members).to_string())
    }

    /// The JSON.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("{}", |json| json.get())
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The members.
    pub fn members(&self) -> Object {
        match self.0.as_ref().map(|json| Document::read(json).value) {
            Some(Json::Object(members)) => members,
            _ => Object::default(),
        }
    }
}

impl PartialEq for Details {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(json) => json.serialize(serializer),
            None => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
        }
    }
}
