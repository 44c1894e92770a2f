//! What a document may be, as it stands. This comes before anything follows it: the checks of the library go through a
//! fragment wherever it is spread, and a few hundred that spread each other are more than it ever gets done.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection,
    SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use shared::{Error, Result};

use crate::limits::{LEVELS, NESTING};

/// Fields of introspection that lead from a type to many. Within one another, they would list the schema many times
/// over.
const LISTS: &[&str] = &["fields", "inputFields", "interfaces", "possibleTypes"];

/// Checks a document that was parsed.
///
/// # Errors
/// [`Error::BadInput`] when it selects more than `most`, is deeper than the limit, or asks for one name twice.
pub(crate) fn check(document: &ExecutableDocument, most: usize) -> Result<()> {
    let mut walk = Walk { fragments: &document.fragments, most, left: most, spread: HashSet::new() };
    for (_, operation) in document.operations.iter() {
        let root = &operation.node.selection_set.node;
        walk.visit(root, 0, false)?;
        walk.is_distinct(root, &mut HashSet::new())?;
    }
    // Those that nothing spreads are validated too.
    for (name, fragment) in &document.fragments {
        if !walk.spread.contains(name) {
            walk.visit(&fragment.node.selection_set.node, 0, false)?;
        }
    }
    Ok(())
}

/// The operation that is asked for, if it is told which.
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

/// Gives each variable of an operation that is not given the default that the document has for it: the library's `@skip`
/// and `@include` look at what is given only.
pub(crate) fn fill(variables: &mut Variables, operation: &OperationDefinition) {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        if let Some(default) = &definition.default_value {
            variables.entry(definition.name.node.clone()).or_insert_with(|| default.node.clone());
        }
    }
}

/// Checks a document before it is parsed: its lists and objects are followed without limit.
///
/// # Errors
/// [`Error::BadInput`] when it nests deeper than [`NESTING`].
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
            // One too many is for the parser to refuse, which gets no further.
            _ => depth = depth.saturating_sub(1),
        }
        if depth > NESTING {
            return Err(refused(format!("must nest at most {NESTING} brackets")));
        }
    }
    Ok(())
}

/// What follows a string, of which `text` is all but the first quote.
fn after_string(text: &str) -> &str {
    let Some(mut block) = text.strip_prefix("\"\"") else {
        let mut escaped = false;
        let ends = |(_, character): &(usize, char)| {
            let ends = !escaped && matches!(character, '"' | '\n' | '\r');
            escaped = !escaped && *character == '\\';
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
    /// Selections that may be visited.
    most: usize,
    /// Those that still may.
    left: usize,
    /// Fragments that were.
    spread: HashSet<&'a Name>,
}

impl<'a> Walk<'a> {
    /// Visits everything that is selected, as often as it is.
    fn visit(&mut self, set: &'a SelectionSet, level: usize, in_list: bool) -> Result<()> {
        if level > LEVELS {
            return Err(refused(format!("must be at most {LEVELS} levels deep, fragments included")));
        }
        for selection in &set.items {
            let most = self.most;
            let refused_more =
                || refused(format!("must select at most {most} fields, fragments where they are spread"));
            self.left = self.left.checked_sub(1).ok_or_else(refused_more)?;
            let lists = match &selection.node {
                Selection::Field(field) => LISTS.contains(&field.node.name.node.as_str()),
                _ => false,
            };
            if lists && in_list {
                return Err(refused("must not list the fields of types within each other".to_owned()));
            }
            if let Selection::FragmentSpread(spread) = &selection.node {
                self.spread.insert(&spread.node.fragment_name.node);
            }
            if let Some(set) = self.selected(&selection.node) {
                self.visit(set, level + 1, in_list || lists)?;
            }
        }
        Ok(())
    }

    /// Refuses two lists of one name: each would be read, and their activities mixed.
    fn is_distinct(&self, set: &'a SelectionSet, seen: &mut HashSet<&'a str>) -> Result<()> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = response_name(&field.node);
                    if !field.node.selection_set.node.items.is_empty() && !seen.insert(name) {
                        let detail = format!("asks for {name} twice; ask once, or give one of them an alias");
                        return Err(refused(detail));
                    }
                }
                other => {
                    if let Some(set) = self.selected(other) {
                        self.is_distinct(set, seen)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What is selected within a selection. What names no fragment is for the library to refuse.
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
    fn brackets_count_where_they_are_code() {
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
            // What closes is no code.
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
