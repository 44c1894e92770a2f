//! Serves everything on one machine: the functions behind a gateway of their own, on DynamoDB embedded.
//!
//! Only `engine` knows the embedded engine, only `invocation` spells API Gateway's event, only `pipeline` SQS's, and
//! `template` is the only source of routes, queues and tables.

mod answer;
mod authorizer;
mod aws;
pub mod demo;
pub mod engine;
mod functions;
mod gateway;
mod graphiql;
mod invocation;
pub mod openapi;
mod pipeline;
mod queue;
mod sockets;
pub mod stream;
pub mod tables;
pub mod template;
pub mod token;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

pub use gateway::{Behind, Gateway};

/// How long the ends of WebSocket connections are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves `gateway` on `listener` until `shutdown` is ready; then takes no more requests, and returns when those
/// under way are answered and its queue is worked off. What is left in the queue after some time, or when this is
/// dropped, is lost, and the log says so.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let running = gateway.start().await.map_err(std::io::Error::other)?;
    let service = gateway.router().into_make_service_with_connect_info::<SocketAddr>();
    let stopping = gateway.clone();
    let shutdown = async move {
        shutdown.await;
        // First, so that nobody is told any more: there is no way to them once the server stops.
        stopping.hang_up();
    };
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await?;
    tokio::time::timeout(PATIENCE, gateway.hung_up()).await.ok();
    running.finish().await;
    Ok(())
}
