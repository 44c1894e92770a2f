//! An operation of the REST API, as the document has it.

use domain::event::MAX_BATCH;
use domain::ids::{MAX_ID_LEN, PATTERN};
use http_api::params::PARAMETERS;
use serde_json::{Value, json};

use super::ordered::{Ordered, object};
use super::problems::{self, Cause};
use super::references::reference;
use crate::http_api::path_parameters;
use crate::template::Route;

/// The parameters of paths: name, description, the name of the schema, and what the demo workspace has there.
const PATH_PARAMETERS: &[(&str, &str, &str, &str)] = &[
    ("ws_id", "The workspace.", "WorkspaceId", "ws-demo"),
    ("issue_id", "The issue.", "IssueId", "issue-demo-1"),
    ("activity_id", "The activity.", "ActivityId", "act-demo-1"),
];

/// The description of a route.
pub(super) struct Operation {
    /// The route's logical name in the template.
    pub(super) route: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: Option<&'static str>,
    pub(super) parameters: &'static [Parameters],
    pub(super) body: Option<Body>,
    pub(super) responses: &'static [Response],
    pub(super) problems: &'static [Cause],
}

/// The body of a request.
pub(super) struct Body {
    pub(super) description: &'static str,
    pub(super) schema: fn() -> Ordered,
    /// A body to try on the demo workspace.
    pub(super) example: fn() -> Value,
}

/// Parameters beside those of the path.
#[derive(Clone, Copy)]
pub(super) enum Parameters {
    /// The query parameters of a list.
    List,
    IfNoneMatch,
    IdempotencyKey,
}

/// A response that is no problem.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) headers: &'static [Header],
    pub(super) schema: Option<fn() -> Ordered>,
}

/// A header of a response.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: fn() -> Value,
}

impl Operation {
    /// The operation as the document has it.
    pub(super) fn document(&self, route: &Route) -> Ordered {
        let own = self.parameters.iter().flat_map(|parameters| parameters.document());
        let parameters = path_parameters(&route.path).map(path_parameter).chain(own).collect();
        let body = self.body.as_ref().map(|body| {
            object([
                ("description", body.description.into()),
                (
                    "content",
                    json_content([("schema", (body.schema)()), ("example", (body.example)().into())]),
                ),
                ("required", Value::Bool(true).into()),
            ])
        });
        let responses = self.responses.iter().map(|response| (response.status, response.document()));
        let problems = self.problems.iter().map(|cause| (cause.0, problems::response(*cause)));
        let responses = responses.chain(problems).map(|(status, response)| (status.to_string(), response));
        let mut id = route.name.clone();
        id[..1].make_ascii_lowercase();
        let members = [
            ("tags", Some(json!([self.tag]).into())),
            ("summary", Some(self.summary.into())),
            ("description", self.description.map(Ordered::from)),
            ("operationId", Some(id.into())),
            ("parameters", Some(Ordered::Array(parameters))),
            ("requestBody", body),
            ("responses", Some(Ordered::object(responses))),
            ("security", Some(json!([{ "bearer": route.scopes }]).into())),
        ];
        Ordered::object(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

impl Parameters {
    fn document(self) -> Vec<Ordered> {
        match self {
            Self::List => PARAMETERS
                .iter()
                .map(|list| parameter(list.name, "query", list.description, list.schema().into()))
                .collect(),
            Self::IfNoneMatch => {
                let description = "The `ETag` of an answer that is known.";
                vec![parameter("If-None-Match", "header", description, string().into())]
            }
            Self::IdempotencyKey => {
                let description =
                    "The id of an event without one; of an array's events, with a dot and the index.";
                // The longest key leaves room for a dot and the largest index.
                let longest = MAX_ID_LEN - format!(".{}", MAX_BATCH - 1).len();
                let schema = json!({
                    "type": "string", "minLength": 1, "maxLength": longest, "pattern": PATTERN
                });
                vec![parameter("Idempotency-Key", "header", description, schema.into())]
            }
        }
    }
}

impl Response {
    fn document(&self) -> Ordered {
        let headers = self.headers.iter().map(|header| {
            let schema = Ordered::Value((header.schema)());
            (header.name, object([("schema", schema), ("description", header.description.into())]))
        });
        let members = [
            ("description", Some(self.description.into())),
            ("headers", (!self.headers.is_empty()).then(|| Ordered::object(headers))),
            ("content", self.schema.map(|schema| json_content([("schema", schema())]))),
        ];
        Ordered::object(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

fn path_parameter(name: &str) -> Ordered {
    let known = PATH_PARAMETERS.iter().find(|(known, ..)| *known == name);
    let (description, schema, example) = known.map_or_else(
        || (Value::Null.into(), string().into(), Value::Null.into()),
        |(_, description, schema, example)| {
            (Ordered::from(*description), reference(schema), (*example).into())
        },
    );
    object([
        ("name", name.into()),
        ("in", "path".into()),
        ("description", description),
        ("required", Value::Bool(true).into()),
        ("schema", schema),
        ("example", example),
    ])
}

fn parameter(name: &str, location: &str, description: &str, schema: Ordered) -> Ordered {
    object([
        ("name", name.into()),
        ("in", location.into()),
        ("description", description.into()),
        ("required", Value::Bool(false).into()),
        ("schema", schema),
    ])
}

fn json_content<const N: usize>(members: [(&str, Ordered); N]) -> Ordered {
    object([("application/json", object(members))])
}

/// The schema of any string.
pub(super) fn string() -> Value {
    json!({ "type": "string" })
}
