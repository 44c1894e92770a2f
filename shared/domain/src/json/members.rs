//! The members of an object, taken one by one.

use super::{Json, MAX_NAME, Object};
use crate::error::FaultList;
use crate::{Error, Result};

/// The characters that [`text`] takes, as a regular expression: none is a control character.
pub const TEXT_PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";

/// Reads a string of 1 to `max` characters without control characters.
///
/// # Errors
/// [`Error::BadInput`] of `field` when the value is no such string.
pub fn text(field: &str, value: Json, max: usize) -> Result<String> {
    match value {
        Json::String(text)
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

/// An object's members, taken one by one. Those left at the end are unknown.
pub struct Members {
    prefix: String,
    members: Object,
}

impl Members {
    /// Reads `value` as an object; errors name it `field`, and its members `field.member`.
    pub fn of(field: &str, value: Json) -> Result<Self> {
        match value {
            Json::Object(members) => Ok(Self { prefix: format!("{field}."), members }),
            _ => Err(Error::bad_input(field, "must be an object")),
        }
    }

    /// Reads `value` as the outermost object, whose members are named without a prefix.
    pub fn outermost(value: Json) -> Result<Self> {
        let members = Self::of("body", value)?;
        Ok(Self { prefix: String::new(), ..members })
    }

    /// The name of the member `name` in errors.
    pub fn field(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A member that is not null.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Takes a member of any type. JSON null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        self.members.remove(name).filter(|value| !value.is_null())
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

    /// Ends the reading. Each member that was not taken is a fault, which names those `allowed`.
    pub fn end(self, allowed: &str, faults: &mut FaultList) {
        for (name, _) in self.members.iter().filter(|(_, value)| !value.is_null()) {
            let name: String = name.chars().take(MAX_NAME).collect();
            let detail = format!("is not known here; allowed are {allowed}");
            faults.add(Error::bad_input(self.field(&name), detail));
        }
    }
}
