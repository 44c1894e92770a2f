//! The Lambda function broadcast.

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = shell::start().await?;
    let teller = live::start(store).await?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| broadcast::invoke(&teller, event))).await
}
