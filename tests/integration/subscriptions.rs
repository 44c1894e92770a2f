//! Live feeds: what watchers are told, whatever happens to them and to who tells them.

mod access;
mod costs;
mod faults;
mod protocol;
mod resume;

use std::collections::BTreeSet;

use harness::{Live, World};
use serde_json::{Value, json};

/// Everything of a workspace.
const WORKSPACE: &str = "subscription($projectId: String!, $after: String) {
    subscribeToActivity(projectId: $projectId, after: $after) { mutation node { uid } }
}";
/// Everything of an organization.
const COMPANY: &str = "subscription($companyId: String!, $after: String) {
    subscribeToActivity(companyId: $companyId, after: $after) { node { uid } }
}";

/// A world with the workspaces `ws-1` and `ws-2`, of `org-1`, and who watches them.
async fn live() -> Live {
    let world = World::watched().await;
    world.given_workspace("ws-1").await;
    world.given_workspace("ws-2").await;
    let live = Live::new(world).await;
    // What was before is nobody's news.
    live.recorded().await;
    live
}

/// An event that everybody sees.
fn comment(ws: &str, id: &str) -> Value {
    json!({
        "id": id, "workspace_id": ws, "issue_id": "issue-1", "actor_type": "user", "actor_id": "owner",
        "action": "comment.created", "details": { "text": "x" }
    })
}

/// An event that clients do not see.
fn settings(ws: &str, id: &str, details: Value) -> Value {
    json!({
        "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
        "action": "workspace.settings_updated", "details": details
    })
}

/// A client: it remembers what it got, and where it was.
#[derive(Debug, Default)]
struct Watcher {
    sub: &'static str,
    query: &'static str,
    variables: Value,
    connection: String,
    /// The unique ids of what it got.
    told: Vec<String>,
    /// Errors that ended its subscription.
    errors: Vec<Value>,
    cursor: Option<String>,
}

impl Watcher {
    async fn new(live: &Live, sub: &'static str, query: &'static str, variables: Value) -> Self {
        let mut watcher = Self { sub, query, variables, ..Self::default() };
        watcher.come(live).await;
        assert!(watcher.cursor.is_some(), "{:?}", watcher.errors);
        watcher
    }

    async fn of_workspace(live: &Live, sub: &'static str, ws: &str) -> Self {
        Self::new(live, sub, WORKSPACE, json!({ "projectId": ws })).await
    }

    async fn of_company(live: &Live, sub: &'static str) -> Self {
        Self::new(live, sub, COMPANY, json!({ "companyId": "org-1" })).await
    }

    /// Connects, and goes on where it was.
    async fn come(&mut self, live: &Live) {
        self.connection = live.enter(self.sub, "").await;
        self.subscribe(live).await;
    }

    async fn subscribe(&mut self, live: &Live) {
        let mut variables = self.variables.clone();
        variables["after"] = self.cursor.clone().into();
        live.subscribe(&self.connection, "1", self.query, variables).await;
        self.read(live);
    }

    /// Loses its connection, of which nobody is told.
    fn vanish(&mut self, live: &Live) {
        self.read(live);
        live.sockets.drop(&self.connection);
    }

    /// Reads what it got.
    fn read(&mut self, live: &Live) -> Vec<Value> {
        let messages = live.sockets.take(&self.connection);
        for message in &messages {
            match message["type"].as_str().unwrap() {
                "next" => {
                    assert_eq!(message["id"], "1");
                    let node = &message["payload"]["data"]["subscribeToActivity"]["node"];
                    self.told.push(node["uid"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned());
                    self.cursor = Some(text(&message["payload"]["extensions"]["cursor"]));
                }
                "pong" => {
                    if let Some(cursor) = message["payload"]["cursor"].as_str() {
                        assert_eq!(message["payload"]["id"], "1");
                        self.cursor = Some(cursor.to_owned());
                    }
                }
                "error" => self.errors.push(message["payload"].clone()),
                other => panic!("{other}: {message}"),
            }
        }
        messages
    }

    /// What it got since it was last asked.
    fn news(&mut self, live: &Live) -> Vec<String> {
        self.read(live);
        std::mem::take(&mut self.told)
    }
}

/// What a function does to the tables when everything happens to it that can.
pub(crate) async fn everything_done_by(function: &str, world: World) -> BTreeSet<(String, String, String)> {
    let live = Live::new(world).await;
    let mut touched = BTreeSet::new();
    let mut did = |who: &str| {
        let did = live.transport.take().touched;
        // What a failed transaction touched, another names.
        touched.extend(did.into_iter().filter(|(_, table, _)| who == function && !table.is_empty()));
    };
    live.teller.store.warm_up().await.unwrap();
    did(function);
    let demo = |id: &str| comment("ws-demo", id);
    let mut watcher = Watcher::new(&live, "user-demo", WORKSPACE, json!({ "projectId": "demo" })).await;
    let mut company = Watcher::new(&live, "user-demo", COMPANY, json!({ "companyId": "demo-company" })).await;
    did("subscriptions");
    live.world.given([demo("a")]).await;
    live.broadcast().await;
    watcher.vanish(&live);
    live.world.given([demo("b")]).await;
    live.broadcast().await;
    did("broadcast");
    watcher.come(&live).await;
    assert_eq!(watcher.news(&live), ["ws-demo/a", "ws-demo/b"]);
    assert_eq!(company.news(&live), ["ws-demo/a", "ws-demo/b"]);
    live.say(&company.connection, r#"{"type":"complete","id":"1"}"#).await;
    let query = "{
        everything: activityList { activities { id } }
        company: activityList(companyId: \"org-demo\", first: 5) { totalCount activities { id } }
        user: activityList(projectId: \"ws-demo\", userId: \"agent-demo\") { activities { id } }
        category: activityList(projectId: \"ws-demo\", categories: [CREATE_TODO]) { totalCount activities { id } }
    }";
    live.subscribe(&watcher.connection, "q", query, json!({})).await;
    let answer = &live.sockets.take(&watcher.connection)[0];
    assert!(answer["payload"].get("errors").is_none(), "{answer}");
    live.event("$disconnect", &company.connection, json!({}), std::time::Duration::from_secs(9)).await;
    did("subscriptions");
    // A broadcast in the middle of a return leaves a note; here, of one who never came to the end of it.
    let returning = live.enter("user-demo", "").await;
    live.transport.take();
    live.transport.script_reads("UpdateItem", [harness::Fault::Killed]);
    tokio::select! {
        () = live.subscribe(&returning, "1", WORKSPACE, json!({ "projectId": "ws-demo" })) => {}
        () = live.transport.killed() => {}
    }
    live.transport.clear();
    did("subscriptions");
    live.world.given([demo("c")]).await;
    // And two of an organization meet at its head.
    live.transport.script([harness::Fault::Conflict]);
    live.broadcast().await;
    did("broadcast");
    touched
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn code(errors: &Value) -> &str {
    errors[0]["extensions"]["code"].as_str().unwrap()
}
