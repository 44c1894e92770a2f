//! The recorders' policy: which items they may write, beside those that they write.

use std::collections::BTreeSet;

use harness::World;
use local::template::{Statement, Template, target};

use crate::operations::optional;
use crate::samples::{functions, samples, with_demo};

const LOG: &str = "LogTable.Arn";

fn recorders() -> Vec<String> {
    functions().into_iter().filter(|name| name.starts_with("record-")).collect()
}

/// The statements by which a function may write to the log, or take part in a transaction that does.
fn write_statements(function: &str) -> Vec<Statement> {
    let is_write =
        |action: &String| !["BatchGetItem", "GetItem", "Query"].contains(&&action["dynamodb:".len()..]);
    let all = Template::load().unwrap().permissions(function);
    all.into_iter()
        .filter(|found| found.resources.iter().any(|on| on == LOG) && found.actions.iter().any(is_write))
        .collect()
}

/// Whether a pattern of IAM that ends in `*` matches a key.
fn matches(pattern: &str, key: &str) -> bool {
    key.starts_with(pattern.strip_suffix('*').unwrap())
}

#[tokio::test]
async fn recorders_write_only_the_items_of_their_policy() {
    let mut used = BTreeSet::new();
    let mut allowed = BTreeSet::new();
    for function in recorders() {
        let statements = write_statements(&function);
        for statement in &statements {
            for action in &statement.actions {
                allowed.extend(statement.leading_keys.iter().map(|key| (action.clone(), key.clone())));
            }
        }
        let world = with_demo(World::new().await).await;
        world.transport.keep_writes();
        for (_, _, event) in samples(&function) {
            world.invoke(&function, &event).await;
        }
        let writes = world.transport.writes();
        assert!(!writes.is_empty(), "{function} wrote nothing");
        for (kind, pk) in writes {
            let action = format!("dynamodb:{kind}Item");
            let of_action = statements.iter().filter(|statement| statement.actions.contains(&action));
            let mut keys = of_action.flat_map(|statement| &statement.leading_keys);
            let key = keys.find(|key| matches(key, &pk));
            let key = key.unwrap_or_else(|| panic!("{function} may not {kind} {pk}"));
            used.insert((action, key.clone()));
        }
    }
    assert_eq!(used, allowed, "some keys are allowed and never written");
}

#[test]
fn recorders_may_write_no_item_without_its_key() {
    for function in recorders() {
        for statement in write_statements(&function) {
            let [action] = statement.actions.as_slice() else { panic!("{statement:?}") };
            // Items that may be put may not be updated, and none may be deleted.
            let expected: &[&str] = match action.as_str() {
                "dynamodb:PutItem" => &["WS#*", "ID#*"],
                "dynamodb:UpdateItem" => &["COUNT#*", "DIR#*"],
                // A condition of a transaction writes nothing.
                "dynamodb:ConditionCheckItem" => &["DIR#*"],
                other => panic!("{function} may {other}"),
            };
            assert_eq!(statement.leading_keys, expected, "{function} may {action}");
            // A request without a key satisfies every `ForAllValues`.
            assert!(statement.requires_key, "{function} may {action}");
        }
    }
}

#[test]
fn no_function_may_delete_from_the_log() {
    let template = Template::load().unwrap();
    for (function, resource) in template.functions() {
        assert!(resource["Properties"].get("Role").is_none(), "{function} has a role of its own");
        // A policy that is neither spelled out nor of this template could allow anything.
        for policy in resource["Properties"]["Policies"].as_sequence().unwrap() {
            let id = optional(policy).map(|(_, id)| id).or_else(|| target(policy));
            let of_template = id.is_some_and(|id| {
                template.resources("AWS::IAM::ManagedPolicy").any(|(managed, _)| managed == id)
            });
            assert!(of_template || policy.get("Statement").is_some(), "{function}: {policy:?}");
        }
        for statement in template.permissions(&function) {
            let on_log = statement.resources.iter().any(|on| on == "*" || on.contains("LogTable.Arn"));
            let deletes = |action: &&String| {
                ["Delete", "Batch*", "BatchWrite", "PartiQL", "*"].iter().any(|verb| action.contains(verb))
            };
            let found = statement.actions.iter().find(deletes);
            assert!(!on_log || found.is_none(), "{function} may {found:?}");
        }
    }
}
