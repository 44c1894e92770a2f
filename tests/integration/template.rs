//! The template: each function has exactly the permissions that it uses, and queues lose nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use domain::provenance::Source;
use harness::World;
use local::template::{Statement, Template, target};
use serde_json::json;
use yaml_serde::Value;

use crate::graphql::workspace_events;
use crate::operations::{either, optional};
use crate::samples::{functions, samples, with_demo};

const HOUR: Duration = Duration::from_secs(3600);
const READS: &[&str] = &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"];
/// The writes that are allowed in the table of connections.
const WRITES: &[&str] = &["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];
/// The actions that Lambda itself takes with a function's role: it polls, and sends failures to a queue. The recorders of
/// queues also forward messages, which `forwarding.rs` covers.
const LAMBDA_ACTIONS: &[(&str, &str, &str)] = &[
    ("record-invoke", "sqs:SendMessage", "RecordFailuresQueue.Arn"),
    ("record-directory", "sqs:SendMessage", "RecordFailuresQueue.Arn"),
    ("record-queue", "sqs:DeleteMessage", "RecordQueue.Arn"),
    ("record-queue", "sqs:GetQueueAttributes", "RecordQueue.Arn"),
    ("record-queue", "sqs:ReceiveMessage", "RecordQueue.Arn"),
    ("record-bus", "sqs:DeleteMessage", "BusQueue.Arn"),
    ("record-bus", "sqs:GetQueueAttributes", "BusQueue.Arn"),
    ("record-bus", "sqs:ReceiveMessage", "BusQueue.Arn"),
    ("record-queue", "sqs:SendMessage", "RefusedQueue.Arn"),
    ("record-queue", "sqs:SendMessage", "RetryQueue.Arn"),
    ("record-bus", "sqs:SendMessage", "RefusedQueue.Arn"),
    ("record-bus", "sqs:SendMessage", "RetryQueue.Arn"),
    ("record-retry", "sqs:SendMessage", "RefusedQueue.Arn"),
    ("record-retry", "sqs:SendMessage", "RetryQueue.Arn"),
    ("record-retry", "sqs:DeleteMessage", "RetryQueue.Arn"),
    ("record-retry", "sqs:GetQueueAttributes", "RetryQueue.Arn"),
    ("record-retry", "sqs:ReceiveMessage", "RetryQueue.Arn"),
    ("broadcast", "sqs:SendMessage", "BroadcastFailuresQueue.Arn"),
    ("broadcast", "dynamodb:DescribeStream", "LogTable.StreamArn"),
    ("broadcast", "dynamodb:GetRecords", "LogTable.StreamArn"),
    ("broadcast", "dynamodb:GetShardIterator", "LogTable.StreamArn"),
    ("broadcast", "dynamodb:ListStreams", "*"),
];
/// The functions that may send to WebSocket connections, close them, and use their table.
const CONNECTION_FUNCTIONS: &[&str] = &["broadcast", "subscriptions"];

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
fn every_function_has_its_own_policy() {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions")).unwrap();
    let crates = folders.map(|folder| folder.unwrap().path()).filter(|path| path.join("Cargo.toml").exists());
    let crates: BTreeSet<String> =
        crates.map(|path| format!("functions/{}", path.file_name().unwrap().to_str().unwrap())).collect();
    let template = Template::load().unwrap();
    let built = template.functions().map(|(_, function)| function["Properties"]["CodeUri"].as_str().unwrap());
    assert_eq!(built.map(str::to_owned).collect::<BTreeSet<_>>(), crates);
    for function in functions() {
        statements(&function);
    }
}

#[test]
fn only_recorders_may_write_to_the_log() {
    for function in functions() {
        let (mut others, mut connections) = (BTreeSet::new(), BTreeSet::new());
        for statement in statements(&function) {
            for (action, resource) in statement
                .actions
                .iter()
                .flat_map(|action| statement.resources.iter().map(move |on| (action, on)))
            {
                let of_log = resource == "LogTable.Arn" || resource.starts_with("${LogTable.Arn}/index/by-");
                if action == "execute-api:ManageConnections" {
                    connections.insert(resource.rsplit_once("${WebSocketApi}").unwrap().1.to_owned());
                } else if of_log && !READS.contains(&action.as_str()) {
                    assert!(function.starts_with("record-"), "{function} may {action}");
                    assert!(
                        ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"]
                            .contains(&action.as_str()),
                        "{action}"
                    );
                    let within = &statement.within;
                    assert_eq!(*within, ["TransactWriteItems"], "{function} may {action} at any time");
                } else if resource == "ConnectionsTable.Arn" {
                    assert!(
                        CONNECTION_FUNCTIONS.contains(&function.as_str()),
                        "{function} may {action} on {resource}"
                    );
                    let known = READS.contains(&action.as_str()) || WRITES.contains(&action.as_str());
                    assert!(known, "{function} may {action} on {resource}");
                } else if !of_log {
                    others.insert((action.clone(), resource.clone()));
                }
            }
        }
        let lambdas = LAMBDA_ACTIONS.iter().filter(|(of, ..)| *of == function);
        let lambdas: BTreeSet<_> =
            lambdas.map(|(_, action, on)| (action.to_string(), on.to_string())).collect();
        assert_eq!(others, lambdas, "{function}");
        let mut expected: BTreeSet<&str> = BTreeSet::new();
        if CONNECTION_FUNCTIONS.contains(&function.as_str()) {
            expected.extend(["/live/DELETE/@connections/*", "/live/POST/@connections/*"]);
        }
        // Whether a connection that holds a permit is gone.
        expected.extend((function == "subscriptions").then_some("/live/GET/@connections/*"));
        assert_eq!(connections.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{function}");
    }
}

/// Records activities that make functions read every table and index that they can.
async fn given_more(world: &World) {
    // With so many workspaces, a company's feed is read from its own partition.
    for n in 0..8 {
        let details = json!({ "name": "Other", "organization": "org-demo" });
        world.given(workspace_events(&format!("other-{n}"), details, &[("user-demo", "member")])).await;
    }
    // More than 1 MB of an issue is counted in several requests.
    let long = (0..20).map(|n| {
        json!({
            "id": format!("long-{n}"), "workspace_id": "ws-demo", "issue_id": "issue-demo-1", "actor_type": "user",
            "actor_id": "user-demo", "action": "issue.described", "details": { "text": "x".repeat(60_000) },
            "created_at": "2025-01-01T00:00:00Z"
        })
    });
    world.given(long).await;
}

/// The operations of a function, during its start and with its samples, by table and index.
async fn operations_of(function: &str) -> BTreeSet<(String, String, String)> {
    let needs_stream = CONNECTION_FUNCTIONS.contains(&function);
    let world = with_demo(if needs_stream { World::with_stream().await } else { World::new().await }).await;
    given_more(&world).await;
    if needs_stream {
        return crate::subscriptions::operations_of(function, world).await;
    }
    world.transport.take_metered();
    world.store.warm_up().await.unwrap();
    for (_, _, event) in samples(function) {
        world.invoke(function, &event).await;
    }
    world.transport.take_metered().touched
}

#[tokio::test]
async fn permissions_are_exactly_those_used() {
    for function in functions() {
        let function = function.as_str();
        let statements = statements(function);
        let mut used = BTreeSet::new();
        for (operation, table, index) in operations_of(function).await {
            let actions: &[&str] = match operation.as_str() {
                "TransactWriteItems" => &["PutItem", "UpdateItem"],
                other => &[other],
            };
            let within = if operation == "ConditionCheckItem" { "TransactWriteItems" } else { &operation };
            let resource = match index.as_str() {
                "" if table.ends_with("-connections") => "ConnectionsTable.Arn".to_owned(),
                "" => "LogTable.Arn".to_owned(),
                index => format!("${{LogTable.Arn}}/index/{index}"),
            };
            for action in actions {
                let action = format!("dynamodb:{action}");
                assert!(
                    allows(&statements, &action, &resource, within),
                    "{function}: {action} on {resource}"
                );
                used.insert((action, resource.clone()));
            }
        }
        for statement in statements {
            for action in &statement.actions {
                for resource in &statement.resources {
                    let is_lambdas = LAMBDA_ACTIONS.contains(&(function, action.as_str(), resource.as_str()));
                    let is_management = action == "execute-api:ManageConnections";
                    let needed =
                        is_lambdas || is_management || used.contains(&(action.clone(), resource.clone()));
                    assert!(needed, "{function} may {action} on {resource}, and never does");
                }
            }
        }
    }
}

#[test]
fn every_recorder_serves_one_way_in() {
    let template = Template::load().unwrap();
    let variables = |name: &str| {
        let (_, function) = template.functions().find(|(found, _)| found == name).unwrap();
        function["Properties"]["Environment"]["Variables"].clone()
    };
    let by_invocation = "*";
    for (function, source, directory) in [
        ("record-http", Source::Http.as_str(), None),
        ("record-queue", Source::Queue.as_str(), Some("DirectoryPrincipals")),
        ("record-bus", Source::EventBus.as_str(), Some("DirectorySources")),
        ("record-retry", "retry", Some("DirectoryPrincipals")),
        ("record-invoke", Source::Invoke.as_str(), None),
        ("record-directory", Source::Invoke.as_str(), Some(by_invocation)),
    ] {
        let found = variables(function);
        assert_eq!(found["RECORD_SOURCE"], source, "{function}");
        assert_eq!(target(&found["ALLOW_UNKNOWN_WORKSPACES"]), Some("AllowUnknownWorkspaces"), "{function}");
        let principals = &found["DIRECTORY_PRINCIPALS"];
        assert_eq!(target(principals).or(principals.as_str()), directory, "{function}");
    }
    let recorders = functions().into_iter().filter(|name| name.starts_with("record-")).count();
    assert_eq!(recorders, 6);
    // A queue feeds the function of its own way, and nothing else does.
    let fed = template.queue_sources().into_iter().map(|source| (source.queue, source.function));
    let expected =
        [("BusQueue", "record-bus"), ("RecordQueue", "record-queue"), ("RetryQueue", "record-retry")];
    let expected = expected.map(|(queue, function)| (queue.to_owned(), function.to_owned()));
    assert_eq!(fed.collect::<BTreeSet<_>>(), expected.into());
    assert_eq!(template.bus_queue(), Some("BusQueue"));
}

#[test]
fn stream_source_is_in_order_and_reports_failures() {
    let template = Template::load().unwrap();
    let sources = template.stream_sources();
    let [source] = sources.as_slice() else { panic!("{sources:?}") };
    assert_eq!((source.function.as_str(), source.table.as_str()), ("broadcast", "LogTable"));
    assert!(source.reports_failures && source.bisects && source.max_retries > 0);
    // A batch of the journal is one item of at most 400 KB, which holds this many entries of 300 bytes.
    assert!(source.batch_size <= 1_000);
    assert_eq!(template.stream_view("LogTable").as_deref(), Some("NEW_IMAGE"));
    let mut mappings = template.resources("AWS::Lambda::EventSourceMapping");
    let mapping = mappings.find(|(id, _)| *id == "BroadcastSource").unwrap().1;
    assert!(mapping["Properties"]["MaximumRecordAgeInSeconds"].as_u64().is_some_and(|age| age <= 24 * 3600));
    // DynamoDB deletes the connections' items after their time to live.
    let ttl = &template.table("ConnectionsTable").unwrap()["TimeToLiveSpecification"];
    assert_eq!((&ttl["AttributeName"], &ttl["Enabled"]), (&"expires_at".into(), &true.into()));
}

#[test]
fn every_queue_has_dead_letters_encryption_and_alarm() {
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
    assert_eq!(dead_letters.len(), 5, "{dead_letters:?}");
    for (id, queue) in queues {
        let properties = &queue["Properties"];
        let alarm = if dead_letters.contains(id) {
            ("ApproximateNumberOfMessagesVisible", 1..=1)
        } else {
            assert!(to(queue, &redrive).is_some(), "{id} has no dead-letter queue and is none");
            // The alarm leaves time to act before messages become dead letters.
            ("ApproximateAgeOfOldestMessage", 1..=600)
        };
        // A queue of a stack that could not be made is empty. Any other stays.
        assert_eq!(queue["DeletionPolicy"], "RetainExceptOnCreate", "{id}");
        assert_eq!(queue["UpdateReplacePolicy"], "Retain", "{id}");
        let encrypted = either(&properties["SqsManagedSseEnabled"]).unwrap();
        assert_eq!((encrypted.0, encrypted.2), ("HasKmsKey", &true.into()), "{id}");
        assert_eq!(optional(&properties["KmsMasterKeyId"]), Some(("HasKmsKey", "KmsKeyArn")), "{id}");
        assert_eq!(properties["MessageRetentionPeriod"], 14 * 86_400, "{id}");
        let has_alarm = template.resources("AWS::CloudWatch::Alarm").any(|(_, found)| {
            let found = &found["Properties"];
            found["Namespace"] == "AWS/SQS"
                && found["MetricName"] == alarm.0
                && found["Threshold"].as_u64().is_some_and(|threshold| alarm.1.contains(&threshold))
                && found["Dimensions"][0].get("Value").and_then(target) == Some(id)
                && found.get("AlarmActions").is_some()
        });
        assert!(has_alarm, "{id} has no alarm on its {}", alarm.0);
    }
}

#[test]
fn queue_source_leaves_time_and_reports_failures() {
    let template = Template::load().unwrap();
    let sources = template.queue_sources();
    assert!(!sources.is_empty());
    let mappings = template.resources("AWS::Lambda::EventSourceMapping").count();
    assert_eq!(sources.len() + template.stream_sources().len(), mappings);
    for source in sources {
        assert!(source.reports_failures, "{source:?}");
        assert!(source.visibility >= source.timeout * 6 + source.window, "{source:?}");
        // A message is retried for at least an hour, because an outage must not make good messages dead letters, and
        // for less than six hours, because some messages never succeed.
        let tried_for = source.visibility * u32::try_from(source.max_receives).unwrap();
        assert!((HOUR..6 * HOUR).contains(&tried_for), "{source:?}");
        // The dead-letter queue accepts messages of the queues that it names, of which this is one.
        let properties = |id| {
            let mut queues = template.resources("AWS::SQS::Queue");
            queues.find(|(name, _)| *name == id).map(|(_, queue)| &queue["Properties"]).unwrap()
        };
        let allowed = &properties(source.dead_letters.as_str())["RedriveAllowPolicy"];
        assert_eq!(allowed["redrivePermission"], "byQueue");
        let (name, id) = substituted(&properties(source.queue.as_str())["QueueName"]);
        let arns = items(&allowed["sourceQueueArns"]).map(substituted);
        let mut named = arns.map(|(arn, arn_id)| (arn.rsplit(':').next().unwrap(), arn_id));
        assert!(named.any(|named| named == (name, id)), "{allowed:?}");
    }
    // SAM would add a policy that reads every queue for any other kind of event.
    for (function, resource) in template.functions() {
        for (name, event) in
            resource["Properties"].get("Events").and_then(Value::as_mapping).into_iter().flatten()
        {
            assert_eq!(event["Type"], "HttpApi", "{function}: {name:?}");
        }
    }
}

#[test]
fn only_the_rule_may_send_and_only_over_tls() {
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
                    && senders(statement) == rule_arns(&template, rule)
            });
            assert!(allowed, "{rule} may not send to {queue}");
        }
    }
    for (queues, statement) in &policies {
        if statement["Effect"] == "Allow" {
            assert_eq!(statement["Principal"]["Service"], "events.amazonaws.com", "{queues:?}");
            let by = senders(statement);
            assert!(
                rules.iter().any(|(rule, _)| by == rule_arns(&template, rule)),
                "{by:?} send to {queues:?}"
            );
        }
    }
    // Nobody who has permissions in the account can send to the queue of the bus.
    let is_closed = policies.iter().any(|(queues, statement)| {
        queues.contains(&"BusQueue")
            && statement["Effect"] == "Deny"
            && statement["Principal"] == "*"
            && statement["Action"] == "sqs:SendMessage"
            && statement["Condition"]["Bool"]["aws:PrincipalIsAWSService"] == "false"
    });
    assert!(is_closed);
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

