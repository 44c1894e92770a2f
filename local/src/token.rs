//! Development tokens: an issuer of our own, with the endpoints that a real one has.

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::rand_core::OsRng;
use serde_json::{Value, json};
use shared::ids::ActorId;
use shared::time::{Clock, Timestamp};
use shared::{Error, Result};

use crate::answer;

/// Who the tokens are for.
pub const AUDIENCE: &str = "activity-log";
/// How long a token is good for, in seconds.
const LIFETIME: i64 = 3600;
/// Whom a token is for when nobody is named: the owner of the demo workspace.
const DEFAULT_SUBJECT: &str = "user-demo";
/// The key's name. There is one, and it lives as long as the process.
const KEY_ID: &str = "development";

/// Issues tokens, signed with a key made at start: none is good for another process.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key: SigningKey,
}

impl Issuer {
    /// The issuer at `url`, with a new key.
    pub fn new(url: String) -> Self {
        Self { url, key: SigningKey::random(&mut OsRng) }
    }

    /// What its tokens call it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token for `sub`, with the scopes `scope`, issued at `now`.
    pub fn token(&self, sub: &str, scope: &str, now: Timestamp) -> String {
        let header = json!({ "alg": "ES256", "kid": KEY_ID, "typ": "JWT" });
        let issued = now.utc().timestamp();
        let mut claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": sub, "iat": issued, "exp": issued + LIFETIME,
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        if !scope.is_empty() {
            claims["scope"] = scope.into();
        }
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature: Signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// The key set its tokens are verified with.
    pub fn keys(&self) -> JwkSet {
        serde_json::from_value(self.jwks()).unwrap_or(JwkSet { keys: Vec::new() })
    }

    fn jwks(&self) -> Value {
        let point = self.key.verifying_key().to_encoded_point(false);
        let text =
            |coordinate: Option<&p256::FieldBytes>| coordinate.map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": text(point.x()), "y": text(point.y()),
        }] })
    }

    fn configuration(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/.well-known/jwks.json", self.url),
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        })
    }
}

/// What the routes of the issuer share.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) issuer: std::sync::Arc<Issuer>,
    pub(crate) clock: Clock,
}

/// The issuer's routes. They are for this machine only, so no other origin may read them.
pub(crate) fn routes(desk: Desk) -> Router {
    Router::new()
        .route("/dev/token", get(token))
        .route(
            "/.well-known/jwks.json",
            get(async |State(desk): State<Desk>| json_response(&desk.issuer.jwks())),
        )
        .route(
            "/.well-known/openid-configuration",
            get(async |State(desk): State<Desk>| json_response(&desk.issuer.configuration())),
        )
        .with_state(desk)
}

impl Desk {
    /// A token as the query string wishes.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a page of another name than this machine's; [`Error::BadInput`] of a parameter.
    pub(crate) fn issue(&self, query: Option<&str>, headers: &HeaderMap) -> Result<String> {
        local(headers)?;
        let Wish { sub, scope } = Wish::parse(query.unwrap_or_default())?;
        Ok(self.issuer.token(&sub, &scope, (self.clock)()))
    }
}

async fn token(State(desk): State<Desk>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response<Body> {
    match desk.issue(query.as_deref(), &headers) {
        Ok(token) => {
            let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME });
            let mut response = json_response(&answer);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => answer::refuse(&error, &answer::request_id()),
    }
}

/// Refuses a page that reached this address under a name of its own: the browser would let it read the answer.
pub(crate) fn local(headers: &HeaderMap) -> Result<()> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "localhost" | "127.0.0.1") {
        return Ok(());
    }
    Err(Error::Forbidden("This is for http://localhost and http://127.0.0.1 only"))
}

/// Whom a token is wanted for.
#[derive(Debug, PartialEq)]
struct Wish {
    sub: String,
    scope: String,
}

impl Wish {
    fn parse(query: &str) -> Result<Self> {
        let (mut sub, mut scope) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wanted = match name.as_ref() {
                "sub" => &mut sub,
                "scope" => &mut scope,
                other => {
                    let name: String = other.chars().take(64).collect();
                    return Err(Error::bad_input(name, "is not a parameter here; allowed are sub, scope"));
                }
            };
            if wanted.replace(value.into_owned()).is_some() {
                return Err(Error::bad_input(name, "must be given once"));
            }
        }
        let sub = sub.unwrap_or_else(|| DEFAULT_SUBJECT.to_owned());
        ActorId::parse("sub", sub.as_str())?;
        let scope = scope.unwrap_or_default();
        let allowed = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
        if scope.len() > 1024 || !scope.chars().all(allowed) {
            return Err(Error::bad_input(
                "scope",
                "must be words separated by spaces, at most 1024 characters",
            ));
        }
        Ok(Self { sub, scope })
    }
}

fn json_response(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_has_defaults_and_takes_nothing_else() {
        let wish = |sub: &str, scope: &str| Wish { sub: sub.into(), scope: scope.into() };
        assert_eq!(Wish::parse("").unwrap(), wish("user-demo", ""));
        let query = "sub=a%40b&scope=activity%3Aread+activity:write";
        assert_eq!(Wish::parse(query).unwrap(), wish("a@b", "activity:read activity:write"));
        for (query, start) in [
            ("sub=", "sub: "),
            ("sub=a%23b", "sub: "),
            ("sub=a&sub=a", "sub: must be given once"),
            ("scope=a%0Ab", "scope: "),
            ("scope=%22", "scope: "),
            ("user=a", "user: is not a parameter here"),
        ] {
            let message = Wish::parse(query).unwrap_err().to_string();
            assert!(message.starts_with(start), "{query}: {message}");
        }
    }

    #[test]
    fn tokens_are_for_this_machine_only() {
        let under =
            |host: &'static str| local(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]));
        for host in ["localhost", "localhost:8000", "127.0.0.1:8000"] {
            assert!(under(host).is_ok(), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example"] {
            assert!(under(host).is_err(), "{host}");
        }
    }
}
