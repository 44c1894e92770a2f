//! Development tokens: an issuer of our own, with the endpoints that a real issuer has.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, HOST};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::get;
use domain::access::{ADMIN, READ, WRITE};
use domain::ids::ActorId;
use domain::time::{Clock, Timestamp};
use domain::{Error, Result};
use http_api::problem::Problem;
use jsonwebtoken::Header;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use crate::response;
pub use crate::signing_key::SigningKey;
use crate::signing_key::{ALGORITHM, KEY_ID};

/// The audience of the tokens.
pub const AUDIENCE: &str = "activity-log";
/// How long a token is valid, in seconds.
const LIFETIME_SECONDS: i64 = 3600;
/// The subject of a token when the request names none: the owner of the demo workspace.
const DEFAULT_SUBJECT: &str = "user-demo";
/// The scopes that mean something here.
const SCOPES: [&str; 3] = [READ, WRITE, ADMIN];
/// The parameters for the claims that narrow scopes, and these claims.
const ORGANIZATIONS: &str = "organizations";
const WORKSPACES: &str = "workspaces";
/// The longest scope that a request may ask for, in characters.
const MAX_SCOPE_LEN: usize = 1024;
/// The longest part of an unknown parameter's name that an error repeats, in characters.
const MAX_SHOWN_NAME: usize = 64;

/// Issues tokens, signed with its key. An issuer with the same URL and key verifies them.
pub struct Issuer {
    url: String,
    key: SigningKey,
}

impl Issuer {
    /// The issuer at `url`, with this process's key.
    pub fn new(url: String) -> Self {
        Self::with_key(url, SigningKey::of_process())
    }

    /// The issuer at `url`, with `key`.
    pub fn with_key(url: String, key: SigningKey) -> Self {
        Self { url, key }
    }

    /// The URL that its tokens name.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token for `sub`, with the scopes `scope`, issued at `now`.
    pub fn token(&self, sub: &str, scope: &str, now: Timestamp) -> String {
        self.narrowed_token(sub, scope, &[], now)
    }

    /// The same token, whose scopes the claims `grants` narrow: each is a name, and ids separated by spaces.
    fn narrowed_token(&self, sub: &str, scope: &str, grants: &[(&str, String)], now: Timestamp) -> String {
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(ALGORITHM) };
        let issued = now.utc().timestamp();
        let mut claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": sub, "iat": issued, "exp": issued + LIFETIME_SECONDS,
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        if !scope.is_empty() {
            claims["scope"] = scope.into();
        }
        for (name, ids) in grants {
            claims[*name] = ids.split(' ').filter(|id| !id.is_empty()).collect::<Vec<_>>().into();
        }
        // An RSA key signs any text.
        jsonwebtoken::encode(&header, &claims, self.key.private()).unwrap_or_default()
    }

    /// The key set that verifies its tokens.
    pub fn keys(&self) -> JwkSet {
        JwkSet { keys: vec![self.key.public().clone()] }
    }

    fn configuration(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/.well-known/jwks.json", self.url),
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        })
    }
}

/// Issues tokens on request.
#[derive(Clone)]
pub(crate) struct TokenIssuer {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) clock: Clock,
}

impl TokenIssuer {
    /// A token as the query string asks for it.
    ///
    /// # Errors
    /// The problem to respond with: 403 for a page of another host, 400 for a malformed parameter.
    pub(crate) fn issue(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        request_id: &str,
    ) -> Result<String, Problem> {
        require_local_host(headers).map_err(|detail| response::forbidden(detail, request_id))?;
        let TokenRequest { sub, scope, grants } = TokenRequest::parse(query.unwrap_or_default())
            .map_err(|error| Problem::new(&error, Some(request_id)))?;
        Ok(self.issuer.narrowed_token(&sub, &scope, &grants, (self.clock)()))
    }
}

/// The issuer's routes. Pages of other origins cannot read them, because they serve this machine only.
pub(crate) fn routes(tokens: TokenIssuer) -> Router {
    let jwks = async |State(tokens): State<TokenIssuer>| response::of_json(&json!(tokens.issuer.keys()));
    let configuration =
        async |State(tokens): State<TokenIssuer>| response::of_json(&tokens.issuer.configuration());
    Router::new()
        .route("/dev/token", get(token))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/.well-known/openid-configuration", get(configuration))
        .with_state(tokens)
}

async fn token(
    State(tokens): State<TokenIssuer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    match tokens.issue(query.as_deref(), &headers, &response::new_request_id()) {
        Ok(token) => {
            let body =
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS });
            let mut response = response::of_json(&body);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => response::of_problem(problem),
    }
}

