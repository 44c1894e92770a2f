//! CloudEvents 1.0 around an event: `type` stands in for its action, `id` for its id and `time` for its time, and `data` is
//! the event. The event's own members count before them. Other attributes do not matter.
//!
//! The structured form and the batch are JSON, so that they are known by their `specversion` wherever JSON comes in. The
//! binary form is that of HTTP, with the attributes in headers.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::event::MAX_TIME_LEN;
use domain::ids::MAX_ID_LEN;
use domain::json::{self, Document, Json, Members, Object};
use domain::{Error, Result};
use lambda_http::Request;
use lambda_http::http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;

const SPEC_VERSION: &str = "specversion";
/// The only version there is of the attributes that are read here.
const VERSION: &str = "1.0";
/// The longest `type` and `datacontenttype`, in characters.
const MAX_TYPE_LEN: usize = 256;
/// The longest `source`, in characters. It is a URI.
const MAX_SOURCE_LEN: usize = 2048;
/// The attributes that an event in the binary form must have, as headers after `ce-`, and the time.
const ATTRIBUTES: [&str; 5] = [SPEC_VERSION, "id", "source", "type", "time"];
/// The beginning of the media types of the structured form and of the batch.
const MEDIA_TYPE: &str = "application/cloudevents";
/// The end of such a media type when it is JSON.
const JSON_SUFFIX: &str = "+json";

/// Whether a value is a CloudEvent and no event: no event has a member of this name.
pub(crate) fn is_one(value: &Json) -> bool {
    value.as_object().is_some_and(|members| members.get(SPEC_VERSION).is_some())
}

/// The event in a CloudEvent.
///
/// # Errors
/// [`Error::BadInput`] of an attribute that is malformed, absent or of another version, or of data that are no JSON object.
pub(crate) fn event(document: Document) -> Result<Document> {
    let mut attributes = Members::outermost(document.sound()?)?;
    if attributes.take(SPEC_VERSION).as_ref().and_then(Json::as_str) != Some(VERSION) {
        return Err(Error::bad_input(SPEC_VERSION, format!("must be {VERSION:?}")));
    }
    let id = attributes.required_text("id", MAX_ID_LEN)?;
    attributes.required_text("source", MAX_SOURCE_LEN)?;
    let action = attributes.required_text("type", MAX_TYPE_LEN)?;
    let time = attributes.text("time", MAX_TIME_LEN)?;
    let content_type = attributes.text("datacontenttype", MAX_TYPE_LEN)?;
    if content_type.is_some_and(|content_type| !is_json(&content_type)) {
        return Err(Error::bad_input("datacontenttype", "must be application/json, or absent"));
    }
    let mut event = data(&mut attributes)?;
    let stand_ins = [("id", Some(id)), ("action", Some(action)), ("created_at", time)];
    for (name, text) in stand_ins {
        if let (None | Some(Json::Null), Some(text)) = (event.get(name), text) {
            event.insert(name, text.as_str().into());
        }
    }
    Ok(Json::Object(event).into())
}

