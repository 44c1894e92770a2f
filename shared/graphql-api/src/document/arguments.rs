//! Finds the argument that an error of the library is about, because the library names only a position.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::{Name, Pos, Positioned, ServerError, Value, Variables};

/// The names of the arguments of a document's fields.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// All of them, by the positions of the names and of the values.
    at: HashMap<Pos, Name>,
    /// Those whose value is no `Int`, or is missing, by the positions of their fields: the library counts the complexity
    /// of a field before it looks at the arguments one by one.
    wrong: HashMap<Pos, Name>,
}

impl Arguments {
    /// The arguments of all fields of a document.
    pub(crate) fn of(document: &ExecutableDocument, variables: &Variables) -> Self {
        let operations = || document.operations.iter().map(|(_, operation)| &operation.node);
        let definitions = operations().flat_map(|operation| &operation.variable_definitions);
        let missing: HashSet<&Name> = definitions
            .map(|definition| &definition.node)
            .filter(|definition| definition.default_value().is_none())
            .map(|definition| &definition.name.node)
            .filter(|name| !variables.contains_key(*name))
            .collect();
        let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
        let mut sets: Vec<&SelectionSet> =
            operations().map(|operation| &operation.selection_set.node).chain(fragments).collect();
        let mut found = Self::default();
        while let Some(set) = sets.pop() {
            for selection in &set.items {
                match &selection.node {
                    Selection::Field(field) => {
                        found.add(field, variables, &missing);
                        sets.push(&field.node.selection_set.node);
                    }
                    Selection::InlineFragment(fragment) => sets.push(&fragment.node.selection_set.node),
                    Selection::FragmentSpread(_) => {}
                }
            }
        }
        found
    }

    fn add(&mut self, field: &Positioned<Field>, variables: &Variables, missing: &HashSet<&Name>) {
        for (name, value) in &field.node.arguments {
            self.at.extend([name.pos, value.pos].map(|pos| (pos, name.node.clone())));
            let value = value.node.clone().into_const_with(|name| variables.get(&name).cloned().ok_or(name));
            let is_wrong = match value {
                Ok(Value::Number(number)) => {
                    number.as_i64().and_then(|number| i32::try_from(number).ok()).is_none()
                }
                Ok(_) => false,
                Err(variable) => missing.contains(&variable),
            };
            if is_wrong {
                self.wrong.insert(field.pos, name.node.clone());
            }
        }
    }

    /// Gives each error that is about an argument the argument's name, unless it has one.
    pub(crate) fn name_in(&self, errors: &mut [ServerError]) {
        for error in errors {
            let mut arguments = error.locations.iter().filter_map(|location| {
                // An error with a path comes from a field that was resolved.
                let of_field = self.wrong.get(location).filter(|_| error.path.is_empty());
                self.at.get(location).or(of_field)
            });
            if let Some(argument) = arguments.next() {
                let extensions = error.extensions.get_or_insert_default();
                if extensions.get("field").is_none() {
                    extensions.set("field", argument.as_str());
                }
            }
        }
    }
}
