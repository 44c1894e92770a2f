//! Messages of the graphql-transport-ws protocol, as clients send them.

use domain::subscription::{Document, MAX_SUBSCRIPTION_ID};
use serde_json::{Map, Value};

/// A message from a client.
#[derive(Debug, PartialEq)]
pub(crate) enum ClientMessage {
    /// Begins the session, before any operation.
    Init { token: Option<String> },
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or tells that the client is alive.
    Pong,
    /// Begins an operation: a subscription or a query.
    Subscribe { id: String, document: Document },
    /// Ends a subscription.
    Complete { id: String },
}

/// Why a message does not belong to the protocol.
#[derive(Debug, PartialEq)]
pub(crate) struct MalformedMessage(pub(crate) String);

impl ClientMessage {
    /// Parses a message.
    pub(crate) fn parse(text: &str) -> Result<Self, MalformedMessage> {
        let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
            return Err(malformed("a message must be a JSON object"));
        };
        let Some(Value::String(kind)) = message.remove("type") else {
            return Err(malformed("type must be a string"));
        };
        let payload = match message.remove("payload") {
            None => None,
            Some(Value::Object(payload)) => Some(payload),
            // Some clients send null instead of leaving the payload out.
            Some(Value::Null) if kind != "subscribe" => None,
            Some(_) => return Err(malformed("payload must be an object")),
        };
        match kind.as_str() {
            "connection_init" => Ok(Self::Init { token: payload.and_then(|payload| token(&payload)) }),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            "subscribe" => {
                let payload = payload.ok_or_else(|| malformed("payload must be an object"))?;
                Ok(Self::Subscribe { id: id(message)?, document: document(payload)? })
            }
            "complete" => Ok(Self::Complete { id: id(message)? }),
            _ => Err(malformed("type must be one of the protocol's")),
        }
    }
}

fn malformed(detail: &str) -> MalformedMessage {
    MalformedMessage(format!("Invalid message: {detail}"))
}

fn id(mut message: Map<String, Value>) -> Result<String, MalformedMessage> {
    match message.remove("id") {
        Some(Value::String(id)) if (1..=MAX_SUBSCRIPTION_ID).contains(&id.len()) => Ok(id),
        _ => Err(malformed(&format!("id must be a string of 1 to {MAX_SUBSCRIPTION_ID} bytes"))),
    }
}

fn document(mut payload: Map<String, Value>) -> Result<Document, MalformedMessage> {
    let Some(Value::String(query)) = payload.remove("query") else {
        return Err(malformed("payload.query must be a string"));
    };
    let operation = match payload.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(malformed("payload.operationName must be a string")),
    };
    let variables = match payload.remove("variables") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(variables)) => variables,
        Some(_) => return Err(malformed("payload.variables must be an object")),
    };
    if !matches!(payload.remove("extensions"), None | Some(Value::Null | Value::Object(_))) {
        return Err(malformed("payload.extensions must be an object"));
    }
    Ok(Document { query, operation, variables: Value::Object(variables).to_string() })
}

/// The token in the payload of the first message. Clients write it as in a header, with the scheme or without.
fn token(payload: &Map<String, Value>) -> Option<String> {
    let (_, value) = payload.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    let value = value.as_str()?.trim();
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        Some(_) => return None,
        None => value,
    };
    Some(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_protocol_are_parsed() {
        let init = |token: Option<&str>| ClientMessage::Init { token: token.map(str::to_owned) };
        let document = |query: &str, operation: Option<&str>, variables: &str| Document {
            query: query.into(),
            operation: operation.map(str::to_owned),
            variables: variables.into(),
        };
        for (text, expected) in [
            (r#"{"type":"connection_init"}"#, init(None)),
            (r#"{"type":"connection_init","payload":null}"#, init(None)),
            (r#"{"type":"connection_init","payload":{"authorization":"Bearer a.b"}}"#, init(Some("a.b"))),
            (r#"{"type":"connection_init","payload":{"Authorization":"bearer  a.b "}}"#, init(Some("a.b"))),
            (r#"{"type":"connection_init","payload":{"authorization":"a.b"}}"#, init(Some("a.b"))),
            (r#"{"type":"connection_init","payload":{"authorization":"Basic a"}}"#, init(None)),
            (r#"{"type":"connection_init","payload":{"authorization":7}}"#, init(None)),
            (r#"{"type":"ping"}"#, ClientMessage::Ping),
            (r#"{"type":"pong","payload":{"id":"1"}}"#, ClientMessage::Pong),
            (r#"{"id":"1","type":"complete"}"#, ClientMessage::Complete { id: "1".into() }),
            (
                r#"{"id":"1","type":"subscribe","payload":{"query":"q"}}"#,
                ClientMessage::Subscribe { id: "1".into(), document: document("q", None, "{}") },
            ),
            (
                r#"{"id":"1","type":"subscribe","payload":{"query":"q","operationName":"o","variables":{"a":1},"extensions":{}}}"#,
                ClientMessage::Subscribe { id: "1".into(), document: document("q", Some("o"), r#"{"a":1}"#) },
            ),
            (
                r#"{"id":"1","type":"subscribe","payload":{"query":"q","operationName":null,"variables":null,"extensions":null}}"#,
                ClientMessage::Subscribe { id: "1".into(), document: document("q", None, "{}") },
            ),
        ] {
            assert_eq!(ClientMessage::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_messages_are_refused() {
        let long = format!(r#"{{"id":"{}","type":"complete"}}"#, "x".repeat(129));
        for text in [
            "",
            "ping",
            "[]",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"start"}"#,
            r#"{"type":"connection_ack"}"#,
            r#"{"type":"next","id":"1","payload":{}}"#,
            r#"{"type":"ping","payload":"x"}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"complete","id":""}"#,
            r#"{"type":"complete","id":1}"#,
            &long,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":null}"#,
            r#"{"type":"subscribe","id":"1","payload":{}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":null}}"#,
            r#"{"type":"subscribe","payload":{"query":"q"}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"q","variables":[]}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"q","operationName":{}}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"q","extensions":1}}"#,
        ] {
            assert!(ClientMessage::parse(text).is_err(), "{text}");
        }
    }
}
