//! `local verify`: checks a whole table.

use std::path::PathBuf;

use aws_sdk_dynamodb::Client;
use local::engine::{self, Engine};
use store::{Report, Store};

use crate::location::{LOG_TABLE, endpoint};

/// Variables that the environment needs for AWS: one of each list.
const ENVIRONMENT: [&[&str]; 3] =
    [&["AWS_ACCESS_KEY_ID"], &["AWS_SECRET_ACCESS_KEY"], &["AWS_REGION", "AWS_DEFAULT_REGION"]];

/// Check that everything in a table agrees with everything else, and change nothing
///
/// Prints a line for each fault and exits with status 1, or one line in all and status 0. Activities that are recorded
/// meanwhile look like faults: verify a table at rest, or a point-in-time restore of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    location: Location,
    /// The table
    #[arg(long, value_name = "NAME", default_value = LOG_TABLE)]
    table: String,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Location {
    /// In this SQLite file of the gateway, which must not be running
    #[arg(long, value_name = "FILE")]
    db_path: Option<PathBuf>,
    /// In this DynamoDB. https:// is taken for AWS, with the environment's credentials and region: AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN if there is one, AWS_REGION
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    dynamodb_endpoint: Option<String>,
}

/// Checks the table, and returns the lines to print and whether the table has no faults.
pub(crate) async fn run(args: &Args) -> Result<(String, bool), String> {
    let (engine, client, location) = match &args.location {
        Location { db_path: Some(path), .. } => {
            let engine = Engine::start_read_only(path).await?;
            let client = engine::client(engine.endpoint()).await;
            (Some(engine), client, path.display().to_string())
        }
        Location { dynamodb_endpoint, .. } => {
            let url = dynamodb_endpoint.clone().unwrap_or_default();
            (None, client(&url).await?, url)
        }
    };
    let report = Store::new(client, &args.table).verify().await;
    if let Some(engine) = engine {
        engine.stop().await;
    }
    let report = report
        .map_err(|error| format!("cannot read the table {} in {location}: {}", args.table, error.chain()))?;
    Ok((lines(&report), report.faults.is_empty()))
}

async fn client(url: &str) -> Result<Client, String> {
    if url.starts_with("http://") {
        let client = engine::client(url).await;
        engine::require_dynamodb(&client, url).await?;
        return Ok(client);
    }
    let missing = |names: &&[&str]| names.iter().all(|name| std::env::var_os(name).is_none());
    if let Some(names) = ENVIRONMENT.into_iter().find(missing) {
        return Err(format!("{url} needs {} in the environment", names.join(" or ")));
    }
    let client = store::connect().await;
    Ok(Client::from_conf(client.config().to_builder().endpoint_url(url).build()))
}

fn lines(report: &Report) -> String {
    if report.faults.is_empty() {
        let activities: usize = report.activities.values().map(Vec::len).sum();
        let workspaces = report.activities.len();
        return format!("activities {activities}, workspaces {workspaces}, faults 0\n");
    }
    report.faults.iter().map(|fault| format!("{fault}\n")).collect()
}
