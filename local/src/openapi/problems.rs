//! The problems that operations respond with.

use http_api::problem::Problem;
use serde_json::json;

use super::ordered::{Ordered, object};
use super::references::reference_to;

/// A status, and the cause that it has in an operation.
pub(super) type Cause = (u16, &'static str);

const NO_TOKEN: Cause = (401, "There is no token, or it is not valid.");
const FAILED: Cause = (500, "The log failed. Report it with the `request_id`.");

/// The problems of reading a workspace.
pub(super) const READING: &[Cause] = &[
    (
        400,
        "A parameter is wrong, unknown or given twice; `field` names it. Or the page is too long for one request: then \
         `max_limit` fits, and the header `Link` and `cursor` go on.",
    ),
    NO_TOKEN,
    (403, "The caller may not read this workspace."),
    (404, "The workspace, or what is asked for in it, does not exist."),
    (429, "The log is busy. Try again later."),
    FAILED,
    (503, "The log did not answer. Try again later."),
];

/// The problems of recording.
pub(super) const RECORDING: &[Cause] = &[
    (400, "The event, the path or the `Idempotency-Key` is wrong; `field` names what is at fault."),
    NO_TOKEN,
    (403, "The token lacks the scope `activity:write`."),
    (404, "The workspace is not known: its `workspace.created` is not recorded."),
    (409, "The id names an activity with other content."),
    (413, "The body, the event or their number exceeds a limit."),
    (
        415,
        "The body has an encoding besides gzip, a charset besides UTF-8, or CloudEvents in a format besides JSON.",
    ),
    (429, "The log is busy. Send the same again later: it is recorded once."),
    FAILED,
    (503, "The log did not answer. Send the same again: it is recorded once."),
];

/// The problems of an operation that reads no table.
pub(super) const WITHOUT_TABLE: &[Cause] = &[(400, "There are no parameters."), NO_TOKEN, FAILED];

/// The response with a problem.
pub(super) fn response((status, description): Cause) -> Ordered {
    let header = match status {
        401 => Some(("WWW-Authenticate", json!({ "type": "string" }), "Always `Bearer`.")),
        415 => Some(("Accept-Encoding", json!({ "type": "string" }), "Always `gzip`.")),
        429 | 503 => Some(("Retry-After", json!({ "type": "integer" }), "Seconds to wait.")),
        _ => None,
    };
    let headers = header.map(|(name, schema, description)| {
        object([(name, object([("schema", schema.into()), ("description", description.into())]))])
    });
    let schema = object([("schema", reference_to::<Problem>())]);
    let members = [("description", Some(description.into())), ("headers", headers)];
    let members = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ordered::object(members.chain([("content", object([("application/problem+json", schema)]))]))
}
