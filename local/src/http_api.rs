//! An HTTP request as API Gateway hands it to a function: the event of an HTTP API, payload format 2.0.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::header::{COOKIE, HOST, USER_AGENT};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use lambda_http::{Context, Request, RequestExt as _};
use serde_json::{Map, Value, json};
use shared::time::Timestamp;
use shared::{Error, Result};

/// The largest body that a Lambda function can be given.
const MAX_BODY: usize = 6 * 1024 * 1024;
/// How much is read of a larger one: a client that is still sending does not read the answer.
const MAX_READ: usize = 64 * 1024 * 1024;
/// How long a function may take: a little less than API Gateway waits.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(29);

/// A request that may pass.
pub(crate) struct Call<'a> {
    /// The request without its body.
    pub(crate) parts: &'a Parts,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// Its name in answers and logs.
    pub(crate) request_id: &'a str,
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// When it came.
    pub(crate) time: Timestamp,
    /// Method and path of its route, as the template writes them.
    pub(crate) route_key: &'a str,
    /// Parameters of its path, decoded.
    pub(crate) path_parameters: Map<String, Value>,
    /// What its token says, as strings.
    pub(crate) claims: Map<String, Value>,
    /// The scopes that its route asks for.
    pub(crate) scopes: &'a [String],
    /// Host and port of the gateway.
    pub(crate) domain: &'a str,
}

impl Call<'_> {
    /// The request that the function's handler gets.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it is none that API Gateway would pass on.
    pub(crate) fn into_request(self) -> Result<Request> {
        let context = context(self.request_id, TIME_LIMIT);
        let request = lambda_http::request::from_str(&self.into_event().to_string());
        let request =
            request.map_err(|error| Error::bad_input("request", format!("cannot be read: {error}")))?;
        Ok(request.with_lambda_context(context))
    }

    fn into_event(self) -> Value {
        let Parts { method, uri, version, headers, .. } = self.parts;
        let query = uri.query().unwrap_or_default();
        let mut joined: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| **name != COOKIE) {
            join(&mut joined, name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        }
        // API Gateway answers under its own name only, and says itself where a request came from.
        joined.insert(HOST.as_str(), self.domain.to_owned());
        joined.insert("x-forwarded-for", self.peer.ip().to_string());
        joined.insert("x-forwarded-proto", "http".to_owned());
        joined.insert(
            "x-forwarded-port",
            self.domain.rsplit_once(':').map_or("80", |(_, port)| port).to_owned(),
        );
        let user_agent = joined.get(USER_AGENT.as_str()).cloned();
        let (body, is_base64) = match String::from_utf8(self.body) {
            Ok(text) => (text, false),
            Err(error) => (STANDARD.encode(error.as_bytes()), true),
        };
        let mut event = json!({
            "version": "2.0",
            "routeKey": self.route_key,
            "rawPath": uri.path(),
            "rawQueryString": query,
            "headers": joined,
            "pathParameters": self.path_parameters,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "authorizer": { "jwt": {
                    "claims": self.claims,
                    "scopes": (!self.scopes.is_empty()).then_some(self.scopes),
                } },
                "domainName": self.domain,
                "domainPrefix": self.domain.split(['.', ':']).next(),
                "http": {
                    "method": method.as_str(),
                    "path": uri.path(),
                    "protocol": format!("{version:?}"),
                    "sourceIp": self.peer.ip(),
                    "userAgent": user_agent,
                },
                "requestId": self.request_id,
                "routeKey": self.route_key,
                "stage": "$default",
                "time": self.time.utc().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                "timeEpoch": self.time.utc().timestamp_millis(),
            },
            "isBase64Encoded": is_base64,
        });
        if !body.is_empty() {
            event["body"] = body.into();
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies: Vec<&str> = cookies.flat_map(|value| value.split("; ")).collect();
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        let mut parameters: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            join(&mut parameters, name.into_owned(), &value);
        }
        if !parameters.is_empty() {
            event["queryStringParameters"] = json!(parameters);
        }
        event
    }
}

