//! Reads `template.yaml`, which is the truth about routes, tables, queues and permissions.

mod sources;
mod yaml;

use yaml_serde::{Mapping, Value};

use sources::{Scope, function_name};
use yaml::{at, list, map, strings, text, when_true};

pub use sources::{QueueSource, StreamSource};

/// The template that this gateway was built with.
const TEMPLATE: &str = include_str!("../../template.yaml");
/// IAM's condition key for the partition keys of the items that a request names.
const LEADING_KEYS: &str = "dynamodb:LeadingKeys";

/// The parts of the template that the gateway and the checks need.
#[derive(Debug, Clone)]
pub struct Template {
    /// The HTTP API's routes.
    pub routes: Vec<Route>,
    /// The HTTP API's CORS settings.
    pub cors: Cors,
    globals: Value,
    parameters: Mapping,
    resources: Mapping,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its logical name, such as `ListWorkspaceActivity`.
    pub name: String,
    /// The name of the function that serves it.
    pub function: String,
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path, with its parameters in braces.
    pub path: String,
    /// Scopes of which a token needs one. An empty list asks for none.
    pub scopes: Vec<String>,
}

/// CORS settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Headers that a request may have.
    pub allow_headers: Vec<String>,
    /// Methods that a request may use.
    pub allow_methods: Vec<String>,
    /// Headers of a response that scripts may read.
    pub expose_headers: Vec<String>,
}

/// A statement of a function's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The actions that it allows.
    pub actions: Vec<String>,
    /// The resources that it allows them on, as the template writes them: `LogTable.Arn`,
    /// `${LogTable.Arn}/index/by-issue`.
    pub resources: Vec<String>,
    /// The operations within which it allows them. An empty list is no restriction.
    pub within: Vec<String>,
    /// Patterns of the partition keys of items on which it allows them. An empty list is no restriction.
    pub leading_keys: Vec<String>,
    /// Whether a request must name a partition key. Else one that names none would match every pattern.
    pub requires_key: bool,
}

impl Template {
    /// Reads the template that is built into this program.
    ///
    /// # Errors
    /// The part that is missing or malformed.
    pub fn load() -> Result<Self, String> {
        let root: Value =
            yaml_serde::from_str(TEMPLATE).map_err(|error| format!("template.yaml: {error}"))?;
        let resources = map(&root, "Resources").ok_or("template.yaml: no Resources")?.clone();
        let api = resources.get("HttpApi").ok_or("template.yaml: no HttpApi")?;
        let cors =
            at(api, &["Properties", "CorsConfiguration"]).map(when_true).ok_or("template.yaml: no CORS")?;
        let cors = Cors {
            allow_headers: strings(cors, "AllowHeaders"),
            allow_methods: strings(cors, "AllowMethods"),
            expose_headers: strings(cors, "ExposeHeaders"),
        };
        let globals = at(&root, &["Globals", "Function"]).cloned().unwrap_or_default();
        let parameters = map(&root, "Parameters").cloned().unwrap_or_default();
        let mut template = Self { routes: Vec::new(), cors, globals, parameters, resources };
        template.routes = template.functions().flat_map(|(name, function)| routes(&name, function)).collect();
        Ok(template)
    }

