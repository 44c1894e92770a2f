//! A page to try GraphQL on, with a token of its own in it: so, as for tokens, no other origin may read it. Where the page
//! is, WebSockets are too: who asks for one, gets one.

use std::net::SocketAddr;

use async_graphql::http::GraphiQLSource;
use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::get;

use crate::answer;
use crate::gateway::Gateway;
use crate::token::Desk;

/// Where the page is, and where it sends its queries.
const PATH: &str = "/graphql";
/// Of GraphiQL, whose scripts the browser loads from a content delivery network.
const VERSION: &str = "4.1.2";

/// The page, for whom `sub` and `scope` say, as of `/dev/token`; and the connections to `gateway`.
pub(crate) fn routes(desk: Desk, gateway: Gateway) -> Router {
    Router::new().route(PATH, get(serve)).with_state((desk, gateway))
}

async fn serve(
    State((desk, gateway)): State<(Desk, Gateway)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    match upgrade {
        Ok(upgrade) => gateway.connect(upgrade, headers, peer).await,
        Err(_) => page(&desk, query.as_deref(), &headers),
    }
}

fn page(desk: &Desk, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
    match desk.issue(query, headers) {
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
        Err(error) => answer::refuse(&error, &answer::request_id()),
    }
}