/// What a function is told of its invocation, which may take `time` from now.
pub(crate) fn context(request_id: &str, time: Duration) -> Context {
    let mut context = Context::default();
    context.request_id = request_id.to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    context.deadline = u64::try_from((now + time).as_millis()).unwrap_or(u64::MAX);
    context
}

/// Adds a value under `name`: what is given more than once is joined by commas.
fn join<K: Ord>(values: &mut BTreeMap<K, String>, name: K, value: &str) {
    values
        .entry(name)
        .and_modify(|joined| {
            joined.push(',');
            joined.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

/// Reads a body.
///
/// # Errors
/// [`Error::TooLarge`] past what a function can be given; [`Error::BadInput`] when it ends too early.
pub(crate) async fn read(body: Body) -> Result<Vec<u8>> {
    let mut chunks = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::bad_input("body", "ended too early"))?;
        length += chunk.len();
        if length <= MAX_BODY {
            bytes.extend_from_slice(&chunk);
        } else if length > MAX_READ {
            break;
        }
    }
    if length > MAX_BODY {
        return Err(Error::too_large("body", format!("must be at most {MAX_BODY} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use shared::ids::is_valid;

    use super::*;

    fn call<'a>(parts: &'a Parts, body: &[u8], scopes: &'a [String]) -> Call<'a> {
        Call {
            parts,
            body: body.to_vec(),
            request_id: "req-1",
            peer: SocketAddr::from(([127, 0, 0, 1], 54_321)),
            time: Timestamp::parse("now", "2026-11-20T09:30:00.25Z").unwrap(),
            route_key: "GET /w/{ws_id}",
            path_parameters: Map::from_iter([("ws_id".to_owned(), json!("a/b"))]),
            claims: Map::from_iter([("sub".to_owned(), json!("ada"))]),
            scopes,
            domain: "localhost:8000",
        }
    }

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = axum::http::Request::builder().uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn is_the_event_of_an_http_api() {
        let headers = [
            ("Host", "evil.example"),
            ("X-Forwarded-Proto", "::"),
            ("User-Agent", "curl"),
            ("Accept", "a"),
            ("Accept", "b"),
            ("Cookie", "c=1; d=2"),
        ];
        let parts = parts("/w/a%2Fb?tag=x&tag=y%20z&limit=", &headers);
        assert_eq!(
            call(&parts, b"", &[]).into_event(),
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
        let parts = parts("/", &[]);
        let scopes = ["activity:write".to_owned()];
        let text = call(&parts, "é".as_bytes(), &scopes).into_event();
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("é"), &json!(false)));
        assert_eq!(text["requestContext"]["authorizer"]["jwt"]["scopes"], json!(["activity:write"]));
        let bytes = call(&parts, b"\xff\0", &[]).into_event();
        assert_eq!((&bytes["body"], &bytes["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    }

    #[test]
    fn the_function_gets_what_was_sent() {
        let parts = parts("/w/a%2Fb?x=%7B%20'&y", &[("Host", "%:["), ("X-Forwarded-Proto", " "), ("A", "é")]);
        let request = call(&parts, b"\xff\0", &[]).into_request().unwrap();
        assert_eq!(request.uri().query(), parts.uri.query());
        assert_eq!(request.body().as_ref(), b"\xff\0");
        assert_eq!(request.headers()["a"].as_bytes(), "é".as_bytes());
        assert_eq!(request.path_parameters().first("ws_id"), Some("a/b"));
        let context = request.lambda_context();
        assert!(is_valid(&context.request_id) && context.deadline > 1_700_000_000_000);
    }

    #[tokio::test]
    async fn bodies_have_a_limit() {
        assert_eq!(read(Body::from(vec![b'x'; MAX_BODY])).await.unwrap().len(), MAX_BODY);
        let error = read(Body::from(vec![b'x'; MAX_BODY + 1])).await.unwrap_err();
        assert!(error.to_string().starts_with("body: must be at most 6291456 bytes"));
    }
}
