//! The errors of the operations.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};

/// What can keep a caller from reading.
pub(super) struct Reading;

impl IntoResponses for Reading {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (400, "A parameter is wrong, unknown or given twice; `field` names it."),
            (401, "There is no token, or it is not valid."),
            (403, "The caller may not read this workspace."),
            (404, "The workspace, or what is asked for in it, does not exist."),
            (429, "The log is busy. Try again later."),
            (500, "The log failed. Report it with the `request_id`."),
            (503, "The log did not answer. Try again later."),
        ])
    }
}

/// What can keep a caller from recording.
pub(super) struct Recording;

impl IntoResponses for Recording {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (400, "The event, the path or the `Idempotency-Key` is wrong; `field` names what is at fault."),
            (401, "There is no token, or it is not valid."),
            (403, "The token lacks the scope `activity:write`."),
            (409, "The id names an activity with other content."),
            (413, "The body, the event or their number exceeds a limit."),
            (429, "The log is busy. Send the same again later: it is recorded once."),
            (500, "The log failed. Report it with the `request_id`."),
            (503, "The log did not answer. Send the same again: it is recorded once."),
        ])
    }
}

/// What can keep a caller from the list of actions.
pub(super) struct Catalog;

impl IntoResponses for Catalog {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (400, "There are no parameters."),
            (401, "There is no token, or it is not valid."),
            (500, "The log failed. Report it with the `request_id`."),
        ])
    }
}

fn problems(statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |&(status, description): &(u16, &str)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response =
            ResponseBuilder::new().description(description).content("application/problem+json", content);
        let response = match status {
            401 => response.header("WWW-Authenticate", header(Type::String, "Always `Bearer`.")),
            429 | 503 => response.header("Retry-After", header(Type::Integer, "Seconds to wait.")),
            _ => response,
        };
        (status.to_string(), response.build().into())
    };
    statuses.iter().map(problem).collect()
}

fn header(kind: Type, description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}
