//! The HTTP API's JWT authorizer: whether a request may pass, and the claims of its token.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use domain::Error;
use domain::access::scopes as granted_scopes;
use domain::time::Timestamp;
use http_api::problem::Problem;
use serde_json::{Map, Value};
use subscriptions::verify::Verifier;

use crate::http_api::claims_as_texts;
use crate::response;

/// Lets a request pass whose token has one of `scopes`, or any valid token when there are none. Returns the token's claims
/// as functions get them, which is as strings.
///
/// # Errors
/// The problem to respond with: 401 without a valid token, 403 without a scope.
pub(crate) fn authorize(
    verifier: &Verifier,
    headers: &HeaderMap,
    scopes: &[String],
    now: Timestamp,
    request_id: &str,
) -> Result<Map<String, Value>, Problem> {
    let refused = |detail| Problem::new(&Error::Unauthenticated(detail), Some(request_id));
    let token =
        bearer(headers).ok_or_else(|| refused("A bearer token is required in the header Authorization"))?;
    let claims = verifier.verify(token, now.utc().timestamp()).map_err(|error| refused(error.detail()))?;
    let has_scope = granted_scopes(&claims).any(|scope| scopes.iter().any(|wanted| wanted == scope));
    if scopes.is_empty() || has_scope {
        return Ok(claims_as_texts(claims));
    }
    let detail = format!("This needs a token with the scope {}", scopes.join(" or "));
    Err(response::forbidden(detail, request_id))
}

/// The token of the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn one_bearer_token_is_found() {
        let found = |values: &[&'static str]| {
            let values = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(found(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(found(&["bearer   abc "]).as_deref(), Some("abc"));
        for none in [&[][..], &["abc"], &["Bearer"], &["Basic abc"], &["Bearer abc", "Bearer abc"]] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }
}
