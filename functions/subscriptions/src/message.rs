//! Messages of the graphql-transport-ws protocol, as clients send them.

use domain::subscription::{Document, MAX_SUBSCRIPTION_ID};
use graphql_api::is_persisted_query;
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
    /// Begins an operation: a subscription or a query. A fault ends the operation, and not the connection.
    Subscribe { id: String, document: Result<Document, InvalidOperation> },
    /// Ends a subscription.
    Complete { id: String },
}

/// Why an operation cannot begin.
#[derive(Debug, PartialEq)]
pub(crate) enum InvalidOperation {
    /// The member at fault, and what is wrong with it.
    Member(&'static str, String),
    /// It names its document by a hash.
    PersistedQuery,
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
        let payload = message.remove("payload");
        match kind.as_str() {
            "subscribe" => {
                let id = id(message)?;
                let document = if is_valid(&id) { document(payload) } else { Err(invalid_id()) };
                return Ok(Self::Subscribe { id, document });
            }
            "complete" => return Ok(Self::Complete { id: id(message)? }),
            "connection_init" | "ping" | "pong" => {}
            _ => return Err(malformed("type must be one of the protocol's")),
        }
        let payload = match payload {
            // Some clients send null instead of leaving the payload out.
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(payload)) => payload,
            Some(_) => return Err(malformed("payload must be an object")),
        };
        Ok(match kind.as_str() {
            "connection_init" => Self::Init { token: token(&payload) },
            "ping" => Self::Ping,
            _ => Self::Pong,
        })
    }
}

fn malformed(detail: &str) -> MalformedMessage {
    MalformedMessage(format!("Invalid message: {detail}"))
}

fn id(mut message: Map<String, Value>) -> Result<String, MalformedMessage> {
    match message.remove("id") {
        Some(Value::String(id)) => Ok(id),
        _ => Err(malformed("id must be a string")),
    }
}

/// Whether an operation can have this id.
pub(crate) fn is_valid(id: &str) -> bool {
    (1..=MAX_SUBSCRIPTION_ID).contains(&id.len())
}

fn invalid_id() -> InvalidOperation {
    InvalidOperation::Member("id", format!("must be 1 to {MAX_SUBSCRIPTION_ID} bytes"))
}

fn document(payload: Option<Value>) -> Result<Document, InvalidOperation> {
    let invalid = |member, detail: &str| Err(InvalidOperation::Member(member, detail.to_owned()));
    let Some(Value::Object(mut payload)) = payload else {
        return invalid("payload", "must be an object");
    };
    let extensions = payload.remove("extensions").filter(|extensions| !extensions.is_null());
    if extensions.as_ref().is_some_and(|extensions| !extensions.is_object()) {
        return invalid("extensions", "must be an object");
    }
    let query = match payload.remove("query") {
        Some(Value::String(query)) => query,
        None | Some(Value::Null) if is_persisted_query(extensions.as_ref()) => {
            return Err(InvalidOperation::PersistedQuery);
        }
        _ => return invalid("query", "is required: the document, as a string"),
    };
    let operation = match payload.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(_) => return invalid("operationName", "must be a string"),
    };
    let variables = match payload.remove("variables") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(variables)) => variables,
        Some(_) => return invalid("variables", "must be an object"),
    };
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
                ClientMessage::Subscribe { id: "1".into(), document: Ok(document("q", None, "{}")) },
            ),
            (
                r#"{"id":"1","type":"subscribe","payload":{"query":"q","operationName":"o","variables":{"a":1},"extensions":{}}}"#,
                ClientMessage::Subscribe {
                    id: "1".into(),
                    document: Ok(document("q", Some("o"), r#"{"a":1}"#)),
                },
            ),
            (
                r#"{"id":"1","type":"subscribe","payload":{"query":"q","operationName":null,"variables":null,"extensions":null}}"#,
                ClientMessage::Subscribe { id: "1".into(), document: Ok(document("q", None, "{}")) },
            ),
        ] {
            assert_eq!(ClientMessage::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_messages_are_refused() {
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
            r#"{"type":"complete","id":1}"#,
            r#"{"type":"subscribe","payload":{"query":"q"}}"#,
            r#"{"type":"subscribe","id":null,"payload":{"query":"q"}}"#,
        ] {
            assert!(ClientMessage::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_operation_is_no_invalid_message() {
        let long = format!(r#"{{"type":"subscribe","id":"{}","payload":{{"query":"q"}}}}"#, "x".repeat(129));
        for (text, at_fault) in [
            (r#"{"type":"subscribe","id":"1"}"#, Some("payload")),
            (r#"{"type":"subscribe","id":"1","payload":null}"#, Some("payload")),
            (r#"{"type":"subscribe","id":"1","payload":{}}"#, Some("query")),
            (r#"{"type":"subscribe","id":"1","payload":{"query":null}}"#, Some("query")),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"q","variables":[]}}"#, Some("variables")),
            (
                r#"{"type":"subscribe","id":"1","payload":{"query":"q","operationName":{}}}"#,
                Some("operationName"),
            ),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"q","extensions":1}}"#, Some("extensions")),
            (r#"{"type":"subscribe","id":"","payload":{"query":"q"}}"#, Some("id")),
            (&long, Some("id")),
            (r#"{"type":"subscribe","id":"1","payload":{"extensions":{"persistedQuery":{}}}}"#, None),
        ] {
            let Ok(ClientMessage::Subscribe { document: Err(error), .. }) = ClientMessage::parse(text) else {
                panic!("{text}");
            };
            match error {
                InvalidOperation::Member(member, _) => assert_eq!(Some(member), at_fault, "{text}"),
                InvalidOperation::PersistedQuery => assert_eq!(None, at_fault, "{text}"),
            }
        }
    }
}
