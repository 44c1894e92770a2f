//! The event of an HTTP request, payload format 2.0.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::header::{COOKIE, HOST, USER_AGENT};
use axum::http::{HeaderMap, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::resource_names::ACCOUNT;
use crate::template::Route;

/// An HTTP request that may pass to its function.
#[derive(Debug, Clone)]
pub struct HttpCall<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, percent-encoded as it was sent.
    pub path: &'a str,
    /// The query string as it was sent, without the question mark.
    pub query: &'a str,
    /// The version of HTTP.
    pub version: Version,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The claims of the token, all as strings, or `None` without a token.
    pub claims: Option<Map<String, Value>>,
    /// The address of the client.
    pub peer: IpAddr,
    /// The name of the request in responses and in the log.
    pub request_id: &'a str,
    /// When the request arrived.
    pub time: Timestamp,
    /// Host and port of the gateway.
    pub domain: &'a str,
}

impl HttpCall<'_> {
    pub(super) fn into_event(self, route: &Route, path_parameters: Map<String, Value>) -> Value {
        let route_key = format!("{} {}", route.method, route.path);
        let headers = joined_headers(self.headers, self.peer, self.domain);
        let (body, is_base64) = match String::from_utf8(self.body) {
            Ok(text) => (text, false),
            Err(error) => (STANDARD.encode(error.as_bytes()), true),
        };
        let scopes = (!route.scopes.is_empty()).then_some(&route.scopes);
        let jwt = self.claims.map(|claims| json!({ "jwt": { "claims": claims, "scopes": scopes } }));
        let mut event = json!({
            "version": "2.0",
            "routeKey": route_key,
            "rawPath": self.path,
            "rawQueryString": self.query,
            "headers": headers,
            "pathParameters": path_parameters,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": "local",
                "authorizer": jwt,
                "domainName": self.domain,
                "domainPrefix": self.domain.split(['.', ':']).next(),
                "http": {
                    "method": self.method,
                    "path": self.path,
                    "protocol": format!("{:?}", self.version),
                    "sourceIp": self.peer,
                    "userAgent": headers.get(USER_AGENT.as_str()),
                },
                "requestId": self.request_id,
                "routeKey": route_key,
                "stage": "$default",
                "time": self.time.utc().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                "timeEpoch": self.time.utc().timestamp_millis(),
            },
            "isBase64Encoded": is_base64,
        });
        if !body.is_empty() {
            event["body"] = body.into();
        }
        let cookies = self.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies: Vec<&str> = cookies.flat_map(|value| value.split("; ")).collect();
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        let mut parameters: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            join(&mut parameters, name.into_owned(), &value);
        }
        if !parameters.is_empty() {
            event["queryStringParameters"] = json!(parameters);
        }
        event
    }
}

/// The claims of a token as functions get them, which is as texts: a list and its items cannot be told apart.
pub fn claims_as_texts(claims: Map<String, Value>) -> Map<String, Value> {
    fn text(value: Value) -> String {
        match value {
            Value::String(text) => text,
            Value::Array(items) => format!("[{}]", items.into_iter().map(text).collect::<Vec<_>>().join(" ")),
            other => other.to_string(),
        }
    }
    claims.into_iter().map(|(name, value)| (name, Value::String(text(value)))).collect()
}

/// The headers but for cookies, each with one value.
fn joined_headers<'a>(headers: &'a HeaderMap, peer: IpAddr, domain: &str) -> BTreeMap<&'a str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| **name != COOKIE) {
        join(&mut joined, name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    // API Gateway overwrites these, so that a client cannot choose them.
    let port = domain.rsplit_once(':').map_or("80", |(_, port)| port);
    joined.insert(HOST.as_str(), domain.to_owned());
    joined.insert("x-forwarded-for", peer.to_string());
    joined.insert("x-forwarded-proto", "http".to_owned());
    joined.insert("x-forwarded-port", port.to_owned());
    joined
}

