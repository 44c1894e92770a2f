//! The limits of a document, checked before the library follows it.
//!
//! The library's own checks visit a fragment wherever it is spread. A few hundred fragments that spread each other
//! would keep them busy for ever.

mod arguments;
mod merge;

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection,
    SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use domain::{Error, Result};

use crate::limits::{LEVELS, NESTING};

pub(crate) use arguments::Arguments;
pub(crate) use merge::merge;

/// Fields of introspection that lead from a type to many. Within one another, they would list the schema many times
/// over.
const INTROSPECTION_LISTS: &[&str] = &["fields", "inputFields", "interfaces", "possibleTypes"];

/// Checks a parsed document.
///
/// # Errors
/// [`Error::BadInput`] when the document has more than `max_selections`, is too deep, or lists the fields of types within
/// each other.
pub(crate) fn check(document: &ExecutableDocument, max_selections: usize) -> Result<()> {
    let mut walk = Walk {
        fragments: &document.fragments,
        max_selections,
        selections_left: max_selections,
        spread: HashSet::new(),
    };
    for (_, operation) in document.operations.iter() {
        walk.visit(&operation.node.selection_set.node, 0, false)?;
    }
    // The library validates unused fragments too.
    for (name, fragment) in &document.fragments {
        if !walk.spread.contains(name) {
            walk.visit(&fragment.node.selection_set.node, 0, false)?;
        }
    }
    Ok(())
}

/// The operation to execute; `None` when the document does not have it, or has several and no `name` is given.
pub(crate) fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a OperationDefinition> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(&operation.node),
        (DocumentOperations::Multiple(operations), Some(name)) => Some(&operations.get(name)?.node),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next().map(|operation| &operation.node)
        }
        _ => None,
    }
}

/// The same, to change it.
fn operation_mut<'a>(
    document: &'a mut ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a mut OperationDefinition> {
    match (&mut document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(&mut operation.node),
        (DocumentOperations::Multiple(operations), Some(name)) => Some(&mut operations.get_mut(name)?.node),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values_mut().next().map(|operation| &mut operation.node)
        }
        _ => None,
    }
}

/// Whether the operation selects exactly one field, and that in no fragment.
pub(crate) fn has_one_field(document: &ExecutableDocument, name: Option<&str>) -> bool {
    let selected = operation(document, name).map(|operation| operation.selection_set.node.items.as_slice());
    matches!(selected, Some([item]) if matches!(item.node, Selection::Field(_)))
}

/// How many lists an operation selects, those that a directive may leave out included. The document must have passed
/// [`check`].
pub(crate) fn lists(document: &ExecutableDocument, name: Option<&str>) -> usize {
    fn count(set: &SelectionSet, fragments: &HashMap<Name, Positioned<FragmentDefinition>>) -> usize {
        let lists = set.items.iter().map(|selection| match &selection.node {
            Selection::Field(field) => usize::from(!field.node.selection_set.node.items.is_empty()),
            Selection::InlineFragment(fragment) => count(&fragment.node.selection_set.node, fragments),
            Selection::FragmentSpread(spread) => fragments
                .get(&spread.node.fragment_name.node)
                .map_or(0, |fragment| count(&fragment.node.selection_set.node, fragments)),
        });
        lists.sum()
    }
    operation(document, name).map_or(0, |operation| count(&operation.selection_set.node, &document.fragments))
}

/// Gives each variable that the request leaves out the default of its operation, because the library's `@skip` and
/// `@include` look at given variables only.
pub(crate) fn fill(variables: &mut Variables, operation: &OperationDefinition) {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        if let Some(default) = &definition.default_value {
            variables.entry(definition.name.node.clone()).or_insert_with(|| default.node.clone());
        }
    }
}

/// Checks the text of a document before it is parsed, because the parser follows lists and objects to any depth.
///
/// # Errors
/// [`Error::BadInput`] when it nests more than [`NESTING`] brackets.
pub(crate) fn check_text(document: &str) -> Result<()> {
    let mut depth = 0_usize;
    let mut rest = document;
    while let Some(at) = rest.find(['{', '}', '[', ']', '(', ')', '#', '"']) {
        let (found, after) = rest[at..].split_at(1);
        rest = after;
        match found {
            "{" | "[" | "(" => depth += 1,
            "#" => rest = after.split_once(['\n', '\r']).map_or("", |(_, rest)| rest),
            "\"" => rest = after_string(after),
            // The parser refuses a document with too many closing brackets, and reads no further.
            _ => depth = depth.saturating_sub(1),
        }
        if depth > NESTING {
            return Err(refused(format!("must nest at most {NESTING} brackets")));
        }
    }
    Ok(())
}

