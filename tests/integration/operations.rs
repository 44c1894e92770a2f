//! The parts of the template for operators: what is limited, watched, kept and encrypted.

use local::template::{Template, target};
use yaml_serde::Value;

/// The condition, and the parameter, of an `!If` that is the parameter or nothing.
fn optional(value: &Value) -> Option<(&str, &str)> {
    let Value::Tagged(either) = value else { return None };
    let [condition, parameter, nothing] = either.value.as_sequence()?.as_slice() else { return None };
    let is_optional = either.tag == "If" && target(nothing) == Some("AWS::NoValue");
    is_optional.then_some((condition.as_str()?, target(parameter)?))
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
        if let Some((condition, parameter)) = expected.filter(|(_, parameter)| *parameter != "RecordConcurrency") {
            // Small accounts can reserve nothing.
            assert_eq!(template.parameter(parameter).unwrap()["Default"], 0, "{parameter}");
            let is_set = format!("!Not [!Equals [!Ref {parameter}, \"0\"]]");
            let text = include_str!("../../template.yaml");
            assert!(text.contains(&format!("\n  {condition}: {is_set}\n")), "{condition}");
        }
    }
}
