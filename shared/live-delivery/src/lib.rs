//! What the functions behind the WebSocket share: whom to tell of what, and how.
//!
//! `subscriptions` tells one watcher what it has missed, `broadcast` tells all of them what comes; both do it by
//! [`Teller::tell`], so that access is decided in one place, from the directory as it is at that moment.

pub mod message;
mod sender;
mod teller;

use std::env;

use shared::store::{Connections, Store};
use shared::time::system_clock;

pub use sender::{Lost, Sender, config};
pub use teller::{Fate, News, Teller};

/// Makes ready what the environment names: the table `CONNECTIONS_TABLE`, beside the log, and the API at
/// `CONNECTIONS_ENDPOINT`, such as `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
///
/// # Errors
/// When one of them is not set: the function cannot work, and Lambda should say so at once.
pub async fn start(store: Store) -> Result<Teller, &'static str> {
    let table = env::var("CONNECTIONS_TABLE").map_err(|_| "CONNECTIONS_TABLE must name the table")?;
    let endpoint =
        env::var("CONNECTIONS_ENDPOINT").map_err(|_| "CONNECTIONS_ENDPOINT must be the API's URL")?;
    Ok(Teller {
        graphql: graphql::App::new(store.clone()),
        connections: Connections::beside(&store, table),
        store,
        sender: sender::connect(endpoint).await,
        clock: system_clock(),
    })
}
