//! Serves everything on one machine: the functions behind a gateway of their own, on an embedded DynamoDB.
//!
//! The groups of modules below are layers. A module uses modules of earlier groups only, and `tests/layers.rs` checks it.
//! `template` is the only source of routes, queues and tables, `functions` of functions, and `http_api` of API Gateway's
//! events. Only `engine` knows the embedded engine.

mod body;
pub mod database_file;
pub mod demo;
mod resource_names;
mod response;
pub mod signing_key;
pub mod template;

pub mod engine;

pub mod functions;
pub mod http_api;
mod queue;
pub mod tables;
pub mod token;

mod async_invocations;
mod authorizer;
mod aws_protocol;
mod graphiql;
pub mod openapi;
mod queue_poller;
pub mod stream;

mod aws;
mod stream_poller;
mod web_sockets;

mod background;

mod gateway;

mod router;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

pub use gateway::{Backend, Gateway};

/// Time for the functions to learn that the WebSocket connections have ended.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves `gateway` on `listener` until `shutdown` is ready. It then takes no more requests, and returns when it has answered
/// those in progress and has drained its queue. Messages that are left after some time, or when this future is dropped, are
/// lost, and the log says so.
///
/// # Errors
/// When the listener fails for good, or the stream cannot be read.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let background = gateway.start().await.map_err(std::io::Error::other)?;
    let service = router::router(&gateway).into_make_service_with_connect_info::<SocketAddr>();
    let web_sockets = gateway.web_sockets().cloned();
    let stopping = web_sockets.clone();
    let shutdown = async move {
        shutdown.await;
        // Connections end before the server does, because messages to them go through the server.
        stopping.iter().for_each(web_sockets::WebSockets::close_all);
    };
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await?;
    if let Some(web_sockets) = web_sockets {
        tokio::time::timeout(DISCONNECT_TIMEOUT, web_sockets.wait_until_closed()).await.ok();
    }
    background.finish().await;
    Ok(())
}
