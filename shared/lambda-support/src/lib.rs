//! Everything a Lambda function has around its handler: start-up, the log, metrics, the caller, and errors as answers.

mod answer;
mod body;
mod metrics;
mod request;
mod token;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::TimeDelta;
use domain::access::Caller;
use domain::directory::DEFAULT_TOLERANCE;
use domain::{Error, Result};
use http_api::problem::Problem;
use lambda_http::http::header::ACCEPT_ENCODING;
use lambda_http::lambda_runtime::Diagnostic;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Context, LambdaEvent, Request, RequestExt as _, Response};
use serde::Serialize;
use store::Store;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use answer::Answer;

pub use body::body;
pub use metrics::MetricLine;
pub use request::path_prefix;
pub use token::{Token, grants_of};

/// Time for the first call. Lambda ends a start that takes 10 s, and repeats it within the first request.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// Time kept back at the end of an invocation, to answer that the rest was not done.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);
/// Time for an invocation whose context has no deadline.
const DEFAULT_TIME: Duration = Duration::from_secs(10);

/// The libraries whose messages a function logs at its own level.
pub const LIBRARIES: &[&str] =
    &["domain", "store", "recording", "feeds", "http_api", "graphql_api", "live_delivery", "lambda_support"];

/// Starts the log and opens the table named by `LOG_TABLE`, so that the first request finds its connection. `function`
/// is the function's crate, `env!("CARGO_CRATE_NAME")` or the name of its library.
///
/// # Errors
/// When `LOG_TABLE` is not set, or the tolerance is no number: the function cannot work, and Lambda should say so at once.
pub async fn start(function: &'static str) -> Result<Store, lambda_http::Error> {
    start_log(function);
    let table = std::env::var("LOG_TABLE").map_err(|_| "LOG_TABLE must name the table")?;
    let store = Store::new(store::connect().await, table).with_tolerance(tolerance()?);
    // A failure is no reason to stop, because the first request will tell its caller what it means.
    match tokio::time::timeout(WARM_UP_TIMEOUT, store.warm_up()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = error.chain(), "warm-up failed"),
        Err(_) => tracing::warn!("warm-up timed out"),
    }
    Ok(store)
}

/// The tolerance within which changes of the directory have no order, from `DIRECTORY_TOLERANCE_SECONDS`.
///
/// # Errors
/// When it is set, and is no whole number of seconds up to an hour.
fn tolerance() -> Result<TimeDelta, &'static str> {
    let Ok(seconds) = std::env::var("DIRECTORY_TOLERANCE_SECONDS") else { return Ok(DEFAULT_TOLERANCE) };
    let seconds = seconds.parse::<u32>().ok().filter(|seconds| *seconds <= 3600);
    let seconds = seconds.ok_or("DIRECTORY_TOLERANCE_SECONDS must be a whole number from 0 to 3600")?;
    Ok(TimeDelta::seconds(seconds.into()))
}

/// Writes the log as Lambda wants it: lines of JSON with a time and a level, and the invocation's span with its request
/// id.
///
/// `LOG_LEVEL` sets the level of our own messages. Other crates log warnings and errors only, because the SDK's
/// debug messages hold whole requests, and so names and mail addresses.
fn start_log(function: &'static str) {
    let level = std::env::var("LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    let ours = LIBRARIES.iter().copied().chain([function]);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // The runtime's span gives its own lines, such as that of a panic, the request id.
        .with_target("lambda_runtime", level.min(LevelFilter::INFO))
        .with_targets(ours.map(|name| (name, level)));
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

/// The span of an invocation. Every line that is logged in it has the request id.
pub fn invocation_span(request_id: &str) -> tracing::Span {
    tracing::info_span!("invocation", request_id)
}

/// Answers one event of the HTTP API with `handler`.
///
/// # Errors
/// None: every failure is an answer.
pub async fn serve<H, F>(event: LambdaEvent<LambdaRequest>, handler: H) -> Result<impl Serialize, Infallible>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response<String>, Infallible>> + Send,
{
    let refuse = |error: Error, id: Option<&str>| {
        log(&error);
        Answer::new(Problem::new(&error, id).into_response(), None)
    };
    let LambdaEvent { payload: LambdaRequest::ApiGatewayV2(event), context } = event else {
        return Ok(refuse(Error::internal("an event of another kind than the HTTP API's"), None));
    };
    let (id, headers) = (event.request_context.request_id.clone(), &event.headers);
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match request::of_event(event, context) {
        Ok(request) => Ok(Answer::new(handler(request).await?, accepted.as_deref())),
        Err(error) => Ok(refuse(error, id.as_deref())),
    }
}

/// Answers `request` with the response of `handler`, within the invocation's span. An error becomes a problem, and is
/// logged, here only.
///
/// # Errors
/// None: every failure is an answer.
pub async fn answer(
    request: &Request,
    handler: impl Future<Output = Result<Response<String>>>,
) -> Result<Response<String>, Infallible> {
    let request_id = request_id(request);
    let answered = async {
        handler.await.unwrap_or_else(|error| {
            log(&error);
            Problem::new(&error, request_id).into_response()
        })
    };
    Ok(answered.instrument(invocation_span(request_id.unwrap_or_default())).await)
}

/// The failure of an invocation whose payload the function does not understand.
pub fn invalid_event(error: impl Display) -> Diagnostic {
    Diagnostic { error_type: "InvalidEvent".to_owned(), error_message: error.to_string() }
}

/// Logs an error that a caller is answered with.
pub fn log(error: &Error) {
    if error.is_ours() {
        tracing::error!(error = error.chain(), "failed request");
    } else {
        tracing::info!(error = error.chain(), "refused request");
    }
}

/// The caller, as the API's authorizer verified it.
///
/// # Errors
/// [`Error::Unauthenticated`] when it verified nobody.
pub fn caller(request: &Request) -> Result<Caller> {
    Token::of(request)?.caller()
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
    let left = context.filter(|context| context.deadline > 0).map_or(DEFAULT_TIME, |context| {
        Duration::from_millis(context.deadline).saturating_sub(now).saturating_sub(ANSWER_MARGIN)
    });
    Instant::now() + left
}

/// The id that names a request in the log and in its errors.
pub fn request_id(request: &Request) -> Option<&str> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    }
}
