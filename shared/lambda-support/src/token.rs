//! The caller's token, which the API's authorizer has verified.

use std::env;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access::{self, Caller, scopes};
use domain::grants::{GrantClaims, Grants};
use domain::{Error, Result};
use lambda_http::http::header::AUTHORIZATION;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use serde_json::{Map, Value};

/// The claims that narrow scopes: `ORGANIZATIONS_CLAIM`, `WORKSPACES_CLAIM`, and `REQUIRE_GRANTS`, which is `true` or
/// anything else.
static GRANT_CLAIMS: LazyLock<GrantClaims> = LazyLock::new(|| {
    let defaults = GrantClaims::default();
    let named = |variable: &str, default: String| {
        env::var(variable).ok().filter(|name| !name.is_empty()).unwrap_or(default)
    };
    GrantClaims {
        organizations: named("ORGANIZATIONS_CLAIM", defaults.organizations),
        workspaces: named("WORKSPACES_CLAIM", defaults.workspaces),
        are_required: env::var("REQUIRE_GRANTS").is_ok_and(|required| required == "true"),
    }
});

/// The tenants that the scopes of a verified token are for.
pub fn grants_of(claims: &Map<String, Value>) -> Grants {
    Grants::of_claims(claims, &GRANT_CLAIMS)
}

/// A verified token.
#[derive(Debug, Clone)]
pub struct Token(Map<String, Value>);

impl Token {
    /// The token of a request.
    ///
    /// API Gateway passes on its claims too, but as texts, in which a list and its items cannot be told apart. So they are
    /// read from the token itself, which is the one that API Gateway verified: there is no other header for it.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the authorizer verified nobody.
    pub fn of(request: &Request) -> Result<Self> {
        const INVALID: Error = Error::Unauthenticated("A valid bearer token is required");
        let verified = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.authorizer.as_ref(),
            _ => None,
        };
        let verified = verified.and_then(|authorizer| authorizer.jwt.as_ref()).ok_or(INVALID)?;
        let claims = crate::header(request, AUTHORIZATION.as_str())?.and_then(claims).ok_or(INVALID)?;
        // The header and the authorizer speak of one token.
        let is_same = access::subject(&claims).as_ref() == verified.claims.get("sub");
        if is_same { Ok(Self(claims)) } else { Err(INVALID) }
    }

    /// The caller.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] without a subject.
    pub fn caller(&self) -> Result<Caller> {
        Ok(Caller::new(&self.subject()?, scopes(&self.0)).with_grants(grants_of(&self.0)))
    }

    /// Its subject.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] without one.
    pub fn subject(&self) -> Result<String> {
        access::subject(&self.0).ok_or(Error::Unauthenticated("The token has no subject"))
    }

    /// The client that it was issued to, if it names one: RFC 9068 and Cognito write one claim, OpenID Connect the other.
    pub fn client(&self) -> Option<&str> {
        ["client_id", "azp"].into_iter().find_map(|name| self.0.get(name)?.as_str())
    }
}

/// The claims of a bearer token, whose signature is verified already.
fn claims(header: &str) -> Option<Map<String, Value>> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let payload = scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().split('.').nth(1))??;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
