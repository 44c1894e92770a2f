//! `POST /graphql` and `GET /graphql`: one request with one document.

use std::convert::Infallible;

use graphql_api::{App, Refusal};
use lambda_http::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Request, Response};
use tracing::Instrument as _;

/// The media type of responses whose status says whether the document was executed. A client asks for it in `Accept`.
const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";

/// Answers one request.
///
/// # Errors
/// None: every failure is an answer, in the form of GraphQL's errors.
pub async fn handle(app: &App, request: Request) -> Result<Response<String>, Infallible> {
    let request_id = lambda_support::request_id(&request);
    let answered = async {
        let executed = execute(app, &request).await;
        let accept = lambda_support::header(&request, ACCEPT.as_str()).ok().flatten();
        let goes_by_status = accept.is_some_and(|accept| accept.contains(GRAPHQL_RESPONSE));
        let (status, body) = graphql_api::respond(executed, goes_by_status, request_id);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let media_type = if goes_by_status { GRAPHQL_RESPONSE } else { "application/json" };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        // Nobody may keep a response, because each read checks access.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    };
    Ok(answered.instrument(lambda_support::invocation_span(request_id.unwrap_or_default())).await)
}

async fn execute(app: &App, request: &Request) -> Result<graphql_api::Response, Refusal> {
    let caller = lambda_support::caller(request)?;
    let parsed = if request.method() == Method::GET {
        graphql_api::parse_query_string(lambda_support::query(request))?
    } else {
        graphql_api::parse(&lambda_support::body(request)?)?
    };
    Ok(Box::pin(app.execute(parsed, caller)).await?)
}
