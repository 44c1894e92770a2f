//! The HTTP response that a function's answer stands for.

use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Result};
use serde_json::Value;

/// The response that a function's answer stands for, of an HTTP API or of a WebSocket API.
///
/// # Errors
/// [`Error::Internal`] when the answer is no such response.
pub fn response(mut answer: Value) -> Result<Response<Vec<u8>>> {
    let body = match answer.get_mut("body").map(Value::take).unwrap_or_default() {
        Value::String(text) if answer["isBase64Encoded"] == true => {
            STANDARD.decode(text).map_err(Error::internal)?
        }
        Value::String(text) => text.into_bytes(),
        _ => Vec::new(),
    };
    let mut response = Response::new(body);
    let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.ok_or_else(|| Error::internal("the function's answer has no status"))?;
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::internal)?;
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default()).map_err(Error::internal)?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_become_responses() {
        let answer =
            json!({ "statusCode": 201, "headers": { "Location": "/a" }, "body": "é", "cookies": [] });
        let read = response(answer).unwrap();
        assert_eq!(
            (read.status(), &read.headers()["location"]),
            (StatusCode::CREATED, &HeaderValue::from_static("/a"))
        );
        assert_eq!(read.body(), "é".as_bytes());
        let bytes = response(json!({ "statusCode": 200, "body": "/wA=", "isBase64Encoded": true }));
        assert_eq!(bytes.unwrap().body(), b"\xff\0");
        assert_eq!(response(json!({ "statusCode": 304 })).unwrap().body(), b"");
        for malformed in [json!(null), json!({}), json!({ "statusCode": 1 }), json!([])] {
            assert!(response(malformed.clone()).is_err(), "{malformed}");
        }
    }
}
