//! What every function has around its handler. Nothing here decides anything about activities.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::request::RequestContext;
use lambda_http::{Context, Request, RequestExt as _, Response};
use shared::access::Caller;
use shared::problem::Problem;
use shared::store::Store;
use shared::{Error, Result};
use tokio::time::Instant;
use tracing::Level;

/// Time kept back at an invocation's end, to answer that the rest was not done.
const MARGIN: Duration = Duration::from_millis(500);
/// Time for an invocation that does not say how long it may take.
const UNTOLD: Duration = Duration::from_secs(10);

/// Starts the log and opens the table named by `LOG_TABLE`, so that the first request finds its connection.
///
/// # Errors
/// When `LOG_TABLE` is not set: the function cannot work, and Lambda should say so at once.
pub async fn start() -> Result<Store, lambda_http::Error> {
    start_log();
    let table = std::env::var("LOG_TABLE").map_err(|_| "LOG_TABLE must name the table")?;
    let store = Store::new(shared::store::connect().await, table);
    if let Err(error) = store.warm_up().await {
        // The first request will say what it means for its caller.
        tracing::warn!(error = error.chain(), "the table did not answer at start");
    }
    Ok(store)
}

/// Writes the log as Lambda wants it: lines of JSON with a time and a level, each with the invocation's request id.
fn start_log() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level.unwrap_or(Level::INFO))
        .init();
}

/// Answers `request` with what `handler` makes of it; an error becomes a problem, and is logged, here only.
///
/// # Errors
/// None: every failure is an answer.
pub async fn answer(
    request: &Request,
    handler: impl Future<Output = Result<Response<String>>>,
) -> Result<Response<String>, Infallible> {
    let request_id = request_id(request);
    Ok(handler.await.unwrap_or_else(|error| {
        match &error {
            Error::Throttled(_) | Error::Unavailable(_) | Error::Internal(_) => {
                tracing::error!(error = error.chain(), request_id, "request failed");
            }
            _ => tracing::info!(error = error.chain(), request_id, "request refused"),
        }
        Problem::new(&error, request_id).into_response()
    }))
}

/// Who asks, as the API's authorizer verified it.
///
/// # Errors
/// [`Error::Unauthenticated`] when it verified nobody.
pub fn caller(request: &Request) -> Result<Caller> {
    let claims = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref()).map(|jwt| &jwt.claims)
        }
        _ => None,
    };
    let claims = claims.ok_or(Error::Unauthenticated("A valid bearer token is required"))?;
    let claim = |name: &str| claims.get(name).map(String::as_str);
    // Issuers call it one or the other; the gateway's own check of scopes takes both.
    Caller::from_claims(claim("sub"), claim("scope").or_else(|| claim("scp")))
}

/// A parameter of the path, decoded.
///
/// # Errors
/// [`Error::Internal`] when the route has none of this name.
pub fn path_parameter<'a>(request: &'a Request, name: &str) -> Result<&'a str> {
    let found = request.path_parameters_ref().and_then(|parameters| parameters.first(name));
    found.ok_or_else(|| Error::internal(format!("the route has no {name}")))
}

/// A header that may be given once.
///
/// # Errors
/// [`Error::BadInput`] of a header given twice, or that is no text.
pub fn header<'a>(request: &'a Request, name: &str) -> Result<Option<&'a str>> {
    let mut values = request.headers().get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Error::bad_input(name, "must be given once"));
    }
    first.map(|value| value.to_str().map_err(|_| Error::bad_input(name, "must be ASCII text"))).transpose()
}

/// The query string, empty when there is none.
pub fn query(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

/// When an invocation must have answered.
pub fn deadline(context: Option<&Context>) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = context.filter(|context| context.deadline > 0).map_or(UNTOLD, |context| {
        Duration::from_millis(context.deadline).saturating_sub(now).saturating_sub(MARGIN)
    });
    Instant::now() + left
}

fn request_id(request: &Request) -> Option<&str> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    }
}
