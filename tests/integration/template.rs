//! The template's permissions: enough for what the functions do, and nothing that could harm the log.

use std::collections::BTreeSet;

use local::template::{Statement, Template};

use crate::samples::{demo, samples};

const FUNCTIONS: &[&str] = &["list-issue-activity", "list-workspace-activity", "record-activity"];
const READS: &[&str] = &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"];

fn statements(function: &str) -> Vec<Statement> {
    let statements = Template::load().unwrap().permissions(function);
    assert!(!statements.is_empty(), "{function} has no statements of its own");
    statements
}

fn allows(statements: &[Statement], action: &str, resource: &str, within: &str) -> bool {
    statements.iter().any(|statement| {
        statement.actions.iter().any(|allowed| allowed == action)
            && statement.resources.iter().any(|allowed| allowed == resource)
            && (statement.within.is_empty() || statement.within.iter().any(|operation| operation == within))
    })
}

#[test]
fn every_function_has_a_policy_of_its_own() {
    let mut functions: Vec<String> = Template::load().unwrap().functions().map(|(name, _)| name).collect();
    functions.sort();
    assert_eq!(functions, FUNCTIONS);
}

#[test]
fn listing_functions_can_only_read_and_nobody_can_delete_or_scan() {
    for function in FUNCTIONS {
        for statement in statements(function) {
            for action in statement.actions.iter().filter(|action| *action != "sqs:SendMessage") {
                let write = ["dynamodb:PutItem", "dynamodb:UpdateItem"].contains(&action.as_str());
                assert!(READS.contains(&action.as_str()) || write, "{function} may {action}");
                if write {
                    assert_eq!(*function, "record-activity", "{function} may {action}");
                    assert_eq!(
                        statement.within,
                        ["TransactWriteItems"],
                        "{function} may {action} at any time"
                    );
                }
            }
            for resource in &statement.resources {
                if statement.actions == ["sqs:SendMessage"] {
                    // Lambda's own, for asynchronous invocations that failed.
                    assert_eq!(
                        (*function, resource.as_str()),
                        ("record-activity", "RecordFailuresQueue.Arn")
                    );
                    continue;
                }
                let own = resource == "LogTable.Arn" || resource.starts_with("${LogTable.Arn}/index/by-");
                assert!(own, "{function} may reach {resource}");
            }
        }
    }
}

#[tokio::test]
async fn functions_may_do_what_they_do_and_what_they_may_they_do() {
    for function in FUNCTIONS {
        let world = demo().await;
        world.transport.take();
        // What a process does as it starts.
        world.store.warm_up().await.unwrap();
        for (_, _, event) in samples(function) {
            world.invoke(function, &event).await;
        }
        let statements = statements(function);
        let mut used = BTreeSet::new();
        for (operation, index) in world.transport.take().touched {
            let actions: &[&str] = match operation.as_str() {
                "TransactWriteItems" => &["PutItem", "UpdateItem"],
                other => &[other],
            };
            let resource = match index.as_str() {
                "" => "LogTable.Arn".to_owned(),
                index => format!("${{LogTable.Arn}}/index/{index}"),
            };
            for action in actions {
                let action = format!("dynamodb:{action}");
                assert!(
                    allows(&statements, &action, &resource, &operation),
                    "{function}: {action} on {resource}"
                );
                used.insert((action, resource.clone()));
            }
        }
        for statement in statements {
            for action in statement.actions.into_iter().filter(|action| action.starts_with("dynamodb:")) {
                for resource in &statement.resources {
                    let needed = used.contains(&(action.clone(), resource.clone()));
                    assert!(needed, "{function} may {action} on {resource}, and never does");
                }
            }
        }
    }
}
