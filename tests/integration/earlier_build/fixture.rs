//! The fixture: what an earlier build recorded, and how it wrote that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{World, exchange};
use serde_json::{Value, json};

/// An event that the earlier build recorded, and the activity that it answered with.
pub(super) struct Recorded {
    pub(super) event: Value,
    pub(super) activity: Value,
}

impl Recorded {
    /// Its workspace and its id.
    pub(super) fn key(&self) -> (String, String) {
        let text = |member: &str| self.event[member].as_str().unwrap().to_owned();
        (text("workspace_id"), text("id"))
    }

    /// Whether its producer gave its time.
    pub(super) fn is_timed(&self) -> bool {
        self.event["created_at"].is_string()
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/c115e02")
}

/// The lines of a file of the fixture, each one JSON.
pub(super) fn lines(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything that the earlier build recorded, in the order of sending.
pub(super) fn recorded() -> Vec<Recorded> {
    let recorded =
        |mut line: Value| Recorded { event: line["event"].take(), activity: line["answer"].take() };
    lines("events.jsonl").into_iter().map(recorded).collect()
}

/// The earlier build's table, at a time after everything in it. DynamoDB Local cannot open the file, so it gets the
/// transactions that made it. `name` is that of the test's own copy of the file.
pub(super) async fn earlier_table(name: &str) -> World {
    let world = if std::env::var_os("DYNAMODB_ENDPOINT").is_some() {
        let world = World::new().await;
        for transaction in lines("transactions.jsonl") {
            replay(&world, &transaction).await.unwrap();
        }
        world
    } else {
        World::of_gateway(&copy_of_table(name)).await.unwrap()
    };
    world.advance(Duration::from_secs(10 * 86_400));
    world
}

fn copy_of_table(name: &str) -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.sqlite"));
    // A test that failed leaves its write-ahead log behind.
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", copy.display())).ok();
    }
    std::fs::copy(fixture().join("log.sqlite"), &copy).unwrap();
    copy
}

/// Sends a transaction of the earlier build as it was. An error holds the reasons of its cancellation.
pub(super) async fn replay(world: &World, items: &Value) -> Result<(), Vec<Value>> {
    let mut items = items.clone();
    for item in items.as_array_mut().unwrap() {
        item.as_object_mut().unwrap().values_mut().next().unwrap()["TableName"] = json!(world.table);
    }
    let server = world.endpoint().strip_prefix("http://").unwrap();
    let head = [
        "POST / HTTP/1.1",
        &format!("host: {server}"),
        "content-type: application/x-amz-json-1.0",
        "x-amz-target: DynamoDB_20120810.TransactWriteItems",
        "x-amz-date: 20250101T000000Z",
        // The engines read the key's name and region, and check no signature.
        "authorization: AWS4-HMAC-SHA256 Credential=local/20250101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
    ];
    let body = json!({ "TransactItems": items }).to_string();
    let mut reply = exchange(server.parse().unwrap(), &head, body.as_bytes()).await;
    match reply.body["CancellationReasons"].take() {
        Value::Array(reasons) => Err(reasons),
        _ => {
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            Ok(())
        }
    }
}

/// The workspaces and ids of the activities that a transaction puts.
pub(super) fn activities_of(transaction: &Value) -> Vec<(String, String)> {
    let key = |item: &Value| {
        let text = |name: &str| item.pointer(&format!("/Put/Item/{name}/S"))?.as_str();
        let (workspace, position) = (text("pk")?.strip_prefix("WS#")?, text("sk")?.strip_prefix("AT#")?);
        Some((workspace.to_owned(), position.split_once('#')?.1.to_owned()))
    };
    transaction.as_array().unwrap().iter().filter_map(key).collect()
}

/// The id items that a transaction puts, by their place in it.
pub(super) fn id_items_of(transaction: &Value) -> Vec<(usize, &Value)> {
    let id_item = |(index, item): (usize, &'_ Value)| item["Put"]["Item"]["fp"].is_object().then_some(index);
    let items = transaction.as_array().unwrap();
    items.iter().enumerate().filter_map(id_item).map(|index| (index, &items[index]["Put"]["Item"])).collect()
}
