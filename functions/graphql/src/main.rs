//! The Lambda function graphql.

use lambda_http::{Error, lambda_runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = graphql::App::new(shell::start().await?);
    lambda_runtime::run(service_fn(|event| shell::serve(event, |request| graphql::handle(&app, request))))
        .await
}
