//! Ids that another principal has taken: the event is refused, on every way in, and whoever may know it learns by whom.

use std::time::Duration;

use domain::Error;
use harness::{Fault, Message, World, check, token_claims};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::queue::envelope;
use crate::ways_in::{batch_from, provenance};
use crate::{event, far_deadline};

const PAGE: &str = "/api/v1/workspaces/ws/activity";
const AT: &str = "2025-01-01T00:00:00Z";

/// A sender on a way in: what the function answers to the event, as a code, and the text of that.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sender {
    Http(&'static str, &'static str),
    Queue(&'static str),
    Bus(&'static str),
    Invoke,
    Directory,
}

/// Senders of which no two are the same principal, but the last two: Lambda does not say who invoked.
const SENDERS: [Sender; 8] = [
    Sender::Http("tracker", "activity:write"),
    Sender::Http("other", "activity:write"),
    Sender::Http("boss", "activity:write activity:admin"),
    Sender::Queue("AROAEXAMPLEPRODUCER00:issues"),
    Sender::Queue("AROAEXAMPLEACCOUNTS00:any"),
    Sender::Bus("com.example.issues"),
    Sender::Invoke,
    Sender::Directory,
];

impl Sender {
    /// The principal as it is stored and named.
    fn principal(self) -> String {
        match self {
            Self::Http(sub, _) => format!("http {sub}"),
            Self::Queue(sender) => format!("queue {}", sender.split(':').next().unwrap()),
            Self::Bus(source) => format!("event_bus 123456789012/{source}"),
            Self::Invoke | Self::Directory => "invoke".to_owned(),
        }
    }

    /// Records an event, and returns the code of the refusal, if any, with the whole answer.
    async fn record(self, world: &World, event: &Value) -> (String, String) {
        world.summaries.lock().unwrap().clear();
        let (function, payload) = match self {
            Self::Http(sub, scope) => {
                let claims = Some(token_claims(sub, scope));
                let reply = world.send("POST", PAGE, claims, &[], Some(&event.to_string())).await;
                let code = reply.body["code"].as_str().unwrap_or("OK").to_owned();
                assert_eq!(reply.status == 409, code != "OK", "{}", reply.body);
                return (code, reply.body.to_string());
            }
            Self::Queue(sender) => ("record-queue", batch_from(sender, event)),
            Self::Bus(source) => {
                let mut envelope = envelope(event);
                envelope["source"] = json!(source);
                ("record-bus", batch_from("AIDAEVENTBRIDGE", &envelope))
            }
            Self::Invoke => ("record-invoke", event.clone()),
            Self::Directory => ("record-directory", event.clone()),
        };
        let (_, answer) = world.invoke(function, &payload).await;
        let summary = world.summaries.lock().unwrap()[0].clone();
        let code = match (summary.conflicts, summary.ids_taken) {
            (0, 0) => "OK",
            (1, 0) => "CONFLICT",
            (1, 1) => "ID_TAKEN",
            counts => panic!("{counts:?}"),
        };
        (code.to_owned(), answer.to_string())
    }

    fn may_know_principals(self) -> bool {
        matches!(
            self,
            Self::Http(_, "activity:write activity:admin")
                | Self::Directory
                | Self::Queue("AROAEXAMPLEACCOUNTS00:any")
        )
    }
}

/// The same id with other content.
fn other(id: &str) -> Value {
    let mut other = event(id, AT);
    other["details"]["status"] = json!("open");
    other
}

#[tokio::test]
async fn id_of_another_principal_is_taken_on_every_way() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for (n, first) in SENDERS.into_iter().enumerate() {
        for (m, second) in SENDERS.into_iter().enumerate() {
            let id = format!("act-{n}-{m}");
            assert_eq!(first.record(&world, &event(&id, AT)).await.0, "OK", "{first:?}");
            let stored = provenance(&world, &id).await;
            let expected = if first.principal() == second.principal() { "CONFLICT" } else { "ID_TAKEN" };
            // Delivered again, the answer is the same.
            for _ in 0..2 {
                let (code, answer) = second.record(&world, &other(&id)).await;
                assert_eq!(code, expected, "{first:?} {second:?}: {answer}");
                // A queue answers with the ids of its messages only, whoever sends.
                let is_told = second.may_know_principals() && !matches!(second, Sender::Queue(_));
                let names = answer.contains(&format!("({})", first.principal()));
                assert_eq!(names, is_told && expected == "ID_TAKEN", "{first:?} {second:?}: {answer}");
            }
            // The same content is the same activity, whoever sends it, and the first keeps its provenance.
            assert_eq!(second.record(&world, &event(&id, AT)).await.0, "OK");
            assert_eq!(provenance(&world, &id).await, stored);
        }
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn events_of_an_array_learn_it_each_by_itself() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    Sender::Http("tracker", "activity:write").record(&world, &event("taken", AT)).await;
    Sender::Http("other", "activity:write").record(&world, &event("own", AT)).await;
    let body = json!([other("taken"), other("own"), event("new", AT), event("own", AT)]).to_string();
    let claims = Some(token_claims("other", "activity:write"));
    let reply = world.send("POST", PAGE, claims, &[], Some(&body)).await;
    let found = reply.body.as_array().unwrap().iter();
    let found: Vec<_> =
        found.map(|result| (result["status"].clone(), result["problem"]["code"].clone())).collect();
    let expected =
        [(409, json!("ID_TAKEN")), (409, json!("CONFLICT")), (201, Value::Null), (409, json!("CONFLICT"))];
    // The last one has the id of an event before it, and is judged by what is in the log.
    let expected = expected.map(|(status, code)| (json!(status), code));
    assert_eq!(found[..3], expected[..3], "{}", reply.body);
    assert_eq!(found[3].0, json!(200), "{}", reply.body);
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn messages_of_two_senders_in_one_batch_are_told_apart() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let bodies = [event("x", AT), other("x"), other("x"), event("x", AT)].map(|event| event.to_string());
    let messages: Vec<Message> =
        bodies.into_iter().enumerate().map(|(n, body)| Message::new(format!("m-{n}"), body)).collect();
    let mut batch = Message::batch(&messages);
    for (n, sender) in ["AROAONE", "AROATWO", "AROAONE:session", "AROATWO"].into_iter().enumerate() {
        batch["Records"][n]["attributes"]["SenderId"] = json!(sender);
    }
    world.transport.take_metered();
    assert_eq!(world.invoke("record-queue", &batch).await.0, "failed-2");
    // The sender of the first one is known without a read.
    let metered = world.transport.take_metered();
    assert_eq!((metered.requests["GetItem"], metered.total()), (1, 2), "{metered:?}");
    let summary = world.summaries.lock().unwrap()[0].clone();
    let counts = (summary.recorded, summary.duplicates, summary.conflicts, summary.ids_taken);
    assert_eq!(counts, (1, 1, 2, 1));
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn activity_without_provenance_is_in_conflict_as_before() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let tracker = Sender::Http("tracker", "activity:write");
    tracker.record(&world, &event("act-1", AT)).await;
    crate::provenance::forget_provenance(&world, "act-1").await;
    for sender in [tracker, Sender::Http("other", "activity:write"), Sender::Invoke] {
        assert_eq!(sender.record(&world, &other("act-1")).await.0, "CONFLICT", "{sender:?}");
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn repeat_or_conflict_costs_one_more_read() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let tracker = Sender::Http("tracker", "activity:write");
    tracker.record(&world, &event("first", AT)).await;
    let cost = async |event: Value, (transactions, reads): (usize, usize)| {
        world.transport.take_metered();
        let reply = world.post("ws", &event.to_string(), &[]).await;
        let metered = world.transport.take_metered();
        let found = metered.requests.get("GetItem").copied().unwrap_or_default();
        assert_eq!((found, metered.total()), (reads, transactions + reads), "{}: {metered:?}", reply.body);
    };
    cost(event("new", AT), (1, 0)).await;
    // The answer to a repeat is what is recorded.
    cost(event("new", AT), (1, 1)).await;
    cost(event("first", AT), (1, 1)).await;
    cost(other("first"), (1, 1)).await;
    cost(other("new"), (1, 1)).await;
    // A second transaction records the events that the first one left.
    cost(json!([event("a", AT), event("b", AT), event("first", AT)]), (2, 1)).await;
    cost(json!([other("a"), other("b"), event("c", AT)]), (2, 2)).await;
    // A queue has no answer that would need it. Its function reads the workspace once.
    for (id, reads) in [("first", 0), ("queued", 0), ("queued", 0)] {
        world.transport.take_metered();
        let message = Message::new("m-1", event(id, AT).to_string());
        let answer = world.deliver(&[message], std::time::Duration::from_secs(9)).await;
        assert!(harness::reported_failures(&answer).is_empty());
        let metered = world.transport.take_metered();
        assert_eq!(
            metered.requests.get("GetItem").copied().unwrap_or_default(),
            reads + usize::from(id == "first"),
            "{metered:?}"
        );
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn faults_of_the_lookup_answer_nothing_wrong() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let tracker = Sender::Http("tracker", "activity:write");
    tracker.record(&world, &event("act-1", AT)).await;
    world.given([event("mine", AT)]).await;
    let before = check(&world.client, &world.table).await;
    let is_taken = |result: &domain::Result<_>| matches!(result, Err(Error::IdTaken { .. }));
    for fault in [Fault::Unsent, Fault::LostResponse, Fault::Throttled, Fault::ServerError] {
        world.transport.fail_operation("GetItem", [fault]);
        let events = vec![world.parse_event(other("act-1")), world.parse_event(event("mine", AT))];
        let results = world.recorder.record(events, far_deadline()).await.results;
        assert!(is_taken(&results[0]) && results[1].is_ok(), "{fault:?}: {results:?}");
        // While who took the id cannot be read, nobody is told that it is a conflict or taken.
        world.transport.fail_operation("GetItem", [fault; 50]);
        let events = vec![world.parse_event(other("act-1")), world.parse_event(event("mine", AT))];
        let deadline = Instant::now() + Duration::from_millis(300);
        let results = world.recorder.record(events, deadline).await.results;
        let is_ours = matches!(&results[0], Err(error) if error.is_ours());
        assert!(is_ours && results[1].is_ok(), "{fault:?}: {results:?}");
        world.transport.clear_faults();
        let results =
            world.recorder.record(vec![world.parse_event(other("act-1"))], far_deadline()).await.results;
        assert!(is_taken(&results[0]), "{fault:?}: {results:?}");
    }
    assert_eq!(check(&world.client, &world.table).await, before);
}
