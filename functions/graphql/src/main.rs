//! The Lambda function graphql.

use graphql_api::App;
use lambda_http::{Error, lambda_runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::new(lambda_support::start("graphql").await?);
    lambda_runtime::run(service_fn(|event| {
        lambda_support::serve(event, |request| graphql::handle(&app, request))
    }))
    .await
}
