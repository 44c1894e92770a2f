//! Messages of the graphql-transport-ws protocol, as the server sends them.

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

/// A subscription has begun, and resumes at `cursor` if it ends before its first update. It is the payload of an unasked
/// pong, because the protocol has no message for it, and every client may ignore such a pong.
pub fn subscribed(id: &str, cursor: &str) -> String {
    json!({ "type": "pong", "payload": { "id": id, "cursor": cursor } }).to_string()
}

/// The reason why the server is about to close the connection. API Gateway closes it without a reason.
pub fn closing(reason: &str) -> String {
    json!({ "type": "pong", "payload": { "closing": reason } }).to_string()
}

/// A result of an operation; `payload` is JSON.
pub fn next(id: &str, payload: &str) -> String {
    format!(r#"{{"id":{},"type":"next","payload":{payload}}}"#, Value::from(id))
}

/// The end of an operation that failed; `errors` is GraphQL's list of errors, as JSON.
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
    fn messages_keep_the_id_that_the_client_gave() {
        for id in ["1", "\"", "\u{0}\\", "é\u{2028}"] {
            for message in [next(id, "{}"), error(id, "[]"), complete(id), subscribed(id, "c")] {
                let message: Value = serde_json::from_str(&message).unwrap();
                assert!(message["id"] == id || message["payload"]["id"] == id, "{message}");
            }
        }
    }
}
