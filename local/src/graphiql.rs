//! A page to try GraphQL on, with a token of its own in it: so, as for tokens, no other origin may read it.

use async_graphql::http::GraphiQLSource;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::get;

use crate::answer;
use crate::token::Desk;

/// Where the page is, and where it sends its queries.
const PATH: &str = "/graphql";
/// Of GraphiQL, whose scripts the browser loads from a content delivery network.
const VERSION: &str = "4.1.2";

/// The page, for whom `sub` and `scope` say, as of `/dev/token`.
pub(crate) fn routes(desk: Desk) -> Router {
    Router::new().route(PATH, get(page)).with_state(desk)
}

async fn page(State(desk): State<Desk>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response<Body> {
    match desk.issue(query.as_deref(), &headers) {
        Ok(token) => {
            let bearer = format!("Bearer {token}");
            let page = GraphiQLSource::build()
                .version(VERSION)
                .title("Activity Log")
                .endpoint(PATH)
                .header("Authorization", &bearer);
            let mut response = Response::new(Body::from(page.finish()));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => answer::refuse(&error, &answer::request_id()),
    }
}