/// Adds a value under `name`. Commas join the values of one name.
fn join<K: Ord>(values: &mut BTreeMap<K, String>, name: K, value: &str) {
    values
        .entry(name)
        .and_modify(|joined| {
            joined.push(',');
            joined.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn call<'a>(query: &'a str, headers: &'a HeaderMap, body: &[u8]) -> HttpCall<'a> {
        HttpCall {
            method: "GET",
            path: "/w/a%2Fb",
            query,
            version: Version::HTTP_11,
            headers,
            body: body.to_vec(),
            claims: Some(Map::from_iter([("sub".to_owned(), json!("ada"))])),
            peer: IpAddr::from([127, 0, 0, 1]),
            request_id: "req-1",
            time: Timestamp::parse("now", "2026-11-20T09:30:00.25Z").unwrap(),
            domain: "localhost:8000",
        }
    }

    fn event(call: HttpCall<'_>, scopes: &[&str]) -> Value {
        let route = Route {
            name: "Show".into(),
            function: "show".into(),
            method: "GET".into(),
            path: "/w/{ws_id}".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        call.into_event(&route, Map::from_iter([("ws_id".to_owned(), json!("a/b"))]))
    }

    #[test]
    fn event_has_payload_format_2_0() {
        let headers = headers(&[
            ("host", "evil.example"),
            ("x-forwarded-proto", "::"),
            ("user-agent", "curl"),
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "c=1; d=2"),
        ]);
        assert_eq!(
            event(call("tag=x&tag=y%20z&limit=", &headers, b""), &[]),
            json!({
                "version": "2.0",
                "routeKey": "GET /w/{ws_id}",
                "rawPath": "/w/a%2Fb",
                "rawQueryString": "tag=x&tag=y%20z&limit=",
                "cookies": ["c=1", "d=2"],
                "headers": {
                    "accept": "a,b",
                    "host": "localhost:8000",
                    "user-agent": "curl",
                    "x-forwarded-for": "127.0.0.1",
                    "x-forwarded-port": "8000",
                    "x-forwarded-proto": "http",
                },
                "queryStringParameters": { "tag": "x,y z", "limit": "" },
                "pathParameters": { "ws_id": "a/b" },
                "requestContext": {
                    "accountId": "000000000000",
                    "apiId": "local",
                    "authorizer": { "jwt": { "claims": { "sub": "ada" }, "scopes": null } },
                    "domainName": "localhost:8000",
                    "domainPrefix": "localhost",
                    "http": {
                        "method": "GET",
                        "path": "/w/a%2Fb",
                        "protocol": "HTTP/1.1",
                        "sourceIp": "127.0.0.1",
                        "userAgent": "curl",
                    },
                    "requestId": "req-1",
                    "routeKey": "GET /w/{ws_id}",
                    "stage": "$default",
                    "time": "20/Nov/2026:09:30:00 +0000",
                    "timeEpoch": 1_795_167_000_250_i64,
                },
                "isBase64Encoded": false,
            })
        );
    }

    #[test]
    fn bodies_are_text_or_base64() {
        let headers = HeaderMap::new();
        let text = event(call("", &headers, "é".as_bytes()), &["activity:write"]);
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("é"), &json!(false)));
        assert_eq!(text["requestContext"]["authorizer"]["jwt"]["scopes"], json!(["activity:write"]));
        let bytes = event(call("", &headers, b"\xff\0"), &[]);
        assert_eq!((&bytes["body"], &bytes["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    }

    #[test]
    fn lambda_http_reads_what_was_sent() {
        use lambda_http::RequestExt as _;

        let headers = headers(&[("host", "%:["), ("x-forwarded-proto", " "), ("a", "é")]);
        let event = event(call("x=%7B%20'&y", &headers, b"\xff\0"), &[]);
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        assert_eq!(request.uri().query(), Some("x=%7B%20'&y"));
        assert_eq!(request.body().as_ref(), b"\xff\0");
        assert_eq!(request.headers()["a"].as_bytes(), "é".as_bytes());
        assert_eq!(request.path_parameters().first("ws_id"), Some("a/b"));
    }

    #[test]
    fn every_claim_becomes_a_string() {
        let claims = json!({ "sub": "ada", "exp": 17, "aud": ["a", "b"], "admin": true });
        let claims = claims_as_texts(claims.as_object().unwrap().clone());
        assert_eq!(
            Value::Object(claims),
            json!({ "sub": "ada", "exp": "17", "aud": "[a b]", "admin": "true" })
        );
    }
}
