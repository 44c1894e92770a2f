//! The Lambda function subscriptions.

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use live_delivery::Dispatcher;
use subscriptions::{App, KeySet};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let dispatcher = Dispatcher::from_environment(lambda_support::start("subscriptions").await?).await?;
    let app = App::new(dispatcher, KeySet::from_environment()?);
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| subscriptions::invoke(&app, event))).await
}
