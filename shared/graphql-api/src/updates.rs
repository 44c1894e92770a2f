//! What the functions behind the WebSocket need of the schema: what a document subscribes to, and what it makes of
//! activities.

use std::sync::{Arc, OnceLock};

use async_graphql::parser::types::{OperationType, Selection};
use async_graphql::{ErrorExtensionValues, Request, Response, ServerError, Value, Variables};
use futures_util::StreamExt as _;
use serde::Serialize;
use shared::access::Caller;
use shared::activity::Activity;
use shared::directory::Workspace;
use shared::feed::Budget;
use shared::live::Document;
use shared::reader::Reader;
use shared::{Error, Result};

use crate::limits::Room;
use crate::subscription::{Arguments, Told};
use crate::types::Node;
use crate::{App, RequestId, document, error, http, limits};

/// The most bytes of what is sent of one activity. API Gateway sends 128 KB at once, with what is around this.
pub const MAX_PAYLOAD: usize = 127 * 1024;

/// What a document asks for.
#[derive(Debug)]
pub enum Asked {
    /// To be told of what is recorded.
    Subscription(Arguments),
    /// A query, which has been answered: a GraphQL response as JSON.
    Answer(String),
}

/// Why a document is not taken: GraphQL's errors, a list as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl Refused {
    /// The errors of what is wrong with a request as a whole.
    pub fn of(error: Error) -> Self {
        Self::all(vec![error::of_request(error)])
    }

    /// The error of who is nobody, for a reason that was found out before.
    pub fn unauthenticated(reason: String) -> Self {
        let mut error = error::of_request(Error::Unauthenticated(""));
        error.message = reason;
        Self::all(vec![error])
    }

    fn all(mut errors: Vec<ServerError>) -> Self {
        http::code(&mut errors, None);
        Self(serde_json::to_string(&errors).unwrap_or_else(|_| "[]".to_owned()))
    }
}

/// An activity to be told, and where that leaves who is told.
#[derive(Debug, Clone)]
pub struct Event {
    /// The activity.
    pub activity: Activity,
    /// Its workspace, as it is now.
    pub workspace: Option<Arc<Workspace>>,
    /// The cursor that goes with it.
    pub cursor: String,
}

impl App {
    /// Finds out what a document asks for, and, of a query, answers it to `caller`.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub async fn ask(&self, document: &Document, caller: Caller, request_id: &str) -> Result<Asked, Refused> {
        let (request, kind) = parse(document).map_err(Refused::of)?;
        if kind == OperationType::Subscription {
            return self.arguments(request).await.map(Asked::Subscription);
        }
        let room = Arc::<Room>::default();
        let request = request.data(Reader::new(self.store.clone(), caller)).data(self.store.clone());
        let request = request.data(Budget::start()).data(Arc::clone(&room));
        let request = request.data(RequestId(Some(request_id.to_owned())));
        let mut answer = Box::pin(self.schema.execute(request)).await;
        http::log(&answer.errors, Some(request_id));
        http::code(&mut answer.errors, Some(request_id));
        let payload = payload(&answer, None);
        if room.is_full() || payload.len() > MAX_PAYLOAD {
            let detail =
                "would be answered with more than a message holds, 128 KB; ask for less, or over HTTP";
            return Err(Refused::of(Error::too_large("query", detail)));
        }
        // Where nothing was begun there is no answer, only what is wrong with the question.
        if http::is_begun(&answer) { Ok(Asked::Answer(payload)) } else { Err(Refused::all(answer.errors)) }
    }

    async fn arguments(&self, request: Request) -> Result<Arguments, Refused> {
        let told = Arc::<Told>::default();
        let mut answers = self.schema.execute_stream(request.data(Arc::clone(&told)));
        // With nothing to tell, all it can say is what is wrong.
        if let Some(answer) = answers.next().await {
            return Err(Refused::all(answer.errors));
        }
        told.arguments.get().cloned().ok_or_else(|| {
            // It is skipped by a directive.
            Refused::of(Error::bad_input("query", "must select subscribeToActivity"))
        })
    }

    /// What a subscription's document makes of activities, a GraphQL response as JSON for each. What would be larger than
    /// [`MAX_PAYLOAD`] says instead where it can be fetched.
    ///
    /// # Errors
    /// What is wrong with the document, which was taken by another version of this program.
    pub async fn tell(&self, document: &Document, events: Vec<Event>) -> Result<Vec<String>, Refused> {
        let (request, _) = parse(document).map_err(Refused::of)?;
        let told = Arc::<Told>::default();
        let (mut nodes, mut rest) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
        for Event { activity, workspace, cursor } in events {
            rest.push((reference(&activity), cursor, Arc::<Room>::default()));
            let room = rest.last().map(|(_, _, room)| Arc::clone(room)).unwrap_or_default();
            nodes.push(Node { activity, workspace, room, html: OnceLock::new(), text: OnceLock::new() });
        }
        *told.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = nodes;
        let mut answers = self.schema.execute_stream(request.data(told));
        let mut payloads = Vec::with_capacity(rest.len());
        for (reference, cursor, room) in rest {
            // Others are being told at the same time.
            tokio::task::yield_now().await;
            match answers.next().await {
                Some(mut answer) if answer.data != Value::Null => {
                    http::code(&mut answer.errors, None);
                    let mut text = payload(&answer, Some(&cursor));
                    if room.is_full() || text.len() > MAX_PAYLOAD {
                        text = payload(&split_off(answer, reference), Some(&cursor));
                    }
                    payloads.push(text);
                }
                Some(answer) => return Err(Refused::all(answer.errors)),
                None => return Err(Refused::of(Error::internal("an activity was not told"))),
            }
        }
        Ok(payloads)
    }
}

