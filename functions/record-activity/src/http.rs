//! Recording over HTTP, and the list of actions.

use std::convert::Infallible;

use domain::activity::Activity;
use domain::event::{Defaults, InputEvent};
use domain::ids::{ActivityId, MAX_ID_LEN, WorkspaceId, is_valid};
use domain::json::{self, Document};
use domain::time::Timestamp;
use domain::{Error, Result};
use http_api::problem::Problem;
use http_api::{listing, response_size};
use lambda_http::http::header::{CONTENT_TYPE, LOCATION};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Request, RequestExt as _, Response};
use recording::WriteOutcome;
use serde::Serialize;
use uuid::Uuid;

use crate::{App, actions, cloud_event, wrapping};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The longest key, in characters: an id less a dot and three digits, which tell the events of an array apart.
const MAX_KEY_LEN: usize = MAX_ID_LEN - 4;

/// The result of one event of an array.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchResult {
    /// 201 for a new activity, 200 for one that was there already, otherwise the problem's status.
    pub status: u16,
    /// The activity, when it is in the log; left out of an answer that would be larger than 4.5 MB.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<RecordedActivity>,
    /// Why it is not in the log.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// An activity that is in the log, and whether what it says of a workspace or a member holds.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordedActivity {
    /// The activity.
    #[serde(flatten)]
    pub activity: Activity,
    /// The activity whose word on the workspace or the member holds instead of this one's.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ActivityId>,
    /// An event that says the same and happened after this time has an effect.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_again_after: Option<Timestamp>,
}

impl From<WriteOutcome> for RecordedActivity {
    fn from(outcome: WriteOutcome) -> Self {
        let (WriteOutcome::New(recorded) | WriteOutcome::Repeat(recorded)) = outcome;
        let superseded_by = recorded.superseded.as_ref().map(|superseded| superseded.by.clone());
        let send_again_after = recorded.superseded.and_then(|superseded| superseded.send_again_after);
        Self { activity: recorded.activity, superseded_by, send_again_after }
    }
}

/// Answers a request of the API: the template routes one path of each method here.
///
/// # Errors
/// None: every failure is an answer.
pub async fn handle(app: &App, request: Request) -> Result<Response<String>, Infallible> {
    lambda_support::answer(&request, async {
        match *request.method() {
            Method::GET => actions::list(&request),
            Method::POST => record(app, &request).await,
            _ => Err(Error::internal(format!("no route brings a {} here", request.method()))),
        }
    })
    .await
}

/// Records the event, or the events, of a request's body.
async fn record(app: &App, request: &Request) -> Result<Response<String>> {
    let token = lambda_support::Token::of(request)?;
    let caller = token.caller()?;
    caller.may_record()?;
    let sender = app.ingress.caller(&caller, &token.subject()?, token.client());
    let workspace = WorkspaceId::parse_segment("ws_id", lambda_support::path_parameter(request, "ws_id")?)?;
    if !lambda_support::query(request).is_empty() {
        return Err(Error::bad_input("query", "must be empty: recording takes no parameters"));
    }
    let key = lambda_support::header(request, IDEMPOTENCY_KEY)?.map(key).transpose()?;
    let form = cloud_event::Form::of(request)?;
    let body = json::parse("body", &lambda_support::body(request)?)?;
    let (events, is_array) = crate::events(&body)?;
    let parse = |(index, event)| {
        let (id, origin) = match &key {
            Some(key) if is_array => (format!("{key}.{index}"), IDEMPOTENCY_KEY),
            Some(key) => (key.clone(), IDEMPOTENCY_KEY),
            None => (format!("act-{}", Uuid::new_v4()), "id"),
        };
        let defaults = Defaults { workspace: Some(workspace.clone()), ..app.defaults(&sender, id, origin) };
        let event = wrapping::event(form.event(Document::read(event), is_array)?)?;
        sender.admit(InputEvent::parse(event, &defaults)?)
    };
    let parsed = events.into_iter().enumerate().map(parse).collect();
    let invocation = request.lambda_context_ref();
    let request_id = invocation.map_or("", |context| &context.request_id);
    let deadline = lambda_support::deadline(invocation);
    let mut results = app.record(request_id, parsed, deadline).await;
    if is_array {
        return several(results, lambda_support::request_id(request));
    }
    match results.pop() {
        Some(result) => one(result?, lambda_support::path_prefix(request)),
        None => Err(Error::internal("an event was left without a result")),
    }
}

/// Parses the key: an id, bare or in quotes as the draft standard of the header writes it.
fn key(text: &str) -> Result<String> {
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if is_valid(bare) && bare.len() <= MAX_KEY_LEN {
        return Ok(bare.to_owned());
    }
    let detail = format!("must be 1 to {MAX_KEY_LEN} characters");
    Err(Error::bad_input(IDEMPOTENCY_KEY, detail))
}

fn one(outcome: WriteOutcome, prefix: &str) -> Result<Response<String>> {
    let mut response = json_response(&RecordedActivity::from(outcome.clone()))?;
    if let WriteOutcome::New(recorded) = &outcome {
        *response.status_mut() = StatusCode::CREATED;
        let path = format!("{prefix}{}", listing::path_of(&recorded.activity));
        let location = HeaderValue::from_str(&path).map_err(Error::internal)?;
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Answers one result for each event, in their order. The status is 200 when all of them are in the log now, and 207 when
/// any is not.
fn several(results: Vec<Result<WriteOutcome>>, request_id: Option<&str>) -> Result<Response<String>> {
    let mut results: Vec<BatchResult> =
        results.into_iter().map(|result| batch_result(result, request_id)).collect();
    let mut response = json_response(&results)?;
    if response_size::of_text(response.body()) > response_size::MAX {
        // The caller has the activities, because it sent them.
        results.iter_mut().for_each(|result| result.activity = None);
        response = json_response(&results)?;
    }
    if results.iter().any(|result| result.problem.is_some()) {
        *response.status_mut() = StatusCode::MULTI_STATUS;
    }
    Ok(response)
}

fn batch_result(result: Result<WriteOutcome>, request_id: Option<&str>) -> BatchResult {
    match result {
        Ok(outcome) => {
            let status = if matches!(outcome, WriteOutcome::New(_)) { 201 } else { 200 };
            BatchResult { status, activity: Some(outcome.into()), problem: None }
        }
        Err(error) => {
            if error.is_ours() {
                tracing::error!(error = error.chain(), "failed event");
            }
            let problem = Problem::new(&error, request_id);
            BatchResult { status: problem.status, activity: None, problem: Some(problem) }
        }
    }
}

fn json_response(body: &impl Serialize) -> Result<Response<String>> {
    let mut response = Response::new(serde_json::to_string(body).map_err(Error::internal)?);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ids_with_room_for_an_index() {
        assert_eq!(key("abc-1").unwrap(), "abc-1");
        assert_eq!(key("\"abc-1\"").unwrap(), "abc-1");
        assert!(key("a b#").is_ok() && key(&"k".repeat(252)).is_ok());
        for bad in ["", "\"\"", "a\n", &"k".repeat(253)] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
