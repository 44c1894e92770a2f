//! The functions on a real engine: embedded, or the one that `DYNAMODB_ENDPOINT` names.

mod actions;
mod costs;
mod directory;
mod faults;
mod gateway;
mod graphql;
mod listing;
mod live;
mod model;
mod producers;
mod queue;
mod recording;
mod redelivery;
mod refusals;
mod samples;
mod simulation;
mod template;
mod verify;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// An event of workspace `ws`, a minute's fraction apart from its neighbours.
fn event(id: &str, created_at: &str) -> Value {
    json!({
        "id": id, "workspace_id": "ws", "issue_id": "issue-1", "actor_type": "user", "actor_id": "ada",
        "action": "issue.updated", "details": { "status": "done" }, "created_at": created_at
    })
}

/// Enough time for anything.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
