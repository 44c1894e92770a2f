//! The issuer's key set, found through its OpenID configuration, as API Gateway finds it.

use std::env;
use std::time::Duration;

use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use domain::error::Source;
use domain::time::system_clock;
use domain::{Error, Result};
use jsonwebtoken::jwk::JwkSet;
use lambda_support::MetricLine;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::verify::{Claims, TokenError, Verifier};

/// Age at which a key set is fetched again, in seconds.
const REFRESH_SECONDS: i64 = 3600;
/// Age up to which a key set is used while the issuer does not answer, in seconds. A withdrawn key works at most that long,
/// as it does with API Gateway's authorizers.
const MAX_AGE_SECONDS: i64 = 2 * 3600;
/// Age up to which a key set is not fetched again for a token with an unknown key, in seconds. Such tokens therefore cause
/// few requests.
const UNKNOWN_KEY_SECONDS: i64 = 30;
/// Time after a failed fetch in which there is no other, in seconds. Clients that reconnect because of the failure
/// therefore cause few requests.
const RETRY_SECONDS: i64 = 10;
/// Time for one answer of the issuer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// How requests name this program, because some issuers refuse those that name none.
const USER_AGENT: &str = concat!("activity-log/", env!("CARGO_PKG_VERSION"));

/// Takes the reason of each failed fetch.
pub type FailureSink = Box<dyn Fn(&Source) + Send + Sync>;

/// The key set that verifies tokens, which is fetched when it is first needed and when it is old.
pub struct KeySet {
    /// `None` when the keys are fixed.
    issuer: Option<Issuer>,
    state: Mutex<State>,
}

struct Issuer {
    url: String,
    audiences: Vec<String>,
    connector: Connector,
    failures: FailureSink,
}

/// The result of the fetches so far. Times are in seconds since 1970.
#[derive(Default)]
struct State {
    keys: Option<Verifier>,
    fetched_at: i64,
    /// When the last fetch failed, unless it succeeded.
    failed_at: Option<i64>,
}

impl KeySet {
    /// A key set that never changes.
    pub fn fixed(verifier: Verifier) -> Self {
        Self { issuer: None, state: Mutex::new(State { keys: Some(verifier), ..State::default() }) }
    }

    /// The key set of the issuer at `url`, whose tokens may be for any of `audiences`.
    pub fn of_issuer(url: String, audiences: Vec<String>, failures: FailureSink) -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let connector = Connector::builder().tls_provider(tls).build();
        let issuer = Some(Issuer { url, audiences, connector, failures });
        Self { issuer, state: Mutex::default() }
    }

    /// The key set of the issuer at `JWT_ISSUER`, with the audiences in `JWT_AUDIENCE`, separated by commas. Each failed
    /// fetch is a line of the log, with a metric.
    ///
    /// # Errors
    /// The name of a variable that is not set.
    pub fn from_environment() -> Result<Self, &'static str> {
        let url = env::var("JWT_ISSUER").map_err(|_| "JWT_ISSUER must be the issuer's URL")?;
        let audiences = env::var("JWT_AUDIENCE").map_err(|_| "JWT_AUDIENCE must name the audiences")?;
        let audiences = audiences.split(',').map(|name| name.trim().to_owned()).collect();
        let clock = system_clock();
        Ok(Self::of_issuer(url, audiences, Box::new(move |error| failure_line(error).write(clock()))))
    }

    /// Verifies a token at `now`, in seconds since 1970, and returns its claims.
    ///
    /// # Errors
    /// The outer [`Error::Unavailable`] when the issuer's keys cannot be had. The inner error when the token is invalid.
    pub async fn verify(&self, token: &str, now: i64) -> Result<Result<Claims, TokenError>> {
        let mut state = self.state.lock().await;
        let verified = state.keys.as_ref().map(|keys| keys.verify(token, now));
        let Some(issuer) = &self.issuer else {
            return verified.ok_or_else(|| Error::internal("there are no keys"));
        };
        let age = now - state.fetched_at;
        if let Some(verified) = &verified {
            // The issuer may have a new key since it was last asked.
            let is_unknown = *verified == Err(TokenError::UnknownKey);
            if age < if is_unknown { UNKNOWN_KEY_SECONDS } else { REFRESH_SECONDS } {
                return Ok(verified.clone());
            }
        }
        let has_just_failed = state.failed_at.is_some_and(|failed_at| now - failed_at < RETRY_SECONDS);
        if !has_just_failed {
            match issuer.fetch().await {
                Ok(keys) => {
                    let verified = keys.verify(token, now);
                    *state = State { keys: Some(keys), fetched_at: now, failed_at: None };
                    return Ok(verified);
                }
                Err(error) => {
                    (issuer.failures)(&error);
                    state.failed_at = Some(now);
                }
            }
        }
        // The last keys serve for a while, because otherwise nobody could connect.
        verified
            .filter(|verified| age < MAX_AGE_SECONDS && *verified != Err(TokenError::UnknownKey))
            .ok_or_else(|| Error::Unavailable("the token issuer's keys cannot be had".into()))
    }
}

/// The line of the log for a failed fetch, with its metric.
fn failure_line(error: &Source) -> MetricLine {
    MetricLine {
        level: "ERROR",
        message: "failed to fetch the issuer's keys",
        dimensions: Vec::new(),
        counts: vec![("KeyFetchFailures", 1)],
        fields: Map::from_iter([("error".to_owned(), error.to_string().into())]),
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
        request.headers_mut().insert("user-agent", USER_AGENT);
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

#[cfg(test)]
mod tests;
