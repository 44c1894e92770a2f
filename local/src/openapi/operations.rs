//! The operations of the REST API, each described here alone. The template has their paths, methods and scopes.

use http_api::entry::ActivityEntry;
use record_activity::{BatchResult, KnownAction, RecordedActivity};
use serde_json::{Value, json};

use super::event;
use super::operation::{Body, Header, Operation, Parameters, Response, string};
use super::ordered::{Ordered, object};
use super::problems;
use super::references::{array_of, reference_to};

const READING: &str = "Reading";
const RECORDING: &str = "Recording";

/// The descriptions, by the routes' logical names in the template.
static OPERATIONS: &[Operation] = &[
    Operation {
        route: "ListWorkspaceActivity",
        tag: READING,
        summary: "List all workspace activity",
        parameters: &[Parameters::List, Parameters::IfNoneMatch],
        responses: &[PAGE, NOT_MODIFIED],
        problems: problems::READING,
        ..DEFAULTS
    },
    Operation {
        route: "GetActivity",
        tag: READING,
        summary: "Show one activity",
        parameters: &[Parameters::IfNoneMatch],
        responses: &[
            Response {
                status: 200,
                description: "The activity.",
                headers: &[ETAG],
                schema: Some(reference_to::<ActivityEntry>),
            },
            NOT_MODIFIED,
        ],
        problems: problems::READING,
        ..DEFAULTS
    },
    Operation {
        route: "ListIssueActivity",
        tag: READING,
        summary: "List activity for specific issue",
        parameters: &[Parameters::List, Parameters::IfNoneMatch],
        responses: &[PAGE, NOT_MODIFIED],
        problems: problems::READING,
        ..DEFAULTS
    },
    Operation {
        route: "RecordActivity",
        tag: RECORDING,
        summary: "Record activity",
        description: Some(
            "Recorded again, under the same id and with the same content, an event is the same activity.",
        ),
        parameters: &[Parameters::IdempotencyKey],
        body: Some(Body {
            description: "What happened.",
            schema: event::one_or_several,
            example: event::to_try,
        }),
        responses: &[
            Response {
                status: 200,
                description: "It was recorded before; or, of an array, every event is recorded now.",
                headers: &[],
                schema: Some(activity_or_results),
            },
            Response {
                status: 201,
                description: "It is recorded.",
                headers: &[Header {
                    name: "Location",
                    description: "Where the activity is.",
                    schema: string,
                }],
                schema: Some(reference_to::<RecordedActivity>),
            },
            Response {
                status: 207,
                description: "Of an array, not every event is recorded.",
                headers: &[],
                schema: Some(|| array_of(reference_to::<BatchResult>())),
            },
        ],
        problems: problems::RECORDING,
    },
    Operation {
        route: "ListActions",
        tag: RECORDING,
        summary: "List known actions",
        description: Some(
            "What events of these actions must be like. Actions that are not listed are recorded as they are.",
        ),
        parameters: &[Parameters::IfNoneMatch],
        responses: &[
            Response {
                status: 200,
                description: "The actions, grouped by what they are about.",
                headers: &[ETAG],
                schema: Some(|| array_of(reference_to::<KnownAction>())),
            },
            NOT_MODIFIED,
        ],
        problems: problems::WITHOUT_TABLE,
        ..DEFAULTS
    },
];

const DEFAULTS: Operation = Operation {
    route: "",
    tag: "",
    summary: "",
    description: None,
    parameters: &[],
    body: None,
    responses: &[],
    problems: &[],
};

const PAGE: Response = Response {
    status: 200,
    description: "A page of the feed.",
    headers: &[
        ETAG,
        Header {
            name: "Link",
            description: "The next page, `rel=\"next\"`, when there is one.",
            schema: string,
        },
        Header {
            name: "X-Total-Count",
            description: "How many entries there are, when `include=total` asks.",
            schema: count,
        },
    ],
    schema: Some(|| array_of(reference_to::<ActivityEntry>())),
};

const NOT_MODIFIED: Response = Response {
    status: 304,
    description: "The answer is the one with the tag in `If-None-Match`.",
    headers: &[],
    schema: None,
};

const ETAG: Header = Header { name: "ETag", description: "Names this very answer.", schema: string };

/// The description of the route with this logical name.
pub(super) fn of_route(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.route == name)
}

/// The logical names of all described routes.
#[cfg(test)]
pub(super) fn described_routes() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.route)
}

/// The groups of operations.
pub(super) fn tags() -> Ordered {
    let group = |name: &str, description: &str| json!({ "name": name, "description": description });
    json!([
        group(READING, "For members of the workspace, and tokens with the scope `activity:read`."),
        group(RECORDING, "For tokens with the scope `activity:write`; the list of actions for any."),
    ])
    .into()
}

fn activity_or_results() -> Ordered {
    let several = array_of(reference_to::<BatchResult>());
    object([
        ("oneOf", Ordered::Array(vec![reference_to::<RecordedActivity>(), several])),
        ("description", "The activity of a single event, or a result for each event of an array.".into()),
    ])
}

fn count() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0 })
}
