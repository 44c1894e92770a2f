//! The Lambda function list-issue-activity.

use lambda_http::{Error, lambda_runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = lambda_support::start("list_issue_activity").await?;
    lambda_runtime::run(service_fn(|event| {
        lambda_support::serve(event, |request| list_issue_activity::handle(&store, request))
    }))
    .await
}
