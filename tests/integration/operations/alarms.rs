//! The alarms: each watches something that exists, and none goes off for a single error.

use std::collections::BTreeSet;

use harness::World;
use local::template::{Template, target};
use yaml_serde::Value;

use super::{TEMPLATE, assert_is_off_by_default, either};
use crate::samples::samples;

/// Metrics of which one is enough: something waits for a person, or is lost.
const EVENTS: &[&str] = &[
    "AlteredItems",
    "ApproximateNumberOfMessagesVisible",
    "DestinationDeliveryFailures",
    "InvocationsFailedToBeSentToDlq",
    "Superseded",
    "IdsTaken",
];

fn alarms(template: &Template) -> Vec<(&str, &Value)> {
    template.resources("AWS::CloudWatch::Alarm").map(|(id, alarm)| (id, &alarm["Properties"])).collect()
}

/// The metrics of an alarm, as mappings with `Namespace`, `MetricName` and `Dimensions`.
fn metrics(alarm: &Value) -> Vec<&Value> {
    let parts = alarm.get("Metrics").and_then(Value::as_sequence).into_iter().flatten();
    let summed: Vec<&Value> = parts.filter_map(|part| part.get("MetricStat")?.get("Metric")).collect();
    if summed.is_empty() { vec![alarm] } else { summed }
}

fn name(metric: &Value) -> &str {
    metric["MetricName"].as_str().unwrap()
}

/// The text of a value with or without a tag.
fn text(value: &Value) -> &str {
    match value {
        Value::Tagged(tagged) => tagged.value.as_str().unwrap(),
        other => other.as_str().unwrap(),
    }
}

/// The values of a metric's dimensions, by their names. A reference is the logical id.
fn dimension<'a>(metric: &'a Value, name: &str) -> Option<&'a str> {
    let mut dimensions = metric.get("Dimensions")?.as_sequence()?.iter();
    let value = &dimensions.find(|dimension| dimension["Name"] == name)?["Value"];
    target(value).or_else(|| value.as_str())
}

#[test]
fn no_alarm_goes_off_on_a_single_error() {
    for (id, alarm) in alarms(&Template::load().unwrap()) {
        let number = |name: &str| alarm.get(name).and_then(Value::as_u64);
        let points = number("DatapointsToAlarm").or(number("EvaluationPeriods")).unwrap_or(u64::MAX);
        let is_single = points == 1 && number("Threshold").unwrap() <= 1;
        let is_event = metrics(alarm).iter().all(|metric| EVENTS.contains(&name(metric)));
        assert_eq!(is_single, is_event, "{id}");
        // Silence is the one thing that no data means.
        let missing = if id == "SilenceAlarm" { "breaching" } else { "notBreaching" };
        assert_eq!(alarm["TreatMissingData"], missing, "{id}");
    }
}

#[tokio::test]
async fn alarms_watch_metrics_that_the_recorders_write() {
    let world = World::new().await;
    let (_, _, event) = samples("record-http").into_iter().next().unwrap();
    world.invoke("record-http", &event).await;
    let line = world.summaries.lock().unwrap()[0].line("function", &world.clock());
    let metrics_of_line = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    let written: BTreeSet<&str> =
        metrics_of_line.iter().map(|found| found["Name"].as_str().unwrap()).collect();
    let template = Template::load().unwrap();
    let sources: Vec<(String, &str)> = template
        .resources("AWS::Serverless::Function")
        .filter_map(|(id, function)| {
            let source = function["Properties"].get("Environment")?["Variables"].get("RECORD_SOURCE")?;
            Some((id.to_owned(), source.as_str()?))
        })
        .collect();
    let mut watched = BTreeSet::new();
    for (id, alarm) in alarms(&template) {
        for metric in metrics(alarm).into_iter().filter(|metric| metric["Namespace"] == "ActivityLog") {
            let function = dimension(metric, "FunctionName").unwrap();
            if let Some(source) = dimension(metric, "Source") {
                assert!(written.contains(name(metric)), "{id}");
                assert!(sources.contains(&(function.to_owned(), source)), "{id}: {function} {source}");
                watched.insert((name(metric), function));
            } else {
                let known =
                    [("SubscriptionsFunction", "KeyFetchFailures"), ("BroadcastFunction", "AlteredItems")];
                assert!(known.contains(&(function, name(metric))), "{id}: {function}");
            }
        }
    }
    for metric in ["Rejected", "Conflicts", "IdsTaken", "Failed", "Recorded"] {
        for (function, _) in &sources {
            assert!(watched.contains(&(metric, function.as_str())), "{metric} of {function} is not watched");
        }
    }
}

