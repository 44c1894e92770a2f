//! The template: permissions enough for what the functions do, and nothing that could harm the log; queues that lose
//! nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::World;
use local::template::{Statement, Template, target};
use serde_json::json;
use yaml_serde::Value;

use crate::graphql::made;
use crate::samples::{demo, samples};

const HOUR: Duration = Duration::from_secs(3600);
const FUNCTIONS: &[&str] = &[
    "broadcast",
    "graphql",
    "list-issue-activity",
    "list-workspace-activity",
    "record-activity",
    "subscriptions",
];
const READS: &[&str] = &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"];
/// What may be done to the table of connections, beyond reading it.
const WRITES: &[&str] = &["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];
/// What Lambda itself does as a function: it hands over what failed, and polls.
const LAMBDAS: &[(&str, &str, &str)] = &[
    ("record-activity", "sqs:SendMessage", "RecordFailuresQueue.Arn"),
    ("record-activity", "sqs:DeleteMessage", "RecordQueue.Arn"),
    ("record-activity", "sqs:GetQueueAttributes", "RecordQueue.Arn"),
    ("record-activity", "sqs:ReceiveMessage", "RecordQueue.Arn"),
    ("broadcast", "sqs:SendMessage", "BroadcastFailuresQueue.Arn"),
    ("broadcast", "dynamodb:DescribeStream", "LogTable.StreamArn"),
    ("broadcast", "dynamodb:GetRecords", "LogTable.StreamArn"),
    ("broadcast", "dynamodb:GetShardIterator", "LogTable.StreamArn"),
    ("broadcast", "dynamodb:ListStreams", "*"),
];
/// Those that speak to connections, which is to send to them and to close them.
const SPEAKERS: &[&str] = &["broadcast", "subscriptions"];

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
fn only_the_recorder_writes_to_the_log_and_nobody_can_delete_or_scan() {
    for function in FUNCTIONS {
        let (mut others, mut connections) = (BTreeSet::new(), BTreeSet::new());
        for statement in statements(function) {
            for (action, resource) in statement
                .actions
                .iter()
                .flat_map(|action| statement.resources.iter().map(move |on| (action, on)))
            {
                let of_log = resource == "LogTable.Arn" || resource.starts_with("${LogTable.Arn}/index/by-");
                if action == "execute-api:ManageConnections" {
                    connections.insert(resource.rsplit_once("${WebSocketApi}").unwrap().1.to_owned());
                } else if of_log && !READS.contains(&action.as_str()) {
                    assert_eq!(*function, "record-activity", "{function} may {action}");
                    assert!(
                        ["dynamodb:PutItem", "dynamodb:UpdateItem"].contains(&action.as_str()),
                        "{action}"
                    );
                    let within = &statement.within;
                    assert_eq!(*within, ["TransactWriteItems"], "{function} may {action} at any time");
                } else if resource == "ConnectionsTable.Arn" {
                    assert!(SPEAKERS.contains(function), "{function} may {action} on {resource}");
                    let known = READS.contains(&action.as_str()) || WRITES.contains(&action.as_str());
                    assert!(known, "{function} may {action} on {resource}");
                } else if !of_log {
                    others.insert((action.clone(), resource.clone()));
                }
            }
        }
        let lambdas = LAMBDAS.iter().filter(|(of, ..)| of == function);
        let lambdas: BTreeSet<_> =
            lambdas.map(|(_, action, on)| (action.to_string(), on.to_string())).collect();
        assert_eq!(others, lambdas, "{function}");
        let speaks = ["/live/DELETE/@connections/*", "/live/POST/@connections/*"].map(str::to_owned).into();
        assert_eq!(
            connections,
            if SPEAKERS.contains(function) { speaks } else { BTreeSet::new() },
            "{function}"
        );
    }
}

/// Records what makes functions read wherever they can.
async fn give_more(world: &World) {
    // Of so many workspaces, a company's feed is read from its own partition.
    for n in 0..8 {
        let details = json!({ "name": "Other", "organization": "org-demo" });
        world.given(made(&format!("other-{n}"), details, &[("user-demo", "member")])).await;
    }
    // More than 1 MB of an issue is counted in pieces, which days cut.
    let long = (0..20).map(|n| {
        json!({
            "id": format!("long-{n}"), "workspace_id": "ws-demo", "issue_id": "issue-demo-1", "actor_type": "user",
            "actor_id": "user-demo", "action": "issue.described", "details": { "text": "x".repeat(60_000) },
            "created_at": "2025-01-01T00:00:00Z"
        })
    });
    world.given(long).await;
}

/// What the function does to the tables, as it starts and with its samples.
async fn done_by(function: &str) -> BTreeSet<(String, String, String)> {
    let is_speaker = SPEAKERS.contains(&function);
    let world = demo(if is_speaker { World::watched().await } else { World::new().await }).await;
    give_more(&world).await;
    if is_speaker {
        return crate::live::everything_done_by(function, world).await;
    }
    world.transport.take();
    world.store.warm_up().await.unwrap();
    for (_, _, event) in samples(function) {
        world.invoke(function, &event).await;
    }
    world.transport.take().touched
}

#[tokio::test]
async fn functions_may_do_what_they_do_and_what_they_may_they_do() {
    for function in FUNCTIONS {
        let statements = statements(function);
        let mut used = BTreeSet::new();
        for (operation, table, index) in done_by(function).await {
            let actions: &[&str] = match operation.as_str() {
                "TransactWriteItems" => &["PutItem", "UpdateItem"],
                other => &[other],
            };
            let resource = match index.as_str() {
                "" if table.ends_with("-connections") => "ConnectionsTable.Arn".to_owned(),
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
            for action in &statement.actions {
                for resource in &statement.resources {
                    let lambdas = LAMBDAS.contains(&(function, action.as_str(), resource.as_str()));
                    let speaks = action == "execute-api:ManageConnections";
                    let needed = lambdas || speaks || used.contains(&(action.clone(), resource.clone()));
                    assert!(needed, "{function} may {action} on {resource}, and never does");
                }
            }
        }
    }
}

#[test]
fn the_stream_brings_new_activities_in_order_and_what_fails_is_kept_known() {
    let template = Template::load().unwrap();
    let sources = template.stream_sources();
    let [source] = sources.as_slice() else { panic!("{sources:?}") };
    assert_eq!((source.function.as_str(), source.table.as_str()), ("broadcast", "LogTable"));
    assert!(source.reports_failures && source.bisects && source.max_retries > 0);
    // A batch of the journal is an item, of 400 KB at the most: so many entries of 300 bytes.
    assert!(source.batch_size <= 1_000);
    assert_eq!(template.stream_view("LogTable").as_deref(), Some("NEW_IMAGE"));
    let mut mappings = template.resources("AWS::Lambda::EventSourceMapping");
    let mapping = mappings.find(|(id, _)| *id == "BroadcastSource").unwrap().1;
    assert!(mapping["Properties"]["MaximumRecordAgeInSeconds"].as_u64().is_some_and(|age| age <= 24 * 3600));
    // The connections' items end by themselves.
    let ttl = &template.table("ConnectionsTable").unwrap()["TimeToLiveSpecification"];
    assert_eq!((&ttl["AttributeName"], &ttl["Enabled"]), (&"expires_at".into(), &true.into()));
}

#[test]
fn every_queue_has_a_dead_letter_queue_or_is_one_and_is_kept_encrypted_and_watched() {
    let template = Template::load().unwrap();
    let to = |from: &Value, path: &[&str]| at(from, path).and_then(target).map(str::to_owned);
    let queues: Vec<_> = template.resources("AWS::SQS::Queue").collect();
    let redrive = ["Properties", "RedrivePolicy", "deadLetterTargetArn"];
    let failure = ["Properties", "EventInvokeConfig", "DestinationConfig", "OnFailure", "Destination"];
    let mut dead_letters: BTreeSet<String> =
        queues.iter().filter_map(|(_, queue)| to(queue, &redrive)).collect();
    dead_letters.extend(template.functions().filter_map(|(_, function)| to(function, &failure)));
    let mapping = ["Properties", "DestinationConfig", "OnFailure", "Destination"];
    let mappings = template.resources("AWS::Lambda::EventSourceMapping");
    dead_letters.extend(mappings.filter_map(|(_, source)| to(source, &mapping)));
    dead_letters.extend(
        rule_targets(&template)
            .iter()
            .filter_map(|(_, to)| to["DeadLetterConfig"].get("Arn").and_then(target).map(str::to_owned)),
    );
    assert_eq!(dead_letters.len(), 4, "{dead_letters:?}");
    for (id, queue) in queues {
        let properties = &queue["Properties"];
        let alarm = if dead_letters.contains(id) {
            ("ApproximateNumberOfMessagesVisible", 1..=1)
        } else {
            assert!(to(queue, &redrive).is_some(), "{id} has no dead-letter queue, and is none");
            // Time to do something before the messages are moved.
            ("ApproximateAgeOfOldestMessage", 1..=600)
        };
        assert_eq!(queue["DeletionPolicy"], "Retain", "{id}");
        assert_eq!(queue["UpdateReplacePolicy"], "Retain", "{id}");
        assert_eq!(properties["SqsManagedSseEnabled"], true, "{id}");
        assert_eq!(properties["MessageRetentionPeriod"], 14 * 86_400, "{id}");
        let watched = template.resources("AWS::CloudWatch::Alarm").any(|(_, watch)| {
            let watch = &watch["Properties"];
            watch["Namespace"] == "AWS/SQS"
                && watch["MetricName"] == alarm.0
                && watch["Threshold"].as_u64().is_some_and(|threshold| alarm.1.contains(&threshold))
                && watch["Dimensions"][0].get("Value").and_then(target) == Some(id)
                && watch.get("AlarmActions").is_some()
        });
        assert!(watched, "{id} has no alarm on its {}", alarm.0);
    }
}

#[test]
fn queues_leave_their_functions_time_and_take_back_only_what_failed() {
    let template = Template::load().unwrap();
    let sources = template.queue_sources();
    assert!(!sources.is_empty());
    let mappings = template.resources("AWS::Lambda::EventSourceMapping").count();
    assert_eq!(sources.len() + template.stream_sources().len(), mappings);
    for source in sources {
        assert!(source.reports_failures, "{source:?}");
        assert!(source.visibility >= source.timeout * 6 + source.window, "{source:?}");
        // An outage of the table takes good messages with it only when it lasts an hour; poison circles for a few.
        let tried_for = source.visibility * u32::try_from(source.max_receives).unwrap();
        assert!((HOUR..6 * HOUR).contains(&tried_for), "{source:?}");
        // Its dead-letter queue takes messages of this queue only, known by its name.
        let properties = |id| {
            let mut queues = template.resources("AWS::SQS::Queue");
            queues.find(|(name, _)| *name == id).map(|(_, queue)| &queue["Properties"]).unwrap()
        };
        let allowed = &properties(source.dead_letters.as_str())["RedriveAllowPolicy"];
        assert_eq!(allowed["redrivePermission"], "byQueue");
        let (name, id) = substituted(&properties(source.queue.as_str())["QueueName"]);
        let (arn, arn_id) = substituted(&allowed["sourceQueueArns"][0]);
        assert_eq!((arn.rsplit(':').next().unwrap(), arn_id), (name, id));
    }
    // For these SAM would add a policy of its own, that reads every queue.
    for (function, resource) in template.functions() {
        for (name, event) in
            resource["Properties"].get("Events").and_then(Value::as_mapping).into_iter().flatten()
        {
            assert_eq!(event["Type"], "HttpApi", "{function}: {name:?}");
        }
    }
}

#[test]
fn only_the_rule_sends_to_its_queues_and_nobody_reaches_any_without_tls() {
    let template = Template::load().unwrap();
    let policies: Vec<(Vec<&str>, &Value)> = template
        .resources("AWS::SQS::QueuePolicy")
        .flat_map(|(_, policy)| {
            let queues: Vec<&str> = items(&policy["Properties"]["Queues"]).filter_map(target).collect();
            items(&policy["Properties"]["PolicyDocument"]["Statement"])
                .map(move |statement| (queues.clone(), statement))
        })
        .collect();
    let rules = rule_targets(&template);
    assert!(!rules.is_empty());
    for (rule, to) in &rules {
        for queue in [&to["Arn"], &to["DeadLetterConfig"]["Arn"]] {
            let queue = target(queue).unwrap();
            let allowed = policies.iter().any(|(queues, statement)| {
                queues.contains(&queue)
                    && statement["Effect"] == "Allow"
                    && statement["Action"] == "sqs:SendMessage"
                    && senders(statement) == by_name(&template, rule)
            });
            assert!(allowed, "{rule} may not send to {queue}");
        }
    }
    for (queues, statement) in &policies {
        if statement["Effect"] == "Allow" {
            assert_eq!(statement["Principal"]["Service"], "events.amazonaws.com", "{queues:?}");
            let by = senders(statement);
            assert!(
                rules.iter().any(|(rule, _)| by == by_name(&template, rule)),
                "{by:?} send to {queues:?}"
            );
        }
    }
    for (queue, _) in template.resources("AWS::SQS::Queue") {
        let guarded = policies.iter().any(|(queues, statement)| {
            queues.contains(&queue)
                && statement["Effect"] == "Deny"
                && statement["Action"] == "sqs:*"
                && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
        });
        assert!(guarded, "{queue} can be reached without TLS");
    }
}

/// Who a policy's statement lets in.
fn senders(statement: &Value) -> Vec<String> {
    items(&statement["Condition"]["ArnLike"]["aws:SourceArn"]).map(|arn| tagged(arn, "Sub")).collect()
}

/// The ARNs of a rule, on the default bus and on another.
fn by_name(template: &Template, rule: &str) -> Vec<String> {
    let (_, rule) = template.resources("AWS::Events::Rule").find(|(id, _)| *id == rule).unwrap();
    let name = tagged(&rule["Properties"]["Name"], "Sub");
    let arn = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/";
    vec![format!("{arn}{name}"), format!("{arn}*/{name}")]
}

#[test]
fn all_that_is_put_on_the_bus_gets_to_the_queue_or_is_seen_to_be_lost() {
    let template = Template::load().unwrap();
    let rules: Vec<_> = template.resources("AWS::Events::Rule").map(|(_, rule)| rule).collect();
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    // What the parameter leaves empty, begins every source.
    let pattern = rule["Properties"]["EventPattern"].as_mapping().unwrap();
    assert_eq!(pattern.len(), 1);
    assert_eq!(target(&pattern["source"][0]["prefix"]), Some("EventSourcePrefix"));
    assert_eq!(rule["DependsOn"], "RuleQueuesPolicy");
    for (_, to) in rule_targets(&template) {
        let retry = &to["RetryPolicy"];
        assert_eq!(
            (&retry["MaximumEventAgeInSeconds"], &retry["MaximumRetryAttempts"]),
            (&86_400.into(), &185.into())
        );
    }
    for metric in ["InvocationsFailedToBeSentToDlq", "DestinationDeliveryFailures"] {
        let mut alarms = template.resources("AWS::CloudWatch::Alarm");
        let alarm = alarms.find(|(_, alarm)| alarm["Properties"]["MetricName"] == metric);
        assert_eq!(alarm.unwrap().1["Properties"]["Threshold"], 1, "{metric}");
    }
    let mut mappings = template.resources("AWS::Lambda::EventSourceMapping");
    let (_, mapping) = mappings.find(|(id, _)| *id == "RecordQueueSource").unwrap();
    let most = &mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"];
    assert_eq!(target(most), Some("RecordConcurrency"));
}

#[test]
fn producers_may_hand_over_events_and_nothing_else() {
    let template = Template::load().unwrap();
    let mut allowed = BTreeSet::new();
    // The stack's own bus, or the one that was named.
    let bus = |value: &Value| {
        let Value::Tagged(either) = value else { return None };
        let [_, own, other] = either.value.as_sequence()?.as_slice() else { return None };
        let named = tagged(other, "Sub").ends_with(":event-bus/${EventBusName}");
        (either.tag == "If" && named).then(|| target(own)).flatten().map(str::to_owned)
    };
    for (_, policy) in template.resources("AWS::IAM::ManagedPolicy") {
        for statement in items(&policy["Properties"]["PolicyDocument"]["Statement"]) {
            for action in items(&statement["Action"]) {
                let on = &statement["Resource"];
                allowed.insert((action.as_str().unwrap(), target(on).map(str::to_owned).or_else(|| bus(on))));
            }
        }
    }
    let expected = [
        ("events:PutEvents", "EventBus"),
        ("lambda:InvokeFunction", "RecordActivityFunction"),
        ("sqs:SendMessage", "RecordQueue"),
    ];
    assert_eq!(allowed, expected.map(|(action, on)| (action, Some(on.to_owned()))).into());
}

/// The targets of the rules, each with its rule's logical id.
fn rule_targets(template: &Template) -> Vec<(&str, &Value)> {
    template
        .resources("AWS::Events::Rule")
        .flat_map(|(id, rule)| items(&rule["Properties"]["Targets"]).map(move |target| (id, target)))
        .collect()
}

/// The text and the values of a `!Sub` that has both.
fn substituted(value: &Value) -> (&str, &Value) {
    let Value::Tagged(sub) = value else { panic!("{value:?}") };
    (sub.value[0].as_str().unwrap(), &sub.value[1])
}

/// The text of a tag, such as a `!Sub` that has nothing else.
fn tagged(value: &Value, tag: &str) -> String {
    match value {
        Value::Tagged(tagged) if tagged.tag == tag => tagged.value.as_str().unwrap().to_owned(),
        _ => panic!("no !{tag}: {value:?}"),
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(*name))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_sequence().into_iter().flatten()
}
