//! The Lambda function subscriptions.

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use subscriptions::{App, Keys};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = shell::start().await?;
    let app = App::new(live::start(store).await?, Keys::from_environment()?);
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| subscriptions::invoke(&app, event))).await
}
