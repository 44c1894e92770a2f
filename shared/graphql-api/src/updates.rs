//! The schema over WebSocket: begins the operations that clients send, and renders updates as subscriptions select them.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{ErrorExtensionValues, Request, Response, ServerError, Value, Variables};
use domain::access::Caller;
use domain::activity::Activity;
use domain::directory::Workspace;
use domain::subscription::Document;
use domain::{Error, Result};
use futures_util::StreamExt as _;
use http_api::listing;
use serde::Serialize;

use crate::document::Arguments;
use crate::limits::ResponseBudget;
use crate::subscription::{SubscriptionArguments, UpdateFeed};
use crate::types::Node;
use crate::{App, document, error, limits, response};

/// The most bytes of a result. API Gateway sends messages of at most 128 KB, and the rest of a message takes some of them.
pub const MAX_PAYLOAD: usize = 127 * 1024;

/// An operation that was begun.
#[derive(Debug)]
pub enum Operation {
    /// A subscription to begin, which has not been checked beyond its document.
    Subscription(SubscriptionArguments),
    /// A query that was answered, with a GraphQL response as JSON.
    Answered(String),
}

/// GraphQL's errors, of a document that was refused as a whole.
#[derive(Debug, Clone)]
pub struct GraphqlErrors(Vec<ServerError>);

impl From<Error> for GraphqlErrors {
    fn from(error: Error) -> Self {
        Self(vec![error::of_request(error)])
    }
}

impl GraphqlErrors {
    /// The error of a client whose token was refused earlier, for `reason`.
    pub fn unauthenticated(reason: String) -> Self {
        let mut error = error::of_request(Error::Unauthenticated(""));
        error.message = reason;
        Self(vec![error])
    }

    /// The error of a client that names its document by a hash.
    pub fn persisted_query() -> Self {
        Self(vec![error::persisted_query()])
    }

    /// The list of errors, as JSON, with the id of the request that they answer.
    pub fn to_json(&self, request_id: &str) -> String {
        let mut errors = self.0.clone();
        response::complete_errors(&mut errors, Some(request_id));
        serde_json::to_string(&errors).unwrap_or_else(|_| "[]".to_owned())
    }
}

/// An update to render.
#[derive(Debug, Clone)]
pub struct GraphqlUpdate {
    /// The activity, which all documents share.
    pub activity: Arc<Activity>,
    /// The current entry of its workspace.
    pub workspace: Option<Arc<Workspace>>,
    /// Whether it goes to subscribers who may see when and by whom the activity was recorded.
    pub shows_provenance: bool,
    /// The cursor after it.
    pub cursor: String,
}

impl App {
    /// Begins the operation of a document: answers a query to `caller`, or finds the arguments of a subscription.
    ///
    /// # Errors
    /// The errors of the document. A query's errors of fields are in its answer instead.
    pub async fn run(
        &self,
        document: &Document,
        caller: Caller,
        request_id: &str,
    ) -> Result<Operation, GraphqlErrors> {
        let (request, kind) = parse(document)?;
        match kind {
            OperationType::Subscription => self.arguments(request).await.map(Operation::Subscription),
            _ => self.answer(request, caller, request_id).await.map(Operation::Answered),
        }
    }

    async fn answer(
        &self,
        request: Request,
        caller: Caller,
        request_id: &str,
    ) -> Result<String, GraphqlErrors> {
        let too_large = || {
            let detail =
                "would be answered with more than a message holds, 128 KB; ask for less, or over HTTP";
            GraphqlErrors::from(Error::too_large("query", detail))
        };
        // The only error of an execution is that its response is too large, even for HTTP.
        let executed = self.execute(request, caller).await;
        let mut answer = executed.map_err(|_| too_large())?;
        response::log_errors(&answer.errors);
        response::complete_errors(&mut answer.errors, Some(request_id));
        let payload = payload(&answer, None);
        if payload.len() > MAX_PAYLOAD {
            return Err(too_large());
        }
        // The protocol has no result for an operation that was not executed.
        if response::is_executed(&answer) { Ok(payload) } else { Err(GraphqlErrors(answer.errors)) }
    }

    async fn arguments(&self, mut request: Request) -> Result<SubscriptionArguments, GraphqlErrors> {
        let feed = Arc::<UpdateFeed>::default();
        let variables = request.variables.clone();
        let arguments = request.parsed_query().map(|document| Arguments::of(document, &variables));
        let arguments = arguments.unwrap_or_default();
        let mut answers = self.schema.execute_stream(request.data(Arc::clone(&feed)));
        // The feed has no updates, so that the only answer can be errors.
        if let Some(mut answer) = answers.next().await {
            arguments.name_in(&mut answer.errors);
            return Err(GraphqlErrors(answer.errors));
        }
        // A directive may skip the field.
        feed.arguments().ok_or_else(|| Error::bad_input("query", "must select subscribeToActivity").into())
    }

