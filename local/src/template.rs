//! Reads `template.yaml`, which is the truth about routes, tables, queues and permissions.

use std::time::Duration;

use yaml_serde::{Mapping, Value};

/// The template this gateway was built with.
const TEMPLATE: &str = include_str!("../../template.yaml");

/// What the gateway and the checks need of the template.
#[derive(Debug, Clone)]
pub struct Template {
    /// The HTTP API's routes.
    pub routes: Vec<Route>,
    /// How pages of other origins may call the API.
    pub cors: Cors,
    globals: Value,
    resources: Mapping,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The crate of the function that serves it.
    pub function: String,
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path, with its parameters in braces.
    pub path: String,
    /// A token needs one of these, when there are any.
    pub scopes: Vec<String>,
}

/// The API's CORS settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Headers a request may have.
    pub allow_headers: Vec<String>,
    /// Methods it may use.
    pub allow_methods: Vec<String>,
    /// Headers of a response that scripts may read.
    pub expose_headers: Vec<String>,
}

/// A queue whose messages a function gets in batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// The crate of the function.
    pub function: String,
    /// How long an invocation of it may take.
    pub timeout: Duration,
    /// The queue's logical id.
    pub queue: String,
    /// The most messages of a batch.
    pub batch_size: usize,
    /// How long a batch is gathered.
    pub window: Duration,
    /// Whether the function's answer names the messages that failed; without, it is all of them or none.
    pub reports_failures: bool,
    /// How long a message that was handed out stays hidden from others.
    pub visibility: Duration,
    /// How often a message is handed out before it goes to `dead_letters`.
    pub max_receives: u64,
    /// The logical id of the dead-letter queue.
    pub dead_letters: String,
}

/// A table's stream, whose records a function gets in batches.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSource {
    /// The crate of the function.
    pub function: String,
    /// How long an invocation of it may take.
    pub timeout: Duration,
    /// The table's logical id.
    pub table: String,
    /// The most records of a batch.
    pub batch_size: usize,
    /// How often a batch that failed is tried again.
    pub max_retries: u32,
    /// Whether a batch that failed is halved first.
    pub bisects: bool,
    /// Whether the function's answer names the record from which on it failed; without, it is all of them or none.
    pub reports_failures: bool,
    /// Which records the function gets, patterns as EventBridge has them: those that match any.
    pub patterns: Vec<serde_json::Value>,
}

/// A statement of a function's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it allows.
    pub actions: Vec<String>,
    /// On which resources, as the template's text writes them: `LogTable.Arn`, `${LogTable.Arn}/index/by-issue`.
    pub resources: Vec<String>,
    /// Whether it allows only within a certain operation, and which.
    pub within: Vec<String>,
}

impl Template {
    /// Reads the template built into this program.
    ///
    /// # Errors
    /// What is missing, or is not of the form the gateway knows.
    pub fn load() -> Result<Self, String> {
        let root: Value =
            yaml_serde::from_str(TEMPLATE).map_err(|error| format!("template.yaml: {error}"))?;
        let resources = map(&root, "Resources").ok_or("template.yaml: no Resources")?.clone();
        let api = resources.get("HttpApi").ok_or("template.yaml: no HttpApi")?;
        let cors =
            at(api, &["Properties", "CorsConfiguration"]).map(settled).ok_or("template.yaml: no CORS")?;
        let cors = Cors {
            allow_headers: strings(cors, "AllowHeaders"),
            allow_methods: strings(cors, "AllowMethods"),
            expose_headers: strings(cors, "ExposeHeaders"),
        };
        let globals = at(&root, &["Globals", "Function"]).cloned().unwrap_or_default();
        let mut template = Self { routes: Vec::new(), cors, globals, resources };
        template.routes = template.functions().flat_map(|(name, function)| routes(&name, function)).collect();
        Ok(template)
    }

    /// The definition of the table with this logical id, as its `Properties` say.
    pub fn table(&self, logical_id: &str) -> Option<&Value> {
        self.resources.get(logical_id).and_then(|table| table.get("Properties"))
    }

    /// What the records of a table's stream show, such as `NEW_IMAGE`; `None` when it has no stream.
    pub fn stream_view(&self, logical_id: &str) -> Option<String> {
        at(self.table(logical_id)?, &["StreamSpecification", "StreamViewType"])?.as_str().map(str::to_owned)
    }

    /// The statements of a function's policy, by the function's crate.
    pub fn permissions(&self, function: &str) -> Vec<Statement> {
        let found = self.functions().find(|(name, _)| name == function);
        let policies = found.and_then(|(_, function)| at(function, &["Properties", "Policies"])).cloned();
        let statements = list(policies.as_ref()).flat_map(|policy| list(policy.get("Statement")));
        statements.map(statement).collect()
    }

    /// The functions, by their crates.
    pub fn functions(&self) -> impl Iterator<Item = (String, &Value)> {
        self.resources("AWS::Serverless::Function")
            .filter_map(|(_, function)| Some((crate_of(function)?, function)))
    }

