use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, crypto};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde_json::json;

use super::*;

const ISSUER: &str = "https://issuer.example";
const NOW: i64 = 1_750_000_000;

/// An issuer's private key.
static PRIVATE: LazyLock<EncodingKey> = LazyLock::new(new_key);

fn new_key() -> EncodingKey {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes())
}

/// The public key of `private`, with `more` members.
fn jwk(private: &EncodingKey, more: Value) -> Value {
    let mut key = serde_json::to_value(Jwk::from_encoding_key(private, Algorithm::RS256).unwrap()).unwrap();
    let members = key.as_object_mut().unwrap();
    members.remove("alg");
    members.insert("kid".into(), json!("rsa-1"));
    members.extend(more.as_object().unwrap().clone());
    key
}

fn key_set(more: Value) -> JwkSet {
    serde_json::from_value(json!({ "keys": [jwk(&PRIVATE, more)] })).unwrap()
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    Verifier::new(ISSUER, vec!["activity-log".into()], &key_set(json!({}))).verify(token, NOW)
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "activity-log", "sub": "ada", "exp": NOW + 600, "iat": NOW, "nbf": NOW })
}

fn header() -> Value {
    json!({ "alg": "RS256", "kid": "rsa-1" })
}

fn signed(header: &Value, claims: &Value) -> String {
    signed_with(&PRIVATE, Algorithm::RS256, header, claims)
}

/// A token signed with `algorithm`, whatever its header says.
fn signed_with(key: &EncodingKey, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    format!("{message}.{}", crypto::sign(message.as_bytes(), key, algorithm).unwrap())
}

/// The result for a token whose claim `name` is `value`; null removes the claim.
fn with_claim(name: &str, value: Value) -> Result<(), TokenError> {
    let mut claims = claims();
    claims[name] = value;
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    verify(&signed(&header(), &claims)).map(|_| ())
}

#[test]
fn valid_token_yields_its_claims() {
    let read = verify(&signed(&header(), &claims())).unwrap();
    assert_eq!(Value::Object(read), claims());
}

#[test]
fn times_are_checked_with_leeway() {
    for (name, value, expected) in [
        ("exp", json!(NOW - 29), Ok(())),
        ("exp", json!(NOW - 30), Err(TokenError::Expired)),
        ("exp", json!((NOW - 31) as f64 + 0.5), Err(TokenError::Expired)),
        ("exp", json!(-1), Err(TokenError::Expired)),
        ("exp", json!("1900000000"), Err(TokenError::Expired)),
        ("exp", Value::Null, Err(TokenError::Expired)),
        ("nbf", json!(NOW + 30), Ok(())),
        ("nbf", json!(NOW + 31), Err(TokenError::NotYetValid)),
        ("nbf", json!("soon"), Err(TokenError::NotYetValid)),
        ("nbf", Value::Null, Ok(())),
        ("iat", json!(NOW + 31), Err(TokenError::NotYetValid)),
        ("iat", Value::Null, Ok(())),
    ] {
        assert_eq!(with_claim(name, value.clone()), expected, "{name} {value}");
    }
}

#[test]
fn issuer_and_audience_must_be_ours() {
    for (name, value, expected) in [
        ("iss", json!("https://issuer.example/"), Err(TokenError::Issuer)),
        ("iss", json!(["https://issuer.example"]), Err(TokenError::Issuer)),
        ("iss", Value::Null, Err(TokenError::Issuer)),
        ("aud", json!(["other", "activity-log"]), Ok(())),
        ("aud", json!("other"), Err(TokenError::Audience)),
        ("aud", json!("activity-log "), Err(TokenError::Audience)),
        ("aud", json!([]), Err(TokenError::Audience)),
        ("aud", json!({ "activity-log": true }), Err(TokenError::Audience)),
        ("aud", Value::Null, Err(TokenError::Audience)),
    ] {
        assert_eq!(with_claim(name, value.clone()), expected, "{name} {value}");
    }
    let mut claims = claims();
    claims["client_id"] = json!("activity-log");
    claims["aud"] = json!("other");
    assert_eq!(verify(&signed(&header(), &claims)), Err(TokenError::Audience), "aud goes first");
    claims.as_object_mut().unwrap().remove("aud");
    assert!(verify(&signed(&header(), &claims)).is_ok());
}