/// The ARNs that a policy's statement allows to send.
fn senders(statement: &Value) -> Vec<String> {
    items(&statement["Condition"]["ArnLike"]["aws:SourceArn"]).map(|arn| tagged(arn, "Sub")).collect()
}

/// The ARNs of a rule, on the default bus and on another.
fn rule_arns(template: &Template, rule: &str) -> Vec<String> {
    let (_, rule) = template.resources("AWS::Events::Rule").find(|(id, _)| *id == rule).unwrap();
    let name = tagged(&rule["Properties"]["Name"], "Sub");
    let arn = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/";
    vec![format!("{arn}{name}"), format!("{arn}*/{name}")]
}

#[test]
fn rule_delivers_every_event_or_raises_an_alarm() {
    let template = Template::load().unwrap();
    let rules: Vec<_> = template.resources("AWS::Events::Rule").map(|(_, rule)| rule).collect();
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    // An empty parameter is a prefix of every source.
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
        let alarm = alarms.find(|(_, alarm)| metrics_of(alarm).any(|found| found == metric));
        assert_eq!(alarm.unwrap().1["Properties"]["Threshold"], 1, "{metric}");
    }
    let mut mappings = template.resources("AWS::Lambda::EventSourceMapping");
    let (_, mapping) = mappings.find(|(id, _)| *id == "RecordQueueSource").unwrap();
    let most = &mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"];
    assert_eq!(target(most), Some("RecordConcurrency"));
}

