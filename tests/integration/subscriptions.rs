//! Subscriptions over WebSocket: subscribers get every update that they may see, in order, whatever fails.

mod access;
mod alterations;
mod bounds;
mod costs;
mod everything;
mod faults;
mod lifetimes;
mod pages;
mod protocol;
mod resume;

use std::collections::BTreeSet;

use domain::subscription::SubscriptionBounds;
use harness::{SubscriberWorld, World};
use serde_json::{Value, json};

/// Subscribes to a workspace.
const WORKSPACE: &str = "subscription($projectId: String!, $after: String) {
    subscribeToActivity(projectId: $projectId, after: $after) { mutation node { uid } }
}";
/// Subscribes to an organization.
const COMPANY: &str = "subscription($companyId: String!, $after: String) {
    subscribeToActivity(companyId: $companyId, after: $after) { node { uid } }
}";

/// A world with the workspaces `ws-1` and `ws-2` of `org-1`.
async fn subscriber_world() -> SubscriberWorld {
    bounded_world(SubscriptionBounds::default()).await
}

/// The same world, with other bounds of subscriptions.
async fn bounded_world(bounds: SubscriptionBounds) -> SubscriberWorld {
    let log = World::with_stream().await;
    log.given_workspace("ws-1").await;
    log.given_workspace("ws-2").await;
    let world = SubscriberWorld::with_bounds(log, bounds).await;
    // The first broadcast must not deliver the workspaces' own activities.
    world.stream_records().await;
    world
}

/// An event that every member may see.
fn comment(ws: &str, id: &str) -> Value {
    json!({
        "id": id, "workspace_id": ws, "issue_id": "issue-1", "actor_type": "user", "actor_id": "owner",
        "action": "comment.created", "details": { "text": "x" }
    })
}

/// An event that clients may not see.
fn settings(ws: &str, id: &str, details: Value) -> Value {
    json!({
        "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": "owner",
        "action": "workspace.settings_updated", "details": details
    })
}

/// A client with one subscription. It keeps the updates that it got, and its last cursor.
#[derive(Debug, Default)]
struct Subscriber {
    sub: &'static str,
    query: &'static str,
    variables: Value,
    connection: String,
    /// The uids of the updates that it got.
    received: Vec<String>,
    /// Errors that ended its subscription.
    errors: Vec<Value>,
    cursor: Option<String>,
}

impl Subscriber {
    async fn new(world: &SubscriberWorld, sub: &'static str, query: &'static str, variables: Value) -> Self {
        let mut subscriber = Self { sub, query, variables, ..Self::default() };
        subscriber.connect(world).await;
        assert!(subscriber.cursor.is_some(), "{:?}", subscriber.errors);
        subscriber
    }

    async fn to_workspace(world: &SubscriberWorld, sub: &'static str, ws: &str) -> Self {
        Self::new(world, sub, WORKSPACE, json!({ "projectId": ws })).await
    }

    async fn to_company(world: &SubscriberWorld, sub: &'static str) -> Self {
        Self::new(world, sub, COMPANY, json!({ "companyId": "org-1" })).await
    }

    /// Connects, and resumes after the last cursor.
    async fn connect(&mut self, world: &SubscriberWorld) {
        self.connection = world.connect_as(self.sub, "").await;
        self.subscribe(world).await;
    }

    async fn subscribe(&mut self, world: &SubscriberWorld) {
        let mut variables = self.variables.clone();
        variables["after"] = self.cursor.clone().into();
        world.subscribe(&self.connection, "1", self.query, variables).await;
        self.read(world);
    }

    /// Reads its messages, and connects again if it was disconnected.
    async fn reconnect_if_closed(&mut self, world: &SubscriberWorld) {
        self.read(world);
        if !world.sockets.is_open(&self.connection) {
            self.connect(world).await;
        }
    }

    /// Loses its connection, without a `$disconnect`.
    fn lose_connection(&mut self, world: &SubscriberWorld) {
        self.read(world);
        world.sockets.drop_connection(&self.connection);
    }