/// Reads a document, and finds which kind its operation is of. Of a subscription, exactly one field may be selected.
fn parse(Document { query, operation, variables }: &Document) -> Result<(Request, OperationType)> {
    let size = query.len() + variables.len();
    let is_longer_than = |most| Error::too_large("payload", format!("must be at most {most} bytes"));
    if size > limits::BODY {
        return Err(is_longer_than(limits::BODY));
    }
    let variables = serde_json::from_str(variables).map_err(Error::internal)?;
    let mut variables = Variables::from_json(variables);
    let mut request = Request::new(query);
    if let Some(operation) = operation {
        request = request.operation_name(operation);
    }
    document::check_text(query)?;
    let mut kind = OperationType::Query;
    // Of what is no document, or names none of its operations, the execution says what is wrong.
    if let Ok(document) = request.parsed_query()
        && let Some(definition) = document::operation(document, operation.as_deref())
    {
        kind = definition.ty;
        let is_watched = kind == OperationType::Subscription;
        if is_watched && size > limits::WATCHED_BODY {
            return Err(is_longer_than(limits::WATCHED_BODY));
        }
        document::check(document, if is_watched { limits::WATCHED_SELECTIONS } else { limits::SELECTIONS })?;
        let selected = definition.selection_set.node.items.as_slice();
        if is_watched && !matches!(selected, [field] if matches!(field.node, Selection::Field(_))) {
            let detail = "must select exactly one field of the subscription, and that in no fragment";
            return Err(Error::bad_input("query", detail));
        }
        document::fill(&mut variables, definition);
    }
    Ok((request.variables(variables), kind))
}

/// Where an activity can be fetched.
fn reference(activity: &Activity) -> String {
    format!("/api/v1/workspaces/{}/activity/{}", activity.workspace_id, activity.id)
}

/// What is sent instead of what is too large.
fn split_off(answer: Response, reference: String) -> Response {
    let Value::Object(fields) = answer.data else { return answer };
    let Some(field) = fields.into_keys().next() else { return Response::new(Value::Null) };
    let detail = "is larger than a message; fetch the activity from the reference, or select less of it";
    let mut error = error::of_request(Error::too_large("message", detail));
    error.path = vec![async_graphql::PathSegment::Field(field.to_string())];
    error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("reference", reference);
    let data = Value::Object([(field, Value::Null)].into_iter().collect());
    let mut split = Response::new(data);
    split.errors = vec![error];
    split
}

/// A response as it is sent in a message.
fn payload(answer: &Response, cursor: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        errors: &'a [ServerError],
        data: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        extensions: Option<Extensions<'a>>,
    }
    #[derive(Serialize)]
    struct Extensions<'a> {
        cursor: &'a str,
    }
    let extensions = cursor.map(|cursor| Extensions { cursor });
    let payload = Payload { errors: &answer.errors, data: &answer.data, extensions };
    serde_json::to_string(&payload).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written");
        r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}],"data":null}"#.to_owned()
    })
}
