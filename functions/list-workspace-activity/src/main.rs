//! The Lambda function list-workspace-activity.

use lambda_http::{Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = shell::start().await?;
    run(service_fn(|request| list_workspace_activity::handle(&store, request))).await
}
