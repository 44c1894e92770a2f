//! The SDK client, with the time limits of an interactive service.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_http_client::{Builder, tls};

/// The client of a function: region, credentials and endpoint come from the environment.
pub async fn connect() -> Client {
    let config = tune(aws_config::defaults(BehaviorVersion::latest())).load().await;
    Client::new(&config)
}

/// Sets the transport, the retries and the time limits every client of ours has.
///
/// DynamoDB answers in single-digit milliseconds, so an attempt of 3 s is lost; four attempts and their pauses
/// end within 8 s, well before a function's time is up. The SDK's own defaults are a first pause of 1 s
/// and no read timeout.
pub fn tune(loader: ConfigLoader) -> ConfigLoader {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    loader
        .http_client(Builder::new().tls_provider(tls).build_https())
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
