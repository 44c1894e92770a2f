//! A page to try GraphQL on. The page has a token in it, so that pages of other origins must not read it.

use async_graphql::http::GraphiQLSource;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};

use crate::response;
use crate::token::TokenIssuer;

/// The path of the page, which sends its queries there and opens its WebSockets there.
pub(crate) const PATH: &str = "/graphql";
/// The version of GraphiQL, whose scripts the browser loads from a content delivery network.
const VERSION: &str = "4.1.2";

/// The page, with a token for the `sub` and `scope` of the query string, which `/dev/token` takes too.
pub(crate) fn page(tokens: &TokenIssuer, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
    match tokens.issue(query, headers, &response::new_request_id()) {
        Ok(token) => {
            let bearer = format!("Bearer {token}");
            let page = GraphiQLSource::build()
                .version(VERSION)
                .title("Activity Log")
                .endpoint(PATH)
                .subscription_endpoint(PATH)
                .ws_connection_param("authorization", &bearer)
                .header("Authorization", &bearer);
            let mut response = Response::new(Body::from(page.finish()));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => response::of_problem(problem),
    }
}