    /// Renders the first of some updates as a subscription's document selects them: a GraphQL response as JSON for each, in
    /// their order, until they have `max_bytes` together. A response of more than [`MAX_PAYLOAD`] is replaced by one with a
    /// reference to the activity.
    ///
    /// # Errors
    /// The errors of the document, which another version of this program accepted.
    pub async fn render_updates(
        &self,
        document: &Document,
        updates: Vec<GraphqlUpdate>,
        max_bytes: usize,
    ) -> Result<Vec<String>, GraphqlErrors> {
        let (request, _) = parse(document)?;
        let (mut nodes, mut pending) = (Vec::with_capacity(updates.len()), Vec::with_capacity(updates.len()));
        for GraphqlUpdate { activity, workspace, shows_provenance, cursor } in updates {
            let budget = Arc::<ResponseBudget>::default();
            pending.push(PendingUpdate {
                reference: listing::path_of(&activity),
                cursor,
                budget: Arc::clone(&budget),
            });
            let node = Node::new(activity, workspace, budget);
            nodes.push(if shows_provenance { node } else { node.without_provenance() });
        }
        let feed = Arc::new(UpdateFeed::new(nodes));
        let mut answers = self.schema.execute_stream(request.data(feed));
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        for update in pending {
            if bytes >= max_bytes {
                break;
            }
            // Rendering never waits, and would otherwise hold up the messages in flight.
            tokio::task::yield_now().await;
            match answers.next().await {
                Some(answer) if answer.data != Value::Null => {
                    let payload = update.payload(answer);
                    bytes += payload.len();
                    payloads.push(payload);
                }
                Some(answer) => return Err(GraphqlErrors(answer.errors)),
                None => return Err(Error::internal("an update was not rendered").into()),
            }
        }
        Ok(payloads)
    }
}

/// Whether a document may select when and by whom an activity was recorded. It may not if it names neither field.
pub fn selects_provenance(Document { query, .. }: &Document) -> bool {
    ["recordedAt", "recordedBy"].iter().any(|field| query.contains(field))
}

/// An update whose response has not been rendered yet.
struct PendingUpdate {
    reference: String,
    cursor: String,
    budget: Arc<ResponseBudget>,
}

impl PendingUpdate {
    fn payload(&self, mut answer: Response) -> String {
        response::complete_errors(&mut answer.errors, None);
        let text = payload(&answer, Some(&self.cursor));
        if !self.budget.is_full() && text.len() <= MAX_PAYLOAD {
            return text;
        }
        payload(&too_large(answer, &self.reference), Some(&self.cursor))
    }
}

/// Parses a document, and finds the kind of its operation. A subscription must select exactly one field.
fn parse(Document { query, operation, variables }: &Document) -> Result<(Request, OperationType)> {
    let size = query.len() + variables.len();
    let check_size = |most| {
        let detail = || format!("must be at most {most} bytes");
        if size > most { Err(Error::too_large("payload", detail())) } else { Ok(()) }
    };
    check_size(limits::BODY)?;
    let variables = serde_json::from_str(variables).map_err(Error::internal)?;
    let mut variables = Variables::from_json(variables);
    let mut request = Request::new(query);
    if let Some(operation) = operation {
        request = request.operation_name(operation);
    }
    document::check_text(query)?;
    let mut kind = OperationType::Query;
    // The execution reports a document that does not parse, or that lacks the operation.
    if let Ok(document) = request.parsed_query() {
        let (mut document, name) = (document.clone(), operation.as_deref());
        if let Some(definition) = document::operation(&document, name) {
            kind = definition.ty;
            document::fill(&mut variables, definition);
        }
        let is_subscription = kind == OperationType::Subscription;
        if is_subscription {
            check_size(limits::SUBSCRIPTION_BODY)?;
        }
        let most = if is_subscription { limits::SUBSCRIPTION_SELECTIONS } else { limits::SELECTIONS };
        document::check(&document, most)?;
        document::merge(&mut document, name, &variables)?;
        if is_subscription && !document::has_one_field(&document, name) {
            return Err(Error::bad_input("query", "must select exactly one field of the subscription"));
        }
        request.set_parsed_query(document);
    }
    Ok((request.variables(variables), kind))
}

/// The response in place of one that is larger than a message.
fn too_large(answer: Response, reference: &str) -> Response {
    let Value::Object(fields) = answer.data else { return answer };
    let Some(field) = fields.into_keys().next() else { return Response::new(Value::Null) };
    let detail = "is larger than a message; fetch the activity from the reference, or select less of it";
    let mut error = error::of_request(Error::too_large("message", detail));
    error.path = vec![async_graphql::PathSegment::Field(field.to_string())];
    error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("reference", reference);
    let data = Value::Object([(field, Value::Null)].into_iter().collect());
    let mut replacement = Response::new(data);
    replacement.errors = vec![error];
    replacement
}

/// A response as JSON, with the cursor among its extensions.
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
        tracing::error!(%error, "failed to serialise response");
        r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}],"data":null}"#.to_owned()
    })
}