/// Refuses a page that reached this address under a host name of its own, because the browser would let that page read the
/// response.
///
/// # Errors
/// The hosts that are allowed.
pub(crate) fn require_local_host(headers: &HeaderMap) -> Result<(), &'static str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "localhost" | "127.0.0.1") {
        return Ok(());
    }
    Err("This is for http://localhost and http://127.0.0.1 only")
}

/// The subject and the scopes of a token to issue, and the claims that narrow the scopes.
#[derive(Debug, PartialEq)]
struct TokenRequest {
    sub: String,
    scope: String,
    grants: Vec<(&'static str, String)>,
}

impl TokenRequest {
    fn parse(query: &str) -> Result<Self> {
        let (mut sub, mut scope, mut organizations, mut workspaces) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let parameter = match name.as_ref() {
                "sub" => &mut sub,
                "scope" => &mut scope,
                ORGANIZATIONS => &mut organizations,
                WORKSPACES => &mut workspaces,
                other => {
                    let name: String = other.chars().take(MAX_SHOWN_NAME).collect();
                    let allowed =
                        "is not a parameter here; allowed are sub, scope, organizations, workspaces";
                    return Err(Error::bad_input(name, allowed));
                }
            };
            if parameter.replace(value.into_owned()).is_some() {
                return Err(Error::bad_input(name, "must be given once"));
            }
        }
        let sub = sub.unwrap_or_else(|| DEFAULT_SUBJECT.to_owned());
        ActorId::parse("sub", sub.as_str())?;
        let scope = scope.unwrap_or_default();
        let given = [(ORGANIZATIONS, organizations), (WORKSPACES, workspaces)];
        let grants: Vec<_> = given.into_iter().filter_map(|(name, ids)| Some((name, ids?))).collect();
        let is_allowed = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
        let words = grants.iter().map(|(name, ids)| (*name, ids)).chain([("scope", &scope)]);
        for (name, words) in words {
            if words.len() > MAX_SCOPE_LEN || !words.chars().all(is_allowed) {
                let detail = format!("must be words separated by spaces, at most {MAX_SCOPE_LEN} characters");
                return Err(Error::bad_input(name, detail));
            }
        }
        if let Some(unknown) = scope.split_whitespace().find(|name| !SCOPES.contains(name)) {
            let name: String = unknown.chars().take(MAX_SHOWN_NAME).collect();
            let detail = format!(
                "has {name}, which is no scope here; allowed are {}, separated by spaces",
                SCOPES.join(", ")
            );
            return Err(Error::bad_input("scope", detail));
        }
        Ok(Self { sub, scope, grants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_defaults_and_known_parameters() {
        let request = |sub: &str, scope: &str| TokenRequest {
            sub: sub.into(),
            scope: scope.into(),
            grants: Vec::new(),
        };
        assert_eq!(TokenRequest::parse("").unwrap(), request("user-demo", ""));
        let query = "sub=a%40b&scope=activity%3Aread+activity:write";
        assert_eq!(TokenRequest::parse(query).unwrap(), request("a@b", "activity:read activity:write"));
        let grants = TokenRequest::parse("workspaces=a+b").unwrap().grants;
        assert_eq!(grants, [(WORKSPACES, "a b".to_owned())]);
        for (query, start) in [
            ("sub=", "sub: "),
            ("sub=a%0Ab", "sub: "),
            ("sub=a&sub=a", "sub: must be given once"),
            ("scope=a%0Ab", "scope: "),
            ("scope=%22", "scope: "),
            (
                "scope=activity:wirte",
                "scope: has activity:wirte, which is no scope here; allowed are activity:read",
            ),
            ("scope=activity:read,activity:write", "scope: has activity:read,activity:write, which"),
            ("scope=openid+activity:read", "scope: has openid"),
            ("scope=Activity:Read", "scope: has Activity:Read"),
            ("workspaces=%22", "workspaces: "),
            ("user=a", "user: is not a parameter here"),
        ] {
            let message = TokenRequest::parse(query).unwrap_err().to_string();
            assert!(message.starts_with(start), "{query}: {message}");
        }
    }

    #[test]
    fn tokens_are_for_this_machine_only() {
        let under = |host: &'static str| {
            require_local_host(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]))
        };
        for host in ["localhost", "localhost:8000", "127.0.0.1:8000"] {
            assert!(under(host).is_ok(), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example"] {
            assert!(under(host).is_err(), "{host}");
        }
    }
}
