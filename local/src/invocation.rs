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
const TIME_LIMIT: Duration = Duration::from_secs(29);

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
        let mut context = Context::default();
        context.request_id = self.request_id.to_owned();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        context.deadline = u64::try_from((now + TIME_LIMIT).as_millis()).unwrap_or(u64::MAX);
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