#[test]
fn spikes_of_refusals_are_counted_in_the_access_log() {
    let template = Template::load().unwrap();
    assert!(TEMPLATE.contains("\"status\":\"$context.status\""));
    let mut alarms_by_status = BTreeSet::new();
    for (id, filter) in template.resources("AWS::Logs::MetricFilter") {
        let filter = &filter["Properties"];
        assert_eq!(target(&filter["LogGroupName"]), Some("ApiLogGroup"), "{id}");
        let made = &filter["MetricTransformations"][0];
        let watching = alarms(&template).into_iter().find(|(_, alarm)| {
            alarm["MetricName"] == made["MetricName"] && alarm["Namespace"] == made["MetricNamespace"]
        });
        assert!(watching.is_some(), "{id}");
        // Stacks of one account must not share a metric.
        assert!(text(&made["MetricNamespace"]).ends_with("/${AWS::StackName}"), "{id}");
        alarms_by_status.insert(filter["FilterPattern"].as_str().unwrap());
    }
    let expected = ["401", "403", "409"].map(|status| format!("{{ $.status = \"{status}\" }}"));
    assert_eq!(alarms_by_status, expected.iter().map(String::as_str).collect());
}

#[test]
fn both_tables_are_watched() {
    let template = Template::load().unwrap();
    for (table, throttles) in [
        ("LogTable", ["ThrottledRequests"].as_slice()),
        ("ConnectionsTable", &["ReadThrottleEvents", "WriteThrottleEvents"]),
    ] {
        let watched: BTreeSet<&str> = alarms(&template)
            .into_iter()
            .flat_map(|(_, alarm)| metrics(alarm))
            .filter(|metric| dimension(metric, "TableName") == Some(table))
            .map(name)
            .collect();
        let expected = throttles.iter().chain(&["SystemErrors"]);
        assert!(expected.clone().all(|metric| watched.contains(metric)), "{table}: {watched:?}");
    }
}

#[test]
fn silence_is_an_alarm_only_if_activity_is_expected() {
    let template = Template::load().unwrap();
    let mut alarms = template.resources("AWS::CloudWatch::Alarm");
    let (_, alarm) = alarms.find(|(id, _)| *id == "SilenceAlarm").unwrap();
    assert_eq!(alarm["Condition"], "ExpectsActivity");
    assert_is_off_by_default(&template, "ExpectsActivity", "ExpectedActivityMinutes");
    let alarm = &alarm["Properties"];
    assert_eq!(target(&alarm["EvaluationPeriods"]), Some("ExpectedActivityMinutes"));
    assert!(alarm.get("DatapointsToAlarm").is_none());
    assert_eq!((&alarm["ComparisonOperator"], &alarm["Threshold"]), (&"LessThanThreshold".into(), &1.into()));
    // A period is a minute.
    for part in alarm["Metrics"].as_sequence().unwrap().iter().filter(|part| part.get("MetricStat").is_some())
    {
        assert_eq!(part["MetricStat"]["Period"], 60);
    }
}

#[test]
fn guide_has_the_cost_of_the_alarms() {
    let template = Template::load().unwrap();
    let always =
        template.resources("AWS::CloudWatch::Alarm").filter(|(_, alarm)| alarm.get("Condition").is_none());
    let counts: Vec<usize> = always.map(|(_, alarm)| metrics(&alarm["Properties"]).len()).collect();
    let (alarms, metrics) = (counts.len(), counts.iter().sum::<usize>());
    let dollars = format!("{}.{}0", metrics / 10, metrics % 10);
    let row = format!("| {alarms} alarms | ${dollars} | {metrics} metrics at $0.10 each");
    assert!(include_str!("../../../docs/operating.md").contains(&row), "{row}");
}

#[test]
fn every_alarm_tells_the_topic() {
    for (id, alarm) in alarms(&Template::load().unwrap()) {
        for actions in ["AlarmActions", "OKActions"] {
            let (condition, topics, _) = either(&alarm[actions]).unwrap();
            assert_eq!((condition, target(&topics[0])), ("HasAlarmTopic", Some("AlarmTopicArn")), "{id}");
        }
    }
}
