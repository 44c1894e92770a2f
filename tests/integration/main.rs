//! Tests of the functions on a real DynamoDB engine: the embedded one, or the one that `DYNAMODB_ENDPOINT` names.

mod actions;
mod costs;
mod directory;
mod earlier_build;
mod exactness;
mod faults;
mod forwarding;
mod gateway;
mod grants;
mod graphql;
mod guides;
mod ids;
mod layers;
mod listing;
mod model;
mod odd_requests;
mod operations;
mod producers;
mod provenance;
mod queue;
mod recorder_policy;
mod recording;
mod redelivery;
mod refusals;
mod refused_reads;
mod removals;
mod samples;
mod short_pages;
mod simulation;
mod subscriptions;
mod taken_ids;
mod template;
mod unknown_workspaces;
mod verify;
mod ways_in;
mod web_sockets;
mod wrappings;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// An event of the workspace `ws`.
fn event(id: &str, created_at: &str) -> Value {
    json!({
        "id": id, "workspace_id": "ws", "issue_id": "issue-1", "actor_type": "user", "actor_id": "ada",
        "action": "issue.updated", "details": { "status": "done" }, "created_at": created_at
    })
}

/// A deadline that is never reached.
fn far_deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