    /// Reads its messages.
    fn read(&mut self, world: &SubscriberWorld) -> Vec<Value> {
        let messages = world.sockets.take_messages(&self.connection);
        for message in &messages {
            match message["type"].as_str().unwrap() {
                "next" => {
                    assert_eq!(message["id"], "1");
                    let node = &message["payload"]["data"]["subscribeToActivity"]["node"];
                    self.received
                        .push(node["uid"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned());
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

    /// The uids of the updates that it got since the last call.
    fn take_received(&mut self, world: &SubscriberWorld) -> Vec<String> {
        self.read(world);
        std::mem::take(&mut self.received)
    }
}

/// Records the workspace `ws` with these events, and an activity of each kind of id `ws`; returns the ids and issues of the
/// activities that its member `ws` received.
pub(crate) async fn received_by_a_member(ws: &str, events: [Value; 2]) -> Vec<(String, String)> {
    let world = subscriber_world().await;
    world.log.given(events).await;
    world.stream_records().await;
    let connection = world.connect_as(ws, "").await;
    let query = "subscription($ws: String!) { subscribeToActivity(projectId: $ws) { node { id: activityId todo { id } } } }";
    world.subscribe(&connection, "1", query, json!({ "projectId": ws, "ws": ws })).await;
    let mut activity = comment(ws, ws);
    activity["issue_id"] = json!(ws);
    world.log.given([activity]).await;
    world.broadcast().await;
    world.check().await;
    let messages = world.sockets.take_messages(&connection);
    let nodes = messages.iter().map(|message| &message["payload"]["data"]["subscribeToActivity"]["node"]);
    nodes.filter(|node| !node.is_null()).map(|node| (text(&node["id"]), text(&node["todo"]["id"]))).collect()
}

/// The operations of a function, by table and index, in a history in which everything happens that can.
pub(crate) async fn operations_of(function: &str, log: World) -> BTreeSet<(String, String, String)> {
    let world = SubscriberWorld::new(log).await;
    let mut touched = BTreeSet::new();
    let mut take_operations = |caller: &str| {
        let operations = world.transport.take_metered().touched;
        // The response to a failed transaction names no table. Another transaction succeeds.
        touched
            .extend(operations.into_iter().filter(|(_, table, _)| caller == function && !table.is_empty()));
    };
    world.dispatcher.store.warm_up().await.unwrap();
    take_operations(function);
    let demo = |id: &str| comment("ws-demo", id);
    let mut subscriber =
        Subscriber::new(&world, "user-demo", WORKSPACE, json!({ "projectId": "demo" })).await;
    let mut company =
        Subscriber::new(&world, "user-demo", COMPANY, json!({ "companyId": "demo-company" })).await;
    take_operations("subscriptions");
    world.log.given([demo("a")]).await;
    world.broadcast().await;
    subscriber.lose_connection(&world);
    world.log.given([demo("b")]).await;
    world.broadcast().await;
    take_operations("broadcast");
    subscriber.connect(&world).await;
    assert_eq!(subscriber.take_received(&world), ["ws-demo/a", "ws-demo/b"]);
    assert_eq!(company.take_received(&world), ["ws-demo/a", "ws-demo/b"]);
    world.send(&company.connection, r#"{"type":"complete","id":"1"}"#).await;
    let query = "{
        everything: activityList { activities { id: activityId } }
        company: activityList(companyId: \"org-demo\", first: 5) { totalCount activities { id: activityId } }
        user: activityList(projectId: \"ws-demo\", userId: \"agent-demo\") { activities { id: activityId } }
        category: activityList(projectId: \"ws-demo\", categories: [CREATE_TODO]) { totalCount activities { id: activityId } }
    }";
    world.subscribe(&subscriber.connection, "q", query, json!({})).await;
    let answer = &world.sockets.take_messages(&subscriber.connection)[0];
    assert!(answer["payload"].get("errors").is_none(), "{answer}");
    world.send_event("$disconnect", &company.connection, json!({}), std::time::Duration::from_secs(9)).await;
    take_operations("subscriptions");
    // The broadcast flags its batch as missed, because this subscriber's replay was killed before the handover.
    let replaying = world.connect_as("user-demo", "").await;
    world.transport.take_metered();
    world.transport.fail_operation("UpdateItem", [harness::Fault::Killed]);
    tokio::select! {
        () = world.subscribe(&replaying, "1", WORKSPACE, json!({ "projectId": "ws-demo" })) => {}
        () = world.transport.killed() => {}
    }
    world.transport.clear_faults();
    take_operations("subscriptions");
    world.log.given([demo("c")]).await;
    // Two batches of an organization conflict at its journal's head.
    world.transport.fail_transactions([harness::Fault::Conflict]);
    world.broadcast().await;
    take_operations("broadcast");
    touched
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn code(errors: &Value) -> &str {
    errors[0]["extensions"]["code"].as_str().unwrap()
}
