//! The SDK client, with the time limits of an interactive service.

use std::env;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, Config, SharedHttpClient};
use aws_smithy_http_client::tls;

/// The client of a function: region, credentials and endpoint are those of its environment.
///
/// Lambda puts them there and nowhere else. The SDK's whole search, through profiles, tokens and metadata services,
/// would find the same, and weigh 0.8 MB.
pub async fn connect() -> Client {
    let mut config = config().credentials_provider(EnvironmentVariableCredentialsProvider::new());
    config.set_region(EnvironmentVariableRegionProvider::new().region().await);
    config.set_endpoint_url(endpoint_url("AWS_ENDPOINT_URL_DYNAMODB"));
    Client::from_conf(config.build())
}

/// The endpoint of a service that the environment names, in a variable of the service or in that of all services. Without
/// one, the SDK has the service's own.
pub fn endpoint_url(variable: &str) -> Option<String> {
    let mut endpoints = [variable, "AWS_ENDPOINT_URL"].into_iter().flat_map(env::var);
    endpoints.find(|url| !url.is_empty())
}

/// The transport of all our clients, with the only TLS provider that is compiled in.
pub fn https() -> SharedHttpClient {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(tls).build_https()
}

/// The transport, the retries and the time limits of all our DynamoDB clients.
///
/// DynamoDB answers in single-digit milliseconds, so an attempt of 3 s is lost; four attempts and their pauses
/// end within 8 s, well before a function's time is up. The SDK's own defaults are a first pause of 1 s
/// and no read timeout.
pub fn config() -> Builder {
    Config::builder()
        .behavior_version_latest()
        .http_client(https())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(4)
                .with_initial_backoff(Duration::from_millis(50))
                .with_max_backoff(Duration::from_secs(1)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .read_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(3))
                .operation_timeout(Duration::from_secs(8))
                .build(),
        )
}

/// The retries and the time limits for reading a whole table: nobody waits for a page, and a table that is read at full
/// speed may throttle for a while. Ten attempts that fail at once take 9 s at most.
pub(super) fn scan_config() -> Builder {
    let page = Duration::from_secs(60);
    Config::builder()
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(10)
                .with_initial_backoff(Duration::from_millis(50))
                .with_max_backoff(Duration::from_secs(2)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .read_timeout(page)
                .operation_attempt_timeout(page)
                .operation_timeout(10 * page)
                .build(),
        )
}
