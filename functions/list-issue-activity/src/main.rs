//! The Lambda function list-issue-activity.

use lambda_http::{Error, lambda_runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = shell::start().await?;
    lambda_runtime::run(service_fn(|event| {
        shell::serve(event, |request| list_issue_activity::handle(&store, request))
    }))
    .await
}
