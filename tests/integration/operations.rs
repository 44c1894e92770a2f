//! The parts of the template for operators: what is limited, kept and encrypted.

use local::template::{Template, target};
use yaml_serde::Value;

mod alarms;
mod dashboard;

/// The text of the template.
const TEMPLATE: &str = include_str!("../../template.yaml");

/// The condition of an `!If`, and its two values.
pub(crate) fn either(value: &Value) -> Option<(&str, &Value, &Value)> {
    let Value::Tagged(either) = value else { return None };
    let [condition, when_true, when_false] = either.value.as_sequence()?.as_slice() else { return None };
    (either.tag == "If").then_some((condition.as_str()?, when_true, when_false))
}

/// The condition, and the logical id, of an `!If` that is a reference or nothing.
pub(crate) fn optional(value: &Value) -> Option<(&str, &str)> {
    let (condition, reference, nothing) = either(value)?;
    (target(nothing) == Some("AWS::NoValue")).then_some((condition, target(reference)?))
}

/// Asserts that a condition holds when a parameter is not its default.
fn assert_is_off_by_default(template: &Template, condition: &str, parameter: &str) {
    let default = &template.parameter(parameter).unwrap()["Default"];
    let off = if parameter == "KmsKeyArn" { "" } else { "0" };
    let defaults = [Value::from(off), Value::from(off.parse::<u64>().unwrap_or(u64::MAX))];
    assert!(defaults.contains(default), "{parameter}");
    let is_set = format!("\n  {condition}: !Not [!Equals [!Ref {parameter}, \"{off}\"]]\n");
    assert!(TEMPLATE.contains(&is_set), "{condition}");
}

#[test]
fn concurrency_is_reserved_only_where_parameters_say_so() {
    let template = Template::load().unwrap();
    for (function, resource) in template.functions() {
        let expected = match function.as_str() {
            "record-http" | "record-invoke" | "record-directory" => {
                Some(("ReservesRecording", "RecordReservedConcurrency"))
            }
            // Less than what its queue may use would turn messages away.
            "record-queue" | "record-bus" => Some(("ReservesRecording", "RecordConcurrency")),
            "graphql" => Some(("LimitsGraphql", "GraphqlConcurrency")),
            "subscriptions" => Some(("LimitsSubscriptions", "SubscriptionsConcurrency")),
            _ => None,
        };
        let reserved = resource["Properties"].get("ReservedConcurrentExecutions");
        assert_eq!(reserved.and_then(optional), expected, "{function}");
        assert_eq!(reserved.is_some(), expected.is_some(), "{function}");
    }
    // Small accounts can reserve nothing.
    for (condition, parameter) in [
        ("ReservesRecording", "RecordReservedConcurrency"),
        ("LimitsGraphql", "GraphqlConcurrency"),
        ("LimitsSubscriptions", "SubscriptionsConcurrency"),
    ] {
        assert_is_off_by_default(&template, condition, parameter);
    }
}

#[test]
fn key_of_the_account_encrypts_what_is_stored() {
    let template = Template::load().unwrap();
    let key = Some(("HasKmsKey", "KmsKeyArn"));
    let stores = [
        ("AWS::DynamoDB::Table", ["SSESpecification", "KMSMasterKeyId"].as_slice()),
        ("AWS::SQS::Queue", &["KmsMasterKeyId"]),
        ("AWS::Logs::LogGroup", &["KmsKeyId"]),
    ];
    for (kind, path) in stores {
        assert!(template.resources(kind).count() > 1, "{kind}");
        for (id, resource) in template.resources(kind) {
            let found = path.iter().try_fold(&resource["Properties"], |value, name| value.get(*name));
            assert_eq!(found.and_then(optional), key, "{id}");
        }
    }
    assert_is_off_by_default(&template, "HasKmsKey", "KmsKeyArn");
}

#[test]
fn functions_use_the_key_only_through_tables_and_queues() {
    let template = Template::load().unwrap();
    for (function, resource) in template.functions() {
        let mut policies = resource["Properties"]["Policies"].as_sequence().unwrap().iter();
        assert!(policies.any(|policy| optional(policy) == Some(("HasKmsKey", "KeyPolicy"))), "{function}");
    }
    let mut policies = template.resources("AWS::IAM::ManagedPolicy");
    let (_, policy) = policies.find(|(id, _)| *id == "KeyPolicy").unwrap();
    assert_eq!(policy["Condition"], "HasKmsKey");
    let statements = policy["Properties"]["PolicyDocument"]["Statement"].as_sequence().unwrap();
    let [statement] = statements.as_slice() else { panic!("{statements:?}") };
    assert_eq!(target(&statement["Resource"]), Some("KmsKeyArn"));
    let services = &statement["Condition"]["StringLike"]["kms:ViaService"];
    assert_eq!(services, &yaml_serde::from_str::<Value>("[dynamodb.*, sqs.*]").unwrap());
}

#[test]
fn record_of_reads_has_a_retention_of_its_own() {
    let template = Template::load().unwrap();
    for (id, group) in template.resources("AWS::Logs::LogGroup") {
        // Over GraphQL and WebSocket, only the functions know what was read.
        let is_record = ["ApiLogGroup", "GraphqlLogGroup", "SubscriptionsLogGroup"].contains(&id);
        let expected = if is_record { "AccessLogRetentionDays" } else { "LogRetentionDays" };
        assert_eq!(target(&group["Properties"]["RetentionInDays"]), Some(expected), "{id}");
    }
    assert_eq!(template.parameter("AccessLogRetentionDays").unwrap()["Default"], 365);
}

#[test]
fn tables_stay_whatever_happens_to_the_stack() {
    let template = Template::load().unwrap();
    for (id, table) in template.resources("AWS::DynamoDB::Table") {
        assert_eq!(table["DeletionPolicy"], "Retain", "{id}");
        assert_eq!(table["UpdateReplacePolicy"], "Retain", "{id}");
        assert_eq!(table["Properties"]["DeletionProtectionEnabled"], true, "{id}");
    }
}
