//! The Lambda functions that record. The environment says which of them this is.

use domain::time::system_clock;
use lambda_runtime::{Error, run, service_fn};
use record_activity::{App, Forwarder, Ingress, to_stdout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let ingress = Ingress::from_environment()?;
    let (store, clock) = (lambda_support::start(env!("CARGO_CRATE_NAME")).await?, system_clock());
    let app = App::new(ingress, store, clock.clone(), fastrand::Rng::new(), to_stdout(clock));
    let app = app.with_forwarder(Forwarder::from_environment().await);
    run(service_fn(|event| record_activity::invoke(&app, event))).await
}