#[test]
fn producers_may_only_send_events() {
    let template = Template::load().unwrap();
    // The resource is the stack's own bus, or the one that a parameter names.
    let bus = |value: &Value| {
        let Value::Tagged(either) = value else { return None };
        let [_, own, other] = either.value.as_sequence()?.as_slice() else { return None };
        let named = tagged(other, "Sub").ends_with(":event-bus/${EventBusName}");
        (either.tag == "If" && named).then(|| target(own)).flatten().map(str::to_owned)
    };
    let allowed = |name: &str| {
        let mut policies = template.resources("AWS::IAM::ManagedPolicy");
        let (_, policy) = policies.find(|(id, _)| *id == name).unwrap();
        let mut allowed = BTreeSet::new();
        for statement in items(&policy["Properties"]["PolicyDocument"]["Statement"]) {
            // The right to use the key by which the queue is encrypted, if there is one.
            if let Some((condition, key, _)) = either(statement) {
                assert_eq!((condition, target(&key["Resource"])), ("HasKmsKey", Some("KmsKeyArn")));
                continue;
            }
            for action in items(&statement["Action"]) {
                let on = &statement["Resource"];
                allowed.insert((action.as_str().unwrap(), target(on).map(str::to_owned).or_else(|| bus(on))));
            }
        }
        allowed
    };
    let expected = [
        ("events:PutEvents", "EventBus"),
        ("lambda:InvokeFunction", "RecordInvokeFunction"),
        ("sqs:SendMessage", "RecordQueue"),
    ];
    assert_eq!(allowed("ProducerPolicy"), expected.map(|(action, on)| (action, Some(on.to_owned()))).into());
    let expected = [("lambda:InvokeFunction", "RecordDirectoryFunction")];
    assert_eq!(
        allowed("DirectoryProducerPolicy"),
        expected.map(|(action, on)| (action, Some(on.to_owned()))).into()
    );
}

/// The names of an alarm's metrics.
fn metrics_of(alarm: &Value) -> impl Iterator<Item = &str> {
    let properties = &alarm["Properties"];
    let summed =
        items(&properties["Metrics"]).filter_map(|part| part["MetricStat"]["Metric"].get("MetricName"));
    summed.chain(properties.get("MetricName")).filter_map(Value::as_str)
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

/// The text of a tag, such as a `!Sub` with only a text.
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