    /// The resources of a type, such as `AWS::SQS::Queue`, by their logical ids.
    pub fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.resources
            .iter()
            .filter(move |(_, resource)| resource.get("Type").and_then(Value::as_str) == Some(kind))
            .filter_map(|(id, resource)| Some((id.as_str()?, resource)))
    }

    /// The queues that functions are fed from. One that lacks a part is none of them.
    pub fn queue_sources(&self) -> Vec<QueueSource> {
        self.resources("AWS::Lambda::EventSourceMapping")
            .filter_map(|(_, mapping)| self.queue_source(mapping.get("Properties")?))
            .collect()
    }

    /// The streams that functions are fed from. One that lacks a part is none of them.
    pub fn stream_sources(&self) -> Vec<StreamSource> {
        self.resources("AWS::Lambda::EventSourceMapping")
            .filter_map(|(_, mapping)| self.stream_source(mapping.get("Properties")?))
            .collect()
    }

    fn stream_source(&self, mapping: &Value) -> Option<StreamSource> {
        let source = mapping.get("EventSourceArn")?;
        let is_stream = matches!(source, Value::Tagged(tagged)
            if tagged.value.as_str().is_some_and(|attribute| attribute.ends_with(".StreamArn")));
        let (function, timeout) = self.fed(mapping)?;
        let patterns = list(at(mapping, &["FilterCriteria", "Filters"]));
        let pattern = |filter: &Value| serde_json::from_str(filter.get("Pattern")?.as_str()?).ok();
        is_stream.then_some(StreamSource {
            function,
            timeout,
            table: target(source)?.to_owned(),
            batch_size: mapping.get("BatchSize")?.as_u64()?.try_into().ok()?,
            max_retries: mapping.get("MaximumRetryAttempts")?.as_u64()?.try_into().ok()?,
            bisects: mapping.get("BisectBatchOnFunctionError")?.as_bool()?,
            reports_failures: reports_failures(mapping),
            patterns: patterns.map(pattern).collect::<Option<_>>()?,
        })
    }

    /// The crate of the function that a mapping feeds, and how long it may take.
    fn fed(&self, mapping: &Value) -> Option<(String, Duration)> {
        let function = self.resources.get(target(mapping.get("FunctionName")?)?)?;
        let timeout = at(function, &["Properties", "Timeout"]).or_else(|| self.globals.get("Timeout"))?;
        Some((crate_of(function)?, Duration::from_secs(timeout.as_u64()?)))
    }

    fn queue_source(&self, mapping: &Value) -> Option<QueueSource> {
        let queue_id = target(mapping.get("EventSourceArn")?)?;
        let queue = self.resources.get(queue_id)?.get("Properties")?;
        let redrive = queue.get("RedrivePolicy")?;
        let (function, timeout) = self.fed(mapping)?;
        let seconds = |value: &Value, name| value.get(name)?.as_u64().map(Duration::from_secs);
        Some(QueueSource {
            function,
            timeout,
            queue: queue_id.to_owned(),
            batch_size: mapping.get("BatchSize")?.as_u64()?.try_into().ok()?,
            window: seconds(mapping, "MaximumBatchingWindowInSeconds").unwrap_or_default(),
            reports_failures: reports_failures(mapping),
            visibility: seconds(queue, "VisibilityTimeout")?,
            max_receives: redrive.get("maxReceiveCount")?.as_u64()?,
            dead_letters: target(redrive.get("deadLetterTargetArn")?)?.to_owned(),
        })
    }
}

/// The logical id that a `!Ref` or a `!GetAtt` names.
pub fn target(value: &Value) -> Option<&str> {
    match value {
        Value::Tagged(tagged) if tagged.tag == "Ref" => tagged.value.as_str(),
        Value::Tagged(tagged) if tagged.tag == "GetAtt" => {
            tagged.value.as_str()?.split_once('.').map(|(id, _)| id)
        }
        _ => None,
    }
}

fn reports_failures(mapping: &Value) -> bool {
    strings(mapping, "FunctionResponseTypes").iter().any(|kind| kind == "ReportBatchItemFailures")
}

fn crate_of(function: &Value) -> Option<String> {
    let code = at(function, &["Properties", "CodeUri"])?.as_str()?;
    code.trim_end_matches('/').rsplit('/').next().map(str::to_owned)
}

fn routes(function: &str, resource: &Value) -> Vec<Route> {
    let Some(Value::Mapping(events)) = at(resource, &["Properties", "Events"]) else { return Vec::new() };
    let is_route = |event: &&Value| event.get("Type").and_then(Value::as_str) == Some("HttpApi");
    let route = |event: &Value| {
        let text = |name| Some(at(event, &["Properties", name])?.as_str()?.to_owned());
        let scopes = at(event, &["Properties", "Auth"]).map(|auth| strings(auth, "AuthorizationScopes"));
        Some(Route {
            function: function.to_owned(),
            method: text("Method")?.to_uppercase(),
            path: text("Path")?,
            scopes: scopes.unwrap_or_default(),
        })
    };
    events.values().filter(is_route).filter_map(route).collect()
}

fn statement(statement: &Value) -> Statement {
    let resources = list(statement.get("Resource")).map(|value| match value {
        Value::Tagged(tagged) => tagged.value.as_str().unwrap_or_default().to_owned(),
        other => other.as_str().unwrap_or_default().to_owned(),
    });
    let within =
        statement.get("Condition").and_then(|conditions| conditions.as_mapping()).into_iter().flat_map(
            |conditions| conditions.values().flat_map(|terms| strings(terms, "dynamodb:EnclosingOperation")),
        );
    Statement {
        actions: strings(statement, "Action"),
        resources: resources.collect(),
        within: within.collect(),
    }
}

/// The value behind an `!If`: what holds when its condition does.
fn settled(value: &Value) -> &Value {
    match value {
        Value::Tagged(tagged) if tagged.tag == "If" => tagged.value.get(1).unwrap_or(value),
        other => other,
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(*name))
}

fn map<'a>(value: &'a Value, name: &str) -> Option<&'a Mapping> {
    value.get(name)?.as_mapping()
}

/// A list's items, or the one value that stands for a list of one.
fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let items: Vec<&Value> = match value {
        None => Vec::new(),
        Some(Value::Sequence(items)) => items.iter().collect(),
        Some(one) => vec![one],
    };
    items.into_iter()
}

fn strings(value: &Value, name: &str) -> Vec<String> {
    list(value.get(name)).filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
