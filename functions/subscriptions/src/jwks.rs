//! The issuer's key set, found through its OpenID configuration, as API Gateway finds it.

use std::env;
use std::time::Duration;

use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use domain::error::Source;
use domain::{Error, Result};
use jsonwebtoken::jwk::JwkSet;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::verify::{Claims, TokenError, Verifier};

/// Age at which a key set is fetched again.
const REFRESH_AGE: Duration = Duration::from_secs(3600);
/// Age up to which a key set is used while the issuer does not answer. A withdrawn key works at most that long, as it does
/// with API Gateway's authorizers.
const MAX_AGE: Duration = Duration::from_secs(2 * 3600);
/// Time between two requests for a key set while there is one. Tokens with unknown keys therefore cause few requests.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// Time for one answer of the issuer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// The key set that verifies tokens, which is fetched when it is first needed and when it is old.
pub struct KeySet {
    /// `None` when the keys are fixed.
    issuer: Option<Issuer>,
    current: Mutex<Option<Fetched>>,
}

struct Issuer {
    url: String,
    audiences: Vec<String>,
    connector: Connector,
}

struct Fetched {
    verifier: Verifier,
    fetched_at: Instant,
    /// When the issuer was last asked, whether it answered or not.
    asked_at: Instant,
}

impl Fetched {
    fn now(verifier: Verifier) -> Self {
        let now = Instant::now();
        Self { verifier, fetched_at: now, asked_at: now }
    }
}

impl KeySet {
    /// A key set that never changes.
    pub fn fixed(verifier: Verifier) -> Self {
        Self { issuer: None, current: Mutex::new(Some(Fetched::now(verifier))) }
    }

    /// The key set of the issuer at `url`, whose tokens may be for any of `audiences`.
    pub fn of_issuer(url: String, audiences: Vec<String>) -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let connector = Connector::builder().tls_provider(tls).build();
        Self { issuer: Some(Issuer { url, audiences, connector }), current: Mutex::new(None) }
    }

    /// The key set of the issuer at `JWT_ISSUER`, with the audiences in `JWT_AUDIENCE`, separated by commas.
    ///
    /// # Errors
    /// The name of a variable that is not set.
    pub fn from_environment() -> Result<Self, &'static str> {
        let url = env::var("JWT_ISSUER").map_err(|_| "JWT_ISSUER must be the issuer's URL")?;
        let audiences = env::var("JWT_AUDIENCE").map_err(|_| "JWT_AUDIENCE must name the audiences")?;
        Ok(Self::of_issuer(url, audiences.split(',').map(|name| name.trim().to_owned()).collect()))
    }

    /// Verifies a token at `now`, in seconds since 1970, and returns its claims.
    ///
    /// # Errors
    /// The outer [`Error::Unavailable`] when the issuer does not answer. The inner error when the token is invalid.
    pub async fn verify(&self, token: &str, now: i64) -> Result<Result<Claims, TokenError>> {
        let mut current = self.current.lock().await;
        let verified = current.as_ref().map(|current| current.verifier.verify(token, now));
        let Some(issuer) = &self.issuer else {
            return verified.ok_or_else(|| Error::internal("there are no keys"));
        };
        if let (Some(current), Some(verified)) = (&*current, &verified)
            && let Some(result) = without_fetching(current, verified)
        {
            return result;
        }
        match (issuer.fetch().await, &mut *current) {
            (Ok(verifier), current) => {
                let verified = verifier.verify(token, now);
                *current = Some(Fetched::now(verifier));
                Ok(verified)
            }
            // The last keys serve for a while, because otherwise nobody could connect.
            (Err(error), Some(current)) if current.fetched_at.elapsed() < MAX_AGE => {
                tracing::error!(%error, "failed to fetch the issuer's keys, kept the last ones");
                current.asked_at = Instant::now();
                match verified {
                    Some(verified) if verified != Err(TokenError::UnknownKey) => Ok(verified),
                    _ => Err(Error::Unavailable(error)),
                }
            }
            (Err(error), _) => Err(Error::Unavailable(error)),
        }
    }
}

/// The result of verifying a token if it stands without another request to the issuer.
fn without_fetching(
    current: &Fetched,
    verified: &Result<Claims, TokenError>,
) -> Option<Result<Result<Claims, TokenError>>> {
    let age = current.fetched_at.elapsed();
    let was_asked_recently = current.asked_at.elapsed() < MIN_FETCH_INTERVAL;
    if *verified == Err(TokenError::UnknownKey) {
        // The issuer may have a new key since it was last asked.
        let last_failed = current.asked_at > current.fetched_at;
        return was_asked_recently.then(|| match last_failed {
            true => Err(Error::Unavailable("the issuer did not answer".into())),
            false => Ok(verified.clone()),
        });
    }
    (age < REFRESH_AGE || was_asked_recently && age < MAX_AGE).then(|| Ok(verified.clone()))
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
        timeout(FETCH_TIMEOUT, answer).await.map_err(|_| format!("{url} did not answer"))?
    }
}
