//! Verifies bearer tokens with an issuer's key set, as API Gateway's JWT authorizer does.
//!
//! Knows neither HTTP nor where the key set came from, so that it serves any issuer.

use std::collections::HashMap;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde_json::{Map, Value};

/// How far apart the issuer's clock and ours may be, in seconds.
pub const LEEWAY: f64 = 30.0;

/// What a verified token says.
pub type Claims = Map<String, Value>;

/// The scopes of a token: one string, or, from some issuers, a list.
pub fn scopes(claims: &Claims) -> impl Iterator<Item = &str> {
    let values = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    values.flat_map(|value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => text.split_ascii_whitespace().collect(),
        _ => Vec::new(),
    })
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no signed JWT, or uses an extension that we do not know.
    Malformed,
    /// It names no key, or one that is not in the key set; a newer key set may have it.
    UnknownKey,
    /// Its algorithm is not its key's.
    Algorithm,
    /// It was not signed with its key.
    Signature,
    /// It is another issuer's.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// Its time is over, or it has no end.
    Expired,
    /// Its time has not come.
    NotYetValid,
}

impl Refusal {
    /// The reason, for the caller.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "The token is no JSON Web Token that can be verified here",
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
    algorithm: Algorithm,
}

impl Verifier {
    /// A verifier of tokens from `issuer` for any of `audiences`. Of `keys` it takes those with an id that can
    /// check a signature of a kind it knows; an issuer may have others.
    pub fn new(issuer: impl Into<String>, audiences: Vec<String>, keys: &JwkSet) -> Self {
        let key = |jwk: &Jwk| {
            let key = Key { public: DecodingKey::from_jwk(jwk).ok()?, algorithm: algorithm(jwk)? };
            Some((jwk.common.key_id.clone()?, key))
        };
        Self { issuer: issuer.into(), audiences, keys: keys.keys.iter().filter_map(key).collect() }
    }

    /// Checks a token at the time `now`, in seconds since 1970, and says what it claims.
    ///
    /// # Errors
    /// Why the token is not to be trusted.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let key = header.kid.and_then(|kid| self.keys.get(&kid)).ok_or(Refusal::UnknownKey)?;
        // The key decides, never the token: otherwise a public key would pass as the secret of an HMAC.
        if header.alg != key.algorithm {
            return Err(Refusal::Algorithm);
        }
        let mut validation = Validation::new(key.algorithm);
        // What the library would check of the claims is checked below, by the given time.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.public, &validation);
        let refusal = |error: Error| match error.kind() {
            ErrorKind::InvalidSignature => Refusal::Signature,
            _ => Refusal::Malformed,
        };
        let claims = decoded.map_err(refusal)?.claims;
        self.check(&claims, now as f64)?;
        Ok(claims)
    }

    fn check(&self, claims: &Claims, now: f64) -> Result<(), Refusal> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refusal::Issuer);
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
            return Err(Refusal::Audience);
        }
        if claims.get("exp").and_then(Value::as_f64).is_none_or(|end| end + LEEWAY <= now) {
            return Err(Refusal::Expired);
        }
        // A start that is no number is not known to be past.
        let begun =
            |name| claims.get(name).is_none_or(|start| start.as_f64().is_some_and(|at| at - LEEWAY <= now));
        if begun("nbf") && begun("iat") { Ok(()) } else { Err(Refusal::NotYetValid) }
    }
}

/// The one algorithm a key is for: the one it names, or else the usual one of its kind.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let named = jwk.common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
    let only = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => {
            let named = named.unwrap_or(Algorithm::RS256);
            return (named.family() == AlgorithmFamily::Rsa).then_some(named);
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Algorithm::ES384,
        AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
        // A shared secret is nothing to publish, whatever a key set says.
        _ => return None,
    };
    named.is_none_or(|named| named == only).then_some(only)
}

#[cfg(test)]
mod tests;