#[test]
fn only_rs256_to_rs512_are_supported() {
    let claims = claims();
    let verify = |algorithm: Algorithm, name: &str, key: Value| {
        let token = signed_with(&PRIVATE, algorithm, &json!({ "alg": name, "kid": "rsa-1" }), &claims);
        Verifier::new(ISSUER, vec!["activity-log".into()], &key_set(key)).verify(&token, NOW).map(|_| ())
    };
    for (algorithm, name) in
        [(Algorithm::RS256, "RS256"), (Algorithm::RS384, "RS384"), (Algorithm::RS512, "RS512")]
    {
        assert_eq!(verify(algorithm, name, json!({})), Ok(()), "{name}");
        assert_eq!(verify(algorithm, name, json!({ "alg": name })), Ok(()), "{name}");
        let other = if name == "RS256" { "RS512" } else { "RS256" };
        assert_eq!(verify(algorithm, name, json!({ "alg": other })), Err(TokenError::Algorithm), "{name}");
        assert_eq!(verify(algorithm, other, json!({})), Err(TokenError::Signature), "{name}");
    }
    // API Gateway takes no PSS, and no other kind of key.
    for (algorithm, name) in
        [(Algorithm::PS256, "PS256"), (Algorithm::PS384, "PS384"), (Algorithm::PS512, "PS512")]
    {
        for key in [json!({}), json!({ "alg": name })] {
            assert_eq!(verify(algorithm, name, key), Err(TokenError::UnsupportedAlgorithm), "{name}");
        }
    }
    for name in ["ES256", "ES384", "EdDSA", "HS256"] {
        let result = verify(Algorithm::RS256, name, json!({}));
        assert_eq!(result, Err(TokenError::UnsupportedAlgorithm), "{name}");
    }
    for name in ["none", "ES512"] {
        assert_eq!(verify(Algorithm::RS256, name, json!({})), Err(TokenError::Malformed), "{name}");
    }
}

#[test]
fn public_key_is_no_secret() {
    let key = jwk(&PRIVATE, json!({}));
    let modulus = key["n"].as_str().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(modulus).unwrap();
    for secret in [modulus.as_bytes(), &bytes, key.to_string().as_bytes()] {
        let header = Header { kid: Some("rsa-1".into()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(verify(&token), Err(TokenError::UnsupportedAlgorithm));
    }
}

#[test]
fn unknown_key_is_refused() {
    let other = signed(&json!({ "alg": "RS256", "kid": "rsa-2" }), &claims());
    assert_eq!(verify(&other), Err(TokenError::UnknownKey));
    assert_eq!(verify(&signed(&json!({ "alg": "RS256" }), &claims())), Err(TokenError::UnknownKey));
}

#[test]
fn key_inside_token_is_ignored() {
    let own = new_key();
    let header = json!({ "alg": "RS256", "kid": "rsa-1", "jwk": jwk(&own, json!({})) });
    let token = signed_with(&own, Algorithm::RS256, &header, &claims());
    assert_eq!(verify(&token), Err(TokenError::Signature));
}

#[test]
fn changed_token_is_refused() {
    let token = signed(&header(), &claims());
    let mut parts = token.split('.');
    let (head, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let mut other = claims();
    other["sub"] = json!("grace");
    let other = URL_SAFE_NO_PAD.encode(other.to_string());
    assert_eq!(verify(&format!("{head}.{other}.{signature}")), Err(TokenError::Signature));
    let longer = URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "kid": "rsa-1", "x": 1 }).to_string());
    assert_eq!(verify(&format!("{longer}.{payload}.{signature}")), Err(TokenError::Signature));
    let swapped: String = signature.chars().rev().collect();
    assert!(verify(&format!("{head}.{payload}.{swapped}")).is_err());
}

