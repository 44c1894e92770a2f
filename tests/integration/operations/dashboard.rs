//! The dashboard shows every function, queue, table and alarm, and nothing that does not exist.

use std::collections::BTreeSet;

use local::template::Template;
use serde_json::Value;

/// The text between `${` and `}`, each time.
fn references(text: &str) -> BTreeSet<&str> {
    text.split("${").skip(1).map(|rest| rest.split_once('}').unwrap().0).collect()
}

#[test]
fn dashboard_shows_everything_that_there_is() {
    let template = Template::load().unwrap();
    let (_, dashboard) = template.resources("AWS::CloudWatch::Dashboard").next().unwrap();
    let yaml_serde::Value::Tagged(body) = &dashboard["Properties"]["DashboardBody"] else {
        panic!("no !Sub")
    };
    let body = body.value.as_str().unwrap();
    let shown = references(body);
    let mut expected =
        BTreeSet::from(["AWS::Region", "AWS::StackName", "HttpApi", "WebSocketApi"].map(str::to_owned));
    for (kind, attribute) in [
        ("AWS::Serverless::Function", ""),
        ("AWS::SQS::Queue", ".QueueName"),
        ("AWS::DynamoDB::Table", ""),
        ("AWS::CloudWatch::Alarm", ".Arn"),
    ] {
        // A resource with a condition may not be there to be shown.
        let always = template.resources(kind).filter(|(_, resource)| resource.get("Condition").is_none());
        expected.extend(always.map(|(id, _)| format!("{id}{attribute}")));
    }
    assert_eq!(shown, expected.iter().map(String::as_str).collect());
    let value: Value = serde_json::from_str(body).unwrap();
    for widget in value["widgets"].as_array().unwrap() {
        let right = widget["x"].as_u64().unwrap() + widget["width"].as_u64().unwrap();
        assert!(right <= 24, "{widget} is outside");
        assert_eq!(widget["properties"].get("region").is_some(), widget["type"] == "metric", "{widget}");
    }
}
