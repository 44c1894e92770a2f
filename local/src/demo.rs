//! The demo workspace, recorded by the real recorder, and what to try first.

use std::time::Duration;

use chrono::{SubsecRound as _, TimeDelta};
use serde_json::{Value, json};
use shared::Error;
use shared::event::{Defaults, Event};
use shared::record::Recorder;
use shared::store::Store;
use shared::time::Timestamp;
use tokio::time::Instant;

/// The demo workspace.
pub const WORKSPACE: &str = "ws-demo";
/// Its owner.
pub const OWNER: &str = "user-demo";

/// Records the demo workspace into `store`, spread over the days before `now`.
///
/// The events give no time, so that it is no part of what they say: recorded again days later, into a table that has
/// them already, they are the same events, and change nothing.
///
/// # Errors
/// One line: why it could not be recorded.
pub async fn record(store: Store, jitter: fastrand::Rng, now: Timestamp) -> Result<(), String> {
    let now = Timestamp::truncate(now.utc().trunc_subsecs(0));
    let parse = |(hours, value)| {
        let created_at = now.plus(-TimeDelta::hours(hours));
        Event::parse(value, &Defaults { id: (String::new(), "id"), workspace: None, created_at, now })
    };
    let failed = |error: &Error| format!("cannot record the demo workspace: {}", error.chain());
    let events: Result<Vec<Event>, Error> = events().into_iter().map(parse).collect();
    let events = events.map_err(|error| failed(&error))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    for result in Recorder::new(store, jitter).record(events, deadline).await.results {
        match result {
            // Another version of this program recorded another demo workspace; it will do.
            Err(Error::Conflict { detail, .. }) => {
                tracing::warn!("the demo workspace is another version's: {detail}")
            }
            Err(error) => return Err(failed(&error)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// What to try first, when the gateway is at `url`, with a token for [`OWNER`].
pub fn invitation(url: &str, token: &str) -> String {
    format!(
        "\nToken of {OWNER}, for an hour:\n{token}\n\nThe workspace's feed:\n\
         curl -s '{url}/api/v1/workspaces/{WORKSPACE}/activity' -H 'Authorization: Bearer {token}'\n"
    )
}

/// The events, with their age in hours, oldest first.
pub fn events() -> Vec<(i64, Value)> {
    let issue = |id: &str, action: &str, issue: &str, details: Value| json!({ "id": id, "action": action, "issue_id": issue, "details": details });
    let login = "issue-demo-1";
    let export = "issue-demo-2";
    let created = json!({
        "name": "Demo", "slug": "demo", "organization": "org-demo", "organization_name": "Demo Company",
        "organization_slug": "demo-company"
    });
    let owner = json!({ "user": OWNER, "role": "owner" });
    let client = json!({ "user": "user-client", "role": "client" });
    let found = json!({ "text": "The form forgets the address when the password is wrong." });
    let fixed = json!({ "text": "The session was dropped on every failed attempt. A fix is in review." });
    let run = json!({ "run": "run-demo-1", "result": "succeeded", "seconds": 94 });
    let file = json!({ "name": "export-example.csv", "size": 18_213 });
    vec![
        (96, owned(json!({ "id": "act-demo-9", "action": "workspace.created", "details": created }))),
        (95, owned(json!({ "id": "act-demo-10", "action": "member.added", "details": owner }))),
        (
            94,
            with(
                owned(json!({ "id": "act-demo-11", "action": "member.added", "details": client })),
                json!({ "affected": { "id": "user-client", "name": "Grace Guest" } }),
            ),
        ),
        (
            72,
            with(
                owned(issue(
                    "act-demo-1",
                    "issue.created",
                    login,
                    json!({
                        "title": "Fix login bug", "identifier": "DEMO-1"
                    }),
                )),
                json!({ "tags": ["bug"] }),
            ),
        ),
        (71, by_client(issue("act-demo-2", "comment.created", login, found))),
        (48, by_agent(issue("act-demo-3", "issue.updated", login, json!({ "status": "in_progress" })))),
        (47, by_agent(issue("act-demo-4", "agent.run_finished", login, run))),
        (46, by_agent(issue("act-demo-5", "comment.created", login, fixed))),
        (
            8,
            with(
                owned(issue(
                    "act-demo-6",
                    "issue.created",
                    export,
                    json!({
                        "title": "Export the feed", "identifier": "DEMO-2"
                    }),
                )),
                json!({ "tags": ["feature"] }),
            ),
        ),
        (6, by_client(issue("act-demo-12", "file.uploaded", export, file))),
        (5, by_agent(issue("act-demo-7", "issue.updated", export, json!({ "priority": "high" })))),
        (3, owned(issue("act-demo-8", "issue.updated", login, json!({ "status": "done" })))),
    ]
}

fn owned(event: Value) -> Value {
    by(event, "user", OWNER, json!({ "name": "Ada Demo", "email": "ada@example.com" }))
}

fn by_client(event: Value) -> Value {
    by(event, "user", "user-client", json!({ "name": "Grace Guest", "email": "grace@example.com" }))
}

fn by_agent(event: Value) -> Value {
    let event = by(event, "agent", "agent-demo", json!({ "name": "Demo Agent" }));
    with(event, json!({ "on_behalf_of": { "id": OWNER, "name": "Ada Demo" } }))
}

fn by(event: Value, actor_type: &str, actor_id: &str, actor: Value) -> Value {
    let who =
        json!({ "workspace_id": WORKSPACE, "actor_type": actor_type, "actor_id": actor_id, "actor": actor });
    with(event, who)
}

/// The event with the members of `more`.
fn with(mut event: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut event, more) {
        members.extend(more);
    }
    event
}
