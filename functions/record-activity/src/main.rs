//! The Lambda function record-activity.

use lambda_runtime::{Error, run, service_fn};
use record_activity::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::new(shell::start().await?, shared::time::system_clock(), fastrand::Rng::new());
    run(service_fn(|event| record_activity::invoke(&app, event))).await
}
