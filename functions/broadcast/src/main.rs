//! The Lambda function broadcast.

use broadcast::{App, to_stdout};
use domain::time::system_clock;
use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use live_delivery::Dispatcher;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let dispatcher = Dispatcher::from_environment(lambda_support::start("broadcast").await?).await?;
    let app = App::new(dispatcher, to_stdout(system_clock()));
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| broadcast::invoke(&app, event))).await
}