fn data(attributes: &mut Members) -> Result<Object> {
    let data = match (attributes.take("data"), attributes.take("data_base64")) {
        (data, None) => data,
        (None, Some(Json::String(text))) => {
            let bytes =
                STANDARD.decode(text).map_err(|_| Error::bad_input("data_base64", "must be base64"))?;
            Some(Document::read(&json::parse("body", &bytes)?).sound()?)
        }
        (_, Some(_)) => {
            return Err(Error::bad_input("data_base64", "must be text, and without data beside it"));
        }
    };
    match data {
        Some(Json::Object(event)) => Ok(event),
        _ => Err(Error::bad_input("data", "must be an object: the event")),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with(JSON_SUFFIX)
}

/// The form of a request's body, as its headers say.
pub(crate) enum Form {
    /// Events, or CloudEvents that say so themselves.
    Plain,
    /// A CloudEvent, or a batch of them.
    Structured,
    /// The data of a CloudEvent with these attributes.
    Binary(Object),
}

impl Form {
    /// The form of a request's body.
    ///
    /// # Errors
    /// [`Error::UnsupportedMedia`] of CloudEvents in another format than JSON, and [`Error::BadInput`] of an attribute that
    /// is no text.
    pub(crate) fn of(request: &Request) -> Result<Self> {
        let content_type = lambda_support::header(request, CONTENT_TYPE.as_str())?.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence.starts_with(MEDIA_TYPE) {
            if essence.ends_with(JSON_SUFFIX) {
                return Ok(Self::Structured);
            }
            let detail =
                format!("must be in JSON: {MEDIA_TYPE}{JSON_SUFFIX} or {MEDIA_TYPE}-batch{JSON_SUFFIX}");
            return Err(Error::UnsupportedMedia { field: "Content-Type", detail });
        }
        let mut attributes = Object::default();
        for name in ATTRIBUTES {
            if let Some(value) = lambda_support::header(request, &format!("ce-{name}"))? {
                attributes.insert(name, decoded(name, value)?.as_str().into());
            }
        }
        if attributes.is_empty() {
            return Ok(Self::Plain);
        }
        if attributes.get(SPEC_VERSION).is_none() {
            // Without its version it is still known as one, and refused.
            attributes.insert(SPEC_VERSION, Json::Null);
        }
        Ok(Self::Binary(attributes))
    }

    /// The event in a body, or in an item of it if it `is_array`.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it is not what the headers say.
    pub(crate) fn event(&self, document: Document, is_array: bool) -> Result<Document> {
        match self {
            Self::Plain => Ok(document),
            Self::Structured if is_one(&document.value) => Ok(document),
            Self::Structured => Err(Error::bad_input(SPEC_VERSION, "is required")),
            Self::Binary(_) if is_array => {
                Err(Error::bad_input("body", "must be one event: the headers have the attributes of one"))
            }
            Self::Binary(attributes) => {
                let mut all = attributes.clone();
                all.insert("data", document.value);
                Ok(Document { value: Json::Object(all), faults: document.faults })
            }
        }
    }
}

/// The value of an attribute in a header, where everything but printable ASCII is percent-encoded.
fn decoded(name: &str, value: &str) -> Result<String> {
    let wrong = |_| Error::bad_input(format!("ce-{name}"), "must be UTF-8, percent-encoded");
    percent_decode_str(value).decode_utf8().map(Cow::into_owned).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;
    use lambda_http::http::{HeaderName, HeaderValue};
    use serde_json::{Value, json};

    use super::*;

    fn cloud_event() -> Value {
        json!({
            "specversion": "1.0", "id": "1", "source": "/tracker", "type": "issue.updated",
            "time": "2025-06-01T11:59:00Z", "datacontenttype": "application/json", "traceparent": "00-1-2-01",
            "data": { "actor_type": "user", "actor_id": "ada", "details": { "status": "done" } }
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut event = cloud_event();
        event[name] = value;
        event
    }

    /// The event in a CloudEvent, as serde_json has it.
    fn read(value: Value) -> Value {
        serde_json::from_str(&event(value.into()).unwrap().value.canonical()).unwrap()
    }

    /// The event in a body with these headers.
    fn body(headers: &[(&str, &str)], value: Value) -> Result<Value> {
        let is_array = value.is_array();
        let read = |value: Value| {
            let document = Form::of(&request(headers))?.event(value.into(), is_array)?;
            let event = if is_one(&document.value) { event(document)? } else { document };
            Ok(serde_json::from_str(&event.value.canonical()).unwrap())
        };
        match value {
            Value::Array(items) => items.into_iter().map(read).collect(),
            value => read(value),
        }
    }

    #[test]
    fn attributes_stand_in_for_what_the_data_lack() {
        let expected = json!({
            "id": "1", "action": "issue.updated", "created_at": "2025-06-01T11:59:00Z", "actor_type": "user",
            "actor_id": "ada", "details": { "status": "done" }
        });
        assert_eq!(read(cloud_event()), expected);
        let mut in_base64 = with("data", Value::Null);
        in_base64["data_base64"] = STANDARD.encode(cloud_event()["data"].to_string()).into();
        assert_eq!(read(in_base64), expected);
        let own = json!({ "id": "a", "action": "a.b", "created_at": "2025-01-01T00:00:00Z" });
        assert_eq!(read(with("data", own.clone())), own);
        assert_eq!(read(with("time", Value::Null)).get("created_at"), None);
    }

    #[test]
    fn malformed_attributes_are_named() {
        for (name, value) in [
            ("specversion", json!("0.3")),
            ("specversion", json!(1.0)),
            ("id", Value::Null),
            ("id", json!("")),
            ("source", Value::Null),
            ("type", json!(7)),
            ("time", json!(1_700_000_000)),
            ("datacontenttype", json!("application/xml")),
            ("data", json!("text")),
            ("data", json!([{}])),
            ("data", Value::Null),
            ("data_base64", json!("e30=")),
        ] {
            let refused = event(with(name, value.clone()).into()).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{name}: ")), "{name} {value}: {refused}");
        }
    }

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Body::Empty);
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    #[test]
    fn binary_form_has_its_attributes_in_headers() {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "caf%C3%A9 100%"),
            ("ce-source", "/tracker"),
            ("ce-type", "issue.updated"),
            ("content-type", "application/json"),
        ];
        let expected = json!({ "actor_id": "ada", "id": "café 100%", "action": "issue.updated" });
        assert_eq!(body(&headers, json!({ "actor_id": "ada" })).unwrap(), expected);
        let without_version = body(&headers[1..], json!({})).unwrap_err().to_string();
        assert!(without_version.starts_with("specversion: "), "{without_version}");
        assert!(body(&headers, json!([{ "actor_id": "ada" }])).is_err());
        assert!(body(&[("ce-id", "%FF")], json!({})).is_err());
        assert_eq!(body(&[], json!({ "id": "a" })).unwrap(), json!({ "id": "a" }));
    }

    #[test]
    fn media_types_of_cloud_events_say_what_the_body_is() {
        let declared = |content_type: &str, value: Value| body(&[("content-type", content_type)], value);
        assert!(declared("application/cloudevents+json; charset=utf-8", cloud_event()).is_ok());
        assert!(declared("application/cloudevents-batch+json", json!([cloud_event()])).is_ok());
        for (content_type, value) in [
            ("application/cloudevents+json", json!({ "id": "a" })),
            ("application/cloudevents-batch+json", json!([cloud_event(), {}])),
            ("Application/CloudEvents+JSON", json!("text")),
        ] {
            assert!(matches!(declared(content_type, value), Err(Error::BadInput { .. })), "{content_type}");
        }
        for content_type in
            ["application/cloudevents+avro", "application/cloudevents+protobuf", "application/cloudevents"]
        {
            let refused = declared(content_type, json!({}));
            assert!(matches!(refused, Err(Error::UnsupportedMedia { .. })), "{content_type}");
        }
    }
}
