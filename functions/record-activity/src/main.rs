//! The Lambda function record-activity.

use lambda_runtime::{Error, run, service_fn};
use record_activity::{App, to_stdout};
use shared::time::system_clock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (store, clock) = (shell::start().await?, system_clock());
    let app = App::new(store, clock.clone(), fastrand::Rng::new(), to_stdout(clock));
    run(service_fn(|event| record_activity::invoke(&app, event))).await
}
