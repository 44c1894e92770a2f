//! The issuer's keys, found through its OpenID configuration, as API Gateway finds them.

use std::env;
use std::time::Duration;

use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use jsonwebtoken::jwk::JwkSet;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::error::Source;
use shared::{Error, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::verify::{Claims, Refusal, Verifier};

/// How long a key set is used before it is fetched again.
const FRESH: Duration = Duration::from_secs(3600);
/// How long a key set is used when it cannot be fetched again: so long a key that was withdrawn counts at the most. API
/// Gateway's authorizers keep keys for as long.
const STALE: Duration = Duration::from_secs(2 * 3600);
/// How long after a key set was asked for it is not asked for again while there is one: tokens with made-up keys ask for
/// nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for one answer of the issuer.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// What tokens are verified with.
pub struct Keys {
    /// `None` when the keys are known once and for all.
    issuer: Option<Issuer>,
    current: Mutex<Option<Current>>,
}

struct Issuer {
    url: String,
    audiences: Vec<String>,
    connector: Connector,
}

struct Current {
    verifier: Verifier,
    fetched: Instant,
    /// When it was last asked for, in vain or not.
    asked: Instant,
}

impl Current {
    fn new(verifier: Verifier) -> Self {
        let now = Instant::now();
        Self { verifier, fetched: now, asked: now }
    }
}

impl Keys {
    /// Keys that are known.
    pub fn known(verifier: Verifier) -> Self {
        Self { issuer: None, current: Mutex::new(Some(Current::new(verifier))) }
    }

    /// The keys of the issuer at `url`, whose tokens may be for any of `audiences`.
    pub fn of(url: String, audiences: Vec<String>) -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let connector = Connector::builder().tls_provider(tls).build();
        Self { issuer: Some(Issuer { url, audiences, connector }), current: Mutex::new(None) }
    }

    /// Those that `JWT_ISSUER` and `JWT_AUDIENCE` name; of audiences, several are separated by commas.
    ///
    /// # Errors
    /// When one of them is not set.
    pub fn from_environment() -> Result<Self, &'static str> {
        let url = env::var("JWT_ISSUER").map_err(|_| "JWT_ISSUER must be the issuer's URL")?;
        let audiences = env::var("JWT_AUDIENCE").map_err(|_| "JWT_AUDIENCE must name the audiences")?;
        Ok(Self::of(url, audiences.split(',').map(|name| name.trim().to_owned()).collect()))
    }

    /// Verifies a token at the time `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The outer one when the keys cannot be fetched, the inner one when the token is not to be trusted.
    pub async fn verify(&self, token: &str, now: i64) -> Result<Result<Claims, Refusal>> {
        let mut current = self.current.lock().await;
        let verified = current.as_ref().map(|current| current.verifier.verify(token, now));
        let Some(issuer) = &self.issuer else {
            return verified.ok_or_else(|| Error::internal("there are no keys"));
        };
        if let (Some(current), Some(verified)) = (&*current, &verified) {
            let (age, is_unknown) = (current.fetched.elapsed(), *verified == Err(Refusal::UnknownKey));
            let is_asked = current.asked.elapsed() < PATIENCE;
            let in_vain = current.asked > current.fetched;
            match is_unknown {
                // It may be a new one.
                true if is_asked && in_vain => {
                    return Err(Error::Unavailable("the issuer did not answer".into()));
                }
                true if is_asked => return Ok(verified.clone()),
                false if age < FRESH || is_asked && age < STALE => return Ok(verified.clone()),
                _ => {}
            }
        }
        match (issuer.fetch().await, &mut *current) {
            (Ok(verifier), current) => {
                let verified = verifier.verify(token, now);
                *current = Some(Current::new(verifier));
                Ok(verified)
            }
            // What was good an hour ago is better than nobody getting in, for a while.
            (Err(error), Some(current)) if current.fetched.elapsed() < STALE => {
                tracing::error!(%error, "the issuer's keys could not be fetched; the last ones are used");
                current.asked = Instant::now();
                match verified {
                    Some(verified) if verified != Err(Refusal::UnknownKey) => Ok(verified),
                    _ => Err(Error::Unavailable(error)),
                }
            }
            (Err(error), _) => Err(Error::Unavailable(error)),
        }
    }
}

impl Issuer {
    async fn fetch(&self) -> Result<Verifier, Source> {
        let base = self.url.trim_end_matches('/');
        let configuration: Value = self.get(&format!("{base}/.well-known/openid-configuration")).await?;
        let keys = configuration["jwks_uri"].as_str().ok_or("the issuer's configuration has no jwks_uri")?;
        let keys: JwkSet = self.get(keys).await?;
        Ok(Verifier::new(self.url.clone(), self.audiences.clone(), &keys))
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, Source> {
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(url)?;
        request.headers_mut().insert("accept", "application/json");
        let answer = async {
            let answer = self.connector.call(request).await.map_err(|error| format!("{url}: {error:?}"))?;
            if !answer.status().is_success() {
                return Err(format!("{url} answered with {}", answer.status().as_u16()).into());
            }
            let body = ByteStream::new(answer.into_body()).collect().await?.into_bytes();
            Ok::<_, Source>(serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))?)
        };
        tokio::time::timeout(TIME_LIMIT, answer).await.map_err(|_| format!("{url} did not answer"))?
    }
}
