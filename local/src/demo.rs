//! The demo workspace, which the real recorder records, and a first request to try.

use std::time::Duration;

use chrono::{SubsecRound as _, TimeDelta};
use domain::Error;
use domain::event::{Defaults, InputEvent};
use domain::provenance::{RecordedBy, Source};
use domain::time::Timestamp;
use recording::Recorder;
use serde_json::{Value, json};
use store::Store;
use tokio::time::Instant;

/// The demo workspace.
pub const WORKSPACE: &str = "ws-demo";
/// Its owner.
pub const OWNER: &str = "user-demo";
/// Time to record it.
const RECORD_TIMEOUT: Duration = Duration::from_secs(20);

/// Records the demo workspace into `store`, spread over the days before `now`.
///
/// The events have no time of their own, so that the time is no part of their content. Recorded again days later, they are
/// repeats and change nothing.
///
/// # Errors
/// One line, when it could not be recorded.
pub async fn record(store: Store, jitter: fastrand::Rng, now: Timestamp) -> Result<(), String> {
    let now = Timestamp::truncate(now.utc().trunc_subsecs(0));
    let parse = |(hours, value)| {
        let created_at = now.plus(-TimeDelta::hours(hours));
        let recorded_by = RecordedBy::new(Source::Invoke, &["demo"]);
        let id = (String::new(), "id");
        InputEvent::parse(value, &Defaults { id, workspace: None, created_at, now, recorded_by })
    };
    let failed = |error: &Error| format!("cannot record the demo workspace: {}", error.chain());
    let events: Result<Vec<InputEvent>, Error> = events().into_iter().map(parse).collect();
    let events = events.map_err(|error| failed(&error))?;
    let deadline = Instant::now() + RECORD_TIMEOUT;
    for result in Recorder::new(store, jitter).record(events, deadline).await.results {
        match result {
            // The demo workspace of another version of this program serves as well.
            Err(Error::Conflict { detail, .. } | Error::IdTaken { detail, .. }) => {
                tracing::warn!(detail, "kept another version of the demo workspace");
            }
            Err(error) => return Err(failed(&error)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// A first request to try, with a token for [`OWNER`]. The gateway is at `url`.
pub fn invitation(url: &str, token: &str) -> String {
    format!(
        "\nToken of {OWNER}, for an hour:\n{token}\n\nThe workspace's feed:\n\
         curl -s '{url}/api/v1/workspaces/{WORKSPACE}/activity' -H 'Authorization: Bearer {token}'\n"
    )
}

/// The events with their age in hours, oldest first.
pub fn events() -> Vec<(i64, Value)> {
    let event =
        |id: &str, action: &str, details: Value| json!({ "id": id, "action": action, "details": details });
    let issue = |id: &str, action: &str, issue: &str, details: Value| {
        with(event(id, action, details), json!({ "issue_id": issue }))
    };
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
    let login_issue = json!({ "title": "Fix login bug", "identifier": "DEMO-1" });
    let export_issue = json!({ "title": "Export the feed", "identifier": "DEMO-2" });
    let client_added = with(
        event("act-demo-11", "member.added", client),
        json!({ "affected": { "id": "user-client", "name": "Grace Guest" } }),
    );
    let tagged = |event: Value, tag: &str| with(event, json!({ "tags": [tag] }));
    let status = |status: &str| json!({ "status": status });
    vec![
        (96, by_owner(event("act-demo-9", "workspace.created", created))),
        (95, by_owner(event("act-demo-10", "member.added", owner))),
        (94, by_owner(client_added)),
        (72, tagged(by_owner(issue("act-demo-1", "issue.created", login, login_issue)), "bug")),
        (71, by_client(issue("act-demo-2", "comment.created", login, found))),
        (48, by_agent(issue("act-demo-3", "issue.updated", login, status("in_progress")))),
        (47, by_agent(issue("act-demo-4", "agent.run_finished", login, run))),
        (46, by_agent(issue("act-demo-5", "comment.created", login, fixed))),
        (8, tagged(by_owner(issue("act-demo-6", "issue.created", export, export_issue)), "feature")),
        (6, by_client(issue("act-demo-12", "file.uploaded", export, file))),
        (5, by_agent(issue("act-demo-7", "issue.updated", export, json!({ "priority": "high" })))),
        (3, by_owner(issue("act-demo-8", "issue.updated", login, status("done")))),
    ]
}

fn by_owner(event: Value) -> Value {
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

/// The event with the members of `more` added.
fn with(mut event: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut event, more) {
        members.extend(more);
    }
    event
}