/// The text after a string. `text` is everything after the string's first quote.
fn after_string(text: &str) -> &str {
    let Some(mut block) = text.strip_prefix("\"\"") else {
        let mut is_escaped = false;
        let ends = |(_, character): &(usize, char)| {
            let ends = !is_escaped && matches!(character, '"' | '\n' | '\r');
            is_escaped = !is_escaped && *character == '\\';
            ends
        };
        return text.char_indices().find(ends).map_or("", |(at, _)| &text[at + 1..]);
    };
    while let Some((before, after)) = block.split_once("\"\"\"") {
        if !before.ends_with('\\') {
            return after;
        }
        block = after;
    }
    ""
}

struct Walk<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    max_selections: usize,
    selections_left: usize,
    /// The fragments that were visited where something spreads them.
    spread: HashSet<&'a Name>,
}

impl<'a> Walk<'a> {
    /// Visits each selection as often as it is selected.
    fn visit(&mut self, set: &'a SelectionSet, level: usize, in_list: bool) -> Result<()> {
        if level > LEVELS {
            return Err(refused(format!("must be at most {LEVELS} levels deep, fragments included")));
        }
        for selection in &set.items {
            let max = self.max_selections;
            let too_many =
                || refused(format!("must select at most {max} fields, fragments where they are spread"));
            self.selections_left = self.selections_left.checked_sub(1).ok_or_else(too_many)?;
            let is_list = match &selection.node {
                Selection::Field(field) => INTROSPECTION_LISTS.contains(&field.node.name.node.as_str()),
                _ => false,
            };
            if is_list && in_list {
                return Err(refused("must not list the fields of types within each other".to_owned()));
            }
            if let Selection::FragmentSpread(spread) = &selection.node {
                self.spread.insert(&spread.node.fragment_name.node);
            }
            if let Some(set) = self.selected(&selection.node) {
                self.visit(set, level + 1, in_list || is_list)?;
            }
        }
        Ok(())
    }

    /// The selections within a selection. The library refuses the spread of a fragment that does not exist.
    fn selected(&self, selection: &'a Selection) -> Option<&'a SelectionSet> {
        match selection {
            Selection::Field(field) => Some(&field.node.selection_set.node),
            Selection::InlineFragment(fragment) => Some(&fragment.node.selection_set.node),
            Selection::FragmentSpread(spread) => {
                Some(&self.fragments.get(&spread.node.fragment_name.node)?.node.selection_set.node)
            }
        }
    }
}

fn response_name(field: &Field) -> &str {
    field.alias.as_ref().unwrap_or(&field.name).node.as_str()
}

fn refused(detail: String) -> Error {
    Error::bad_input("query", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_of_code_are_counted() {
        let deep = "{".repeat(NESTING + 1);
        let (open, closed) = ("{".repeat(NESTING), "}".repeat(NESTING));
        for good in [
            open.clone(),
            format!("{open}{closed}{open}"),
            format!("#{deep}\n{open}"),
            format!("\"{deep}\"{open}"),
            format!("\"\\\"{deep}\"{open}"),
            format!("\"\"\"{deep}\" \\\"\"\" {deep}\"\"\"{open}"),
            format!("\"\"{open}"),
            "\"".to_owned(),
            "\"\"\"".to_owned(),
            "é#é".to_owned(),
        ] {
            check_text(&good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in [
            deep.clone(),
            // The closing brackets are in comments.
            format!("{}{deep}", "{#}\n".repeat(3)),
            "{#}\n".repeat(NESTING + 1),
            "{\"}\"".repeat(NESTING + 1),
            "{\"\"\"}\"\"\"".repeat(NESTING + 1),
            "{\"}\\\\\"".repeat(NESTING + 1),
            format!("\"\\\\\"{deep}"),
            format!("\"\"\"\\\"\"\"\"\"\"{deep}"),
            "[(".repeat(NESTING),
        ] {
            assert!(check_text(&bad).is_err(), "{bad}");
        }
    }
}
