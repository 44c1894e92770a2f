//! Messages of the graphql-transport-ws protocol, as they are sent.

use serde_json::{Value, json};

/// The subprotocol's name.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// The session has begun.
pub fn connection_ack() -> String {
    json!({ "type": "connection_ack" }).to_string()
}

/// The answer to a ping.
pub fn pong() -> String {
    json!({ "type": "pong" }).to_string()
}

/// That a subscription watches, and from where it goes on if it is lost before it has got anything. The protocol has
/// nothing for that but the payload of a pong that nobody asked for, which every client may ignore.
pub fn subscribed(id: &str, cursor: &str) -> String {
    json!({ "type": "pong", "payload": { "id": id, "cursor": cursor } }).to_string()
}

/// Why the connection is about to be closed: API Gateway closes it without saying.
pub fn closing(reason: &str) -> String {
    json!({ "type": "pong", "payload": { "closing": reason } }).to_string()
}

/// A result, which is JSON already.
pub fn next(id: &str, payload: &str) -> String {
    format!(r#"{{"id":{},"type":"next","payload":{payload}}}"#, Value::from(id))
}

/// The end of an operation that failed, with GraphQL's errors, a list as JSON.
pub fn error(id: &str, errors: &str) -> String {
    format!(r#"{{"id":{},"type":"error","payload":{errors}}}"#, Value::from(id))
}

/// The end of an operation.
pub fn complete(id: &str) -> String {
    json!({ "id": id, "type": "complete" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_calls_it_stays_what_it_calls_it() {
        for id in ["1", "\"", "\u{0}\\", "é\u{2028}"] {
            for message in [next(id, "{}"), error(id, "[]"), complete(id), subscribed(id, "c")] {
                let message: Value = serde_json::from_str(&message).unwrap();
                assert!(message["id"] == id || message["payload"]["id"] == id, "{message}");
            }
        }
    }
}
