//! Verifies bearer tokens with an issuer's key set, as API Gateway's JWT authorizer does: with RSA keys only, and with
//! RS256, RS384 and RS512 only. So a token that opens one of the APIs opens the other.
//!
//! The module knows neither HTTP nor the source of the key set, so that it serves any issuer.

use std::collections::HashMap;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

/// The most that the issuer's clock and ours may differ, in seconds.
pub const LEEWAY: f64 = 30.0;

/// The algorithms that tokens may be signed with.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];

/// The claims of a verified token.
pub type Claims = Map<String, Value>;

/// Why a token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// The token is not a signed JWT, or uses an unknown extension.
    Malformed,
    /// The token is signed with none of RS256, RS384 and RS512.
    UnsupportedAlgorithm,
    /// The token names no key, or a key that is not in the key set. A newer key set may have the key.
    UnknownKey,
    /// The token's algorithm is not the one that its key names.
    Algorithm,
    /// The token was not signed with its key.
    Signature,
    /// The token is from another issuer.
    Issuer,
    /// The token is for another audience.
    Audience,
    /// The token has expired, or never expires.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
}

impl TokenError {
    /// The reason, for the caller.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "The token is no JSON Web Token that can be verified here",
            Self::UnsupportedAlgorithm => "The token must be signed with RS256, RS384 or RS512",
            Self::UnknownKey => "The token is signed with an unknown key",
            Self::Algorithm => "The token's algorithm is not its key's",
            Self::Signature => "The token's signature is not valid",
            Self::Issuer => "The token is from another issuer",
            Self::Audience => "The token is for another audience",
            Self::Expired => "The token has expired",
            Self::NotYetValid => "The token is not valid yet",
        }
    }
}

/// Verifies the tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    audiences: Vec<String>,
    keys: HashMap<String, Key>,
}

#[derive(Debug)]
struct Key {
    public: DecodingKey,
    /// The only algorithm of the key, if it names one.
    algorithm: Option<Algorithm>,
}

impl Verifier {
    /// A verifier of tokens from `issuer` for any of `audiences`. It takes those of the `keys` that have an id and are RSA
    /// keys for signatures. An issuer may have other keys.
    pub fn new(issuer: impl Into<String>, audiences: Vec<String>, keys: &JwkSet) -> Self {
        let key = |jwk: &Jwk| Some((jwk.common.key_id.clone()?, Key::of(jwk)?));
        Self { issuer: issuer.into(), audiences, keys: keys.keys.iter().filter_map(key).collect() }
    }

    /// Verifies a token at `now`, in seconds since 1970, and returns its claims.
    ///
    /// # Errors
    /// The first check that the token fails.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        // RSA keys sign nothing else, and a public key must not pass as the secret of an HMAC.
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::UnsupportedAlgorithm);
        }
        let key = header.kid.and_then(|kid| self.keys.get(&kid)).ok_or(TokenError::UnknownKey)?;
        if key.algorithm.is_some_and(|only| only != header.alg) {
            return Err(TokenError::Algorithm);
        }
        let mut validation = Validation::new(header.alg);
        // `check` checks the claims instead of the library, because the time is given.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.public, &validation);
        let refused = |error: Error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            _ => TokenError::Malformed,
        };
        let claims = decoded.map_err(refused)?.claims;
        self.check(&claims, now as f64)?;
        Ok(claims)
    }

    fn check(&self, claims: &Claims, now: f64) -> Result<(), TokenError> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(TokenError::Issuer);
        }
        // Some issuers, Cognito among them, put the audience of an access token into client_id.
        let ours =
            |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|ours| ours == text));
        let for_us = match claims.get("aud").or_else(|| claims.get("client_id")) {
            Some(Value::Array(audiences)) => audiences.iter().any(ours),
            Some(audience) => ours(audience),
            None => false,
        };
        if !for_us {
            return Err(TokenError::Audience);
        }
        if claims.get("exp").and_then(Value::as_f64).is_none_or(|end| end + LEEWAY <= now) {
            return Err(TokenError::Expired);
        }
        // A start that is not a number may be in the future.
        let begun =
            |name| claims.get(name).is_none_or(|start| start.as_f64().is_some_and(|at| at - LEEWAY <= now));
        if begun("nbf") && begun("iat") { Ok(()) } else { Err(TokenError::NotYetValid) }
    }
}

impl Key {
    /// The key, if it verifies the tokens of an issuer.
    fn of(jwk: &Jwk) -> Option<Self> {
        let is_for_signatures =
            jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let algorithm = jwk.common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
        let is_supported = matches!(jwk.algorithm, AlgorithmParameters::RSA(_))
            && algorithm.is_none_or(|named| ALGORITHMS.contains(&named));
        let public = DecodingKey::from_jwk(jwk).ok()?;
        (is_for_signatures && is_supported).then_some(Self { public, algorithm })
    }
}

#[cfg(test)]
mod tests;
