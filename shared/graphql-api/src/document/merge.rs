//! Merges the fields that an operation selects several times under one name, as GraphQL's execution does.
//!
//! The library resolves a field each time that it is selected. A list would be read twice, and the two pages mixed. So
//! the selections of one list become one before the library sees them. Below the lists nothing is read, and the library
//! merges the rest.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, FragmentDefinition, InlineFragment, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Positioned, Value, Variables};
use domain::{Error, Result};

use super::{operation, operation_mut, refused, response_name};

/// Merges the root fields of the operation to execute. The root fields of a subscription come out of their fragments too,
/// because the library looks for them nowhere else. The document must have passed [`super::check`], and `variables` must
/// have the operation's defaults.
///
/// # Errors
/// [`Error::BadInput`] when one name stands for two lists.
pub(crate) fn merge(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    variables: &Variables,
) -> Result<()> {
    let Some(definition) = operation(document, name) else { return Ok(()) };
    let is_subscription = definition.ty == OperationType::Subscription;
    let mut merger = Merger {
        fragments: &document.fragments,
        root: if is_subscription { "Subscription" } else { "Query" },
        variables,
        spread: HashSet::new(),
        selections: Vec::new(),
        has_merged: false,
    };
    match merger.collect(&definition.selection_set.node, &[]) {
        Err(Unmerged::Refused(error)) => return Err(error),
        Ok(()) if merger.has_merged || is_subscription => {}
        Ok(()) | Err(Unmerged::Invalid) => return Ok(()),
    }
    let (selections, before) = (merger.selections, spread(document));
    if let Some(definition) = operation_mut(document, name) {
        definition.selection_set.node.items = selections;
    }
    // The library refuses a fragment that nothing spreads. These were spread before.
    let after = spread(document);
    document.fragments.retain(|name, _| !before.contains(name) || after.contains(name));
    Ok(())
}

/// The names of the fragments that the operations spread, within each other too.
fn spread(document: &ExecutableDocument) -> HashSet<Name> {
    let mut found = HashSet::new();
    let mut sets: Vec<&SelectionSet> =
        document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node).collect();
    while let Some(set) = sets.pop() {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => sets.push(&field.node.selection_set.node),
                Selection::InlineFragment(fragment) => sets.push(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if found.insert(name.clone()) {
                        let fragment = document.fragments.get(name);
                        sets.extend(fragment.map(|fragment| &fragment.node.selection_set.node));
                    }
                }
            }
        }
    }
    found
}

/// Why a document stays as it is.
enum Unmerged {
    /// It is invalid, and the library says why.
    Invalid,
    Refused(Error),
}

/// The directives that led to a selection, from the outside in. All of them include it.
type Path<'a> = [&'a [Positioned<Directive>]];

struct Merger<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    /// The type of the root.
    root: &'static str,
    variables: &'a Variables,
    /// The fragments so far.
    spread: HashSet<&'a Name>,
    /// The selections so far: each list once, and what directives leave out.
    selections: Vec<Positioned<Selection>>,
    has_merged: bool,
}

impl<'a> Merger<'a> {
    fn collect(&mut self, set: &'a SelectionSet, path: &Path<'a>) -> Result<(), Unmerged> {
        for item in &set.items {
            let directives = item.node.directives().as_slice();
            if !self.are_included(directives).ok_or(Unmerged::Invalid)? {
                // The library leaves it out too, and checks it all the same.
                self.selections.push(item.clone());
                continue;
            }
            let path = &if directives.is_empty() { path.to_vec() } else { [path, &[directives]].concat() };
            let (on, set) = match &item.node {
                Selection::Field(field) => {
                    self.add(field, path)?;
                    continue;
                }
                Selection::InlineFragment(fragment) => {
                    (fragment.node.type_condition.as_ref(), &fragment.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = &self.fragments.get(name).ok_or(Unmerged::Invalid)?.node;
                    if !fragment.directives.is_empty() {
                        return Err(Unmerged::Invalid);
                    }
                    // It adds nothing the second time, unless a directive on its way uses a variable.
                    if !self.spread.insert(name) && path.is_empty() {
                        continue;
                    }
                    (Some(&fragment.type_condition), &fragment.selection_set.node)
                }
            };
            if on.is_some_and(|on| on.node.on.node != self.root) {
                return Err(Unmerged::Invalid);
            }
            self.collect(set, path)?;
        }
        Ok(())
    }

    /// Adds a field, or its selections to the list that it selects again.
    fn add(&mut self, field: &Positioned<Field>, path: &Path<'_>) -> Result<(), Unmerged> {
        let mut field = field.clone();
        field.node.directives.clear();
        if field.node.selection_set.node.items.is_empty() {
            let selection = Positioned::new(Selection::Field(field.clone()), field.pos);
            self.selections.extend(within(path, vec![selection]));
            return Ok(());
        }
        let selected = &mut field.node.selection_set.node.items;
        *selected = within(path, std::mem::take(selected));
        let name = response_name(&field.node);
        // A selection that directives leave out still has them.
        let same = self.selections.iter_mut().find_map(|item| match &mut item.node {
            Selection::Field(other)
                if other.node.directives.is_empty() && response_name(&other.node) == name =>
            {
                Some(&mut other.node)
            }
            _ => None,
        });
        match same {
            None => {
                let pos = field.pos;
                self.selections.push(Positioned::new(Selection::Field(field), pos));
            }
            Some(same) if is_same(same, &field.node) => {
                same.selection_set.node.items.append(&mut field.node.selection_set.node.items);
                self.has_merged = true;
            }
            Some(_) => {
                let detail = format!("asks for two lists under the name {name}; give one of them an alias");
                return Err(Unmerged::Refused(refused(detail)));
            }
        }
        Ok(())
    }

    /// Whether directives include a selection; `None` when they are invalid.
    fn are_included(&self, directives: &[Positioned<Directive>]) -> Option<bool> {
        let mut are_included = true;
        for directive in directives {
            let includes = match directive.node.name.node.as_str() {
                "include" => true,
                "skip" => false,
                _ => return None,
            };
            let condition = &directive.node.get_argument("if")?.node;
            let value =
                condition.clone().into_const_with(|name| self.variables.get(&name).cloned().ok_or(()));
            let Ok(Value::Boolean(value)) = value else { return None };
            are_included &= value == includes;
        }
        Some(are_included)
    }
}

/// Whether two fields of one name are one list.
fn is_same(one: &Field, other: &Field) -> bool {
    one.name == other.name
        && one.arguments.len() == other.arguments.len()
        && one.arguments.iter().all(|(name, value)| other.get_argument(&name.node) == Some(value))
}

/// Selections within inline fragments that have the directives of `path`, so that the library finds their variables used.
fn within(path: &Path<'_>, selections: Vec<Positioned<Selection>>) -> Vec<Positioned<Selection>> {
    path.iter().rev().fold(selections, |selections, directives| {
        let pos = selections.first().map(|first| first.pos).unwrap_or_default();
        let fragment = InlineFragment {
            type_condition: None,
            directives: directives.to_vec(),
            selection_set: Positioned::new(SelectionSet { items: selections }, pos),
        };
        vec![Positioned::new(Selection::InlineFragment(Positioned::new(fragment, pos)), pos)]
    })
}
