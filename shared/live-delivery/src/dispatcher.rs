//! The dispatcher, and the updates that it delivers.

use std::env;
use std::sync::Arc;

use domain::activity::Activity;
use domain::subscription::JournalPosition;
use domain::time::{Clock, system_clock};
use store::{Connections, Store};

use crate::sender::Sender;

/// Delivers updates to subscribers.
#[derive(Clone)]
pub struct Dispatcher {
    /// The schema, which renders updates as subscribers' documents select.
    pub graphql: graphql_api::App,
    /// The log.
    pub store: Store,
    /// The sessions and subscriptions.
    pub connections: Connections,
    /// Sends the messages.
    pub sender: Sender,
    /// The clock that decides when tokens expire.
    pub clock: Clock,
}

/// An activity to deliver.
#[derive(Debug)]
pub struct Update {
    /// The activity, which all topics and documents share.
    pub activity: Arc<Activity>,
    /// Whether it is for staff.
    pub staff: bool,
    /// The position at which a subscriber that got this update resumes.
    pub resume_at: JournalPosition,
}

/// The outcome of delivering updates to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The subscriber got every update that it may see.
    Delivered,
    /// The subscription was ended with an error, which its client got.
    Ended,
    /// The connection is gone, or was closed.
    Disconnected,
}

impl Dispatcher {
    /// The dispatcher that the environment describes: `CONNECTIONS_TABLE` names the table of connections, which is beside
    /// the log's, and `CONNECTIONS_ENDPOINT` is the API's URL, such as
    /// `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    ///
    /// # Errors
    /// The name of a variable that is not set. The function cannot work without it, and must fail as it starts.
    pub async fn from_environment(store: Store) -> Result<Self, &'static str> {
        let table = env::var("CONNECTIONS_TABLE").map_err(|_| "CONNECTIONS_TABLE must name the table")?;
        let endpoint =
            env::var("CONNECTIONS_ENDPOINT").map_err(|_| "CONNECTIONS_ENDPOINT must be the API's URL")?;
        Ok(Self {
            graphql: graphql_api::App::new(store.clone()),
            connections: Connections::beside(&store, table),
            store,
            sender: Sender::connect(endpoint).await,
            clock: system_clock(),
        })
    }

    /// The current time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        (self.clock)().utc().timestamp()
    }
}