#[test]
fn garbage_is_refused() {
    let token = signed(&header(), &claims());
    let critical = json!({ "alg": "RS256", "kid": "rsa-1", "crit": ["b64"], "b64": false });
    for garbage in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "Bearer",
        &token[1..],
        &format!("{token}."),
        &format!("{token}=="),
        &format!(" {token}"),
        &token.replace('.', ","),
        &"a.".repeat(10_000),
        &signed(&critical, &claims()),
        &signed(&header(), &json!("text")),
        &signed(&header(), &json!([1])),
    ] {
        assert_eq!(verify(garbage).map(|_| ()), Err(TokenError::Malformed), "{garbage}");
    }
}

#[test]
fn unusable_keys_are_ignored() {
    let token = signed(&header(), &claims());
    let with = |more: Value| {
        Verifier::new(ISSUER, vec!["activity-log".into()], &key_set(more)).verify(&token, NOW).map(|_| ())
    };
    assert_eq!(with(json!({ "use": "sig", "alg": "RS256" })), Ok(()));
    for more in [
        json!({ "use": "enc" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "unheard-of" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "unheard-of" }),
        json!({ "kid": null }),
    ] {
        assert_eq!(with(more.clone()), Err(TokenError::UnknownKey), "{more}");
    }
}

/// OpenSSL made the key and the token.
#[test]
fn token_of_openssl_is_verified() {
    let n = "uR-_lGJW2EJ9GGYyf4QyEg0dMHu2JWs8PyT_wue-ZQCXryUM9L3fiCyqjXe9iZmIS2cGIK94lnFvUSI4KQmF60jgzsBhh2i9u9Qa\
             Ol4qSZr_j4xaplTlaEoKYtknOUe3ISVuJjca6NSP8Oj6983Qaqa8tbhyuHgdWhGofSWwObg8oSHjL6I3OeoywwMCHTD_2LQAgEMH\
             g9ecaEpds1IC0dcftMw2y561Ir8babLD03FDBpAXzRKBeUOHMfqiCbhoWuCzLCSpnSZdc7vWxsLOCETQoiGv9uuoowqaWcKKGmmH\
             HWsIHwH2tvbWMa7M_WrqjnPeFCkqBOAVL7axvw7yYQ";
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiYWN0\
                 aXZpdHktbG9nIiwic3ViIjoiYWRhIiwiZXhwIjoxNzUwMDAwNjAwfQ.kC6Kj_SP5SB_BcBZgzeqg81jwgLpjSW_Cy_nZscS6\
                 Wg38QoYzO2fPmsHR0Rw97SYHGaoGQP0IOD10sXQKwnOmIdb_0JRMjqe124Fb0JypgD3lnPlvcRdhFg3Xz3WXBSlJUwZT-f_C\
                 Hwmn5FZOtSn4IbPtSxbsQj7G658V947QKcVB05SDDr5NwRJSjYu2xdR2vC0DgxooZxebsYYVigE7L0z_Y_CVSt4tcguAES0T\
                 6LSCRsORncIanP89WZaqBw4PMkd7_5NABk4RSrRjlHIf73mjyb14LBW51YH-k6tmtHOY1vv8JYTHSuikJvzW4YHk76r5PM4U\
                 d2c3-REVtGC_g";
    let verify = |more: Value, token: &str| {
        let mut key = json!({ "kty": "RSA", "kid": "rsa-1", "n": n, "e": "AQAB" });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let keys = serde_json::from_value(json!({ "keys": [key] })).unwrap();
        Verifier::new(ISSUER, vec!["activity-log".into()], &keys).verify(token, NOW).map(|_| ())
    };
    assert_eq!(verify(json!({}), token), Ok(()));
    assert_eq!(verify(json!({}), &token.replace("eyJpc3Mi", "eyJJc3Mi")), Err(TokenError::Signature));
}