    /// The definition of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters.get(name)
    }

    /// The `Properties` of the table with this logical id.
    pub fn table(&self, logical_id: &str) -> Option<&Value> {
        self.resources.get(logical_id).and_then(|table| table.get("Properties"))
    }

    /// The view of a table's stream, such as `NEW_IMAGE`, or `None` when the table has no stream.
    pub fn stream_view(&self, logical_id: &str) -> Option<String> {
        at(self.table(logical_id)?, &["StreamSpecification", "StreamViewType"])?.as_str().map(str::to_owned)
    }

    /// The statements of the policies of the function with this name: its own, and those of managed policies that it
    /// refers to.
    pub fn permissions(&self, function: &str) -> Vec<Statement> {
        let found = self.functions().find(|(name, _)| name == function);
        let policies = list(found.and_then(|(_, function)| at(function, &["Properties", "Policies"])));
        let document = |policy| match target(policy).and_then(|id| self.resources.get(id)) {
            Some(managed) => at(managed, &["Properties", "PolicyDocument"]).unwrap_or(policy),
            None => policy,
        };
        policies.flat_map(|policy| list(document(policy).get("Statement"))).map(statement).collect()
    }

    /// The functions, by their names: their logical ids without `Function`, in lowercase with hyphens.
    pub fn functions(&self) -> impl Iterator<Item = (String, &Value)> {
        self.resources("AWS::Serverless::Function").map(|(id, function)| (function_name(id), function))
    }

    /// The logical id of the queue to which the event bus sends.
    pub fn bus_queue(&self) -> Option<&str> {
        let (_, rule) = self.resources("AWS::Events::Rule").next()?;
        target(list(at(rule, &["Properties", "Targets"])).next()?.get("Arn")?)
    }

    /// The logical ids of the queues to which a recorder forwards: of what is tried later, and of what is not.
    pub fn forwarding_queues(&self, recorder: &str) -> Option<(&str, &str)> {
        let (_, recorder) = self.functions().find(|(name, _)| name == recorder)?;
        let variables = at(recorder, &["Properties", "Environment", "Variables"])?;
        let queue = |name| target(variables.get(name)?);
        Some((queue("RETRY_QUEUE_URL")?, queue("REFUSED_QUEUE_URL")?))
    }

    /// The resources of a type, such as `AWS::SQS::Queue`, by their logical ids.
    pub fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.resources
            .iter()
            .filter(move |(_, resource)| resource.get("Type").and_then(Value::as_str) == Some(kind))
            .filter_map(|(id, resource)| Some((id.as_str()?, resource)))
    }

    /// The queues that feed functions.
    pub fn queue_sources(&self) -> Vec<QueueSource> {
        self.mappings().filter_map(|mapping| QueueSource::read(self.scope(), mapping)).collect()
    }

    /// The streams that feed functions.
    pub fn stream_sources(&self) -> Vec<StreamSource> {
        self.mappings().filter_map(|mapping| StreamSource::read(self.scope(), mapping)).collect()
    }

    /// The name of the function behind the WebSocket API.
    pub fn web_socket_function(&self) -> Option<String> {
        let (_, integration) = self.resources("AWS::ApiGatewayV2::Integration").next()?;
        let uri = text(at(integration, &["Properties", "IntegrationUri"])?)?;
        let (before, _) = uri.split_once(".Arn}")?;
        let (_, logical_id) = before.rsplit_once("${")?;
        Some(function_name(logical_id))
    }

    fn mappings(&self) -> impl Iterator<Item = &Value> {
        self.resources("AWS::Lambda::EventSourceMapping").filter_map(|(_, mapping)| mapping.get("Properties"))
    }

    fn scope(&self) -> Scope<'_> {
        Scope { resources: &self.resources, globals: &self.globals }
    }
}

/// The logical id that a `!Ref` or a `!GetAtt` names.
pub fn target(value: &Value) -> Option<&str> {
    yaml::target(value)
}

fn routes(function: &str, resource: &Value) -> Vec<Route> {
    let Some(Value::Mapping(events)) = at(resource, &["Properties", "Events"]) else { return Vec::new() };
    let route = |(name, event): (&Value, &Value)| {
        let text = |name| Some(at(event, &["Properties", name])?.as_str()?.to_owned());
        let is_route = event.get("Type").and_then(Value::as_str) == Some("HttpApi");
        let scopes = at(event, &["Properties", "Auth"]).map(|auth| strings(auth, "AuthorizationScopes"));
        is_route.then_some(Route {
            name: name.as_str()?.to_owned(),
            function: function.to_owned(),
            method: text("Method")?.to_uppercase(),
            path: text("Path")?,
            scopes: scopes.unwrap_or_default(),
        })
    };
    events.iter().filter_map(route).collect()
}

fn statement(statement: &Value) -> Statement {
    let resources = list(statement.get("Resource")).map(|value| text(value).unwrap_or_default().to_owned());
    let condition = statement.get("Condition");
    let within = condition.and_then(Value::as_mapping).into_iter().flat_map(Mapping::values);
    let keys = condition.and_then(|condition| condition.get("ForAllValues:StringLike"));
    let no_key = condition.and_then(|condition| at(condition, &["Null", LEADING_KEYS]));
    Statement {
        actions: strings(statement, "Action"),
        resources: resources.collect(),
        within: within.flat_map(|terms| strings(terms, "dynamodb:EnclosingOperation")).collect(),
        leading_keys: keys.map(|keys| strings(keys, LEADING_KEYS)).unwrap_or_default(),
        requires_key: no_key.and_then(Value::as_str) == Some("false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_socket_events_go_to_a_function() {
        assert_eq!(Template::load().unwrap().web_socket_function().as_deref(), Some("subscriptions"));
    }
}
