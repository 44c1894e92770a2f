//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::location::endpoint;
use crate::verify_table;

/// Serves the Activity Log on this machine, with nothing else to install.
#[derive(Debug, Parser)]
#[command(name = "local", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// Keep the data in this SQLite file, instead of in memory
    #[arg(long, value_name = "FILE", conflicts_with = "dynamodb_endpoint")]
    pub(crate) db_path: Option<PathBuf>,
    /// Use this DynamoDB, such as DynamoDB Local, instead of the embedded one
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub(crate) dynamodb_endpoint: Option<String>,
    /// Do not record the demo workspace
    #[arg(long)]
    pub(crate) no_demo: bool,
    /// Deliver to subscribers as badly as Lambda may: batches twice, or killed half way, as this number has it
    #[arg(long, value_name = "SEED")]
    pub(crate) unreliable: Option<u64>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the REST API's OpenAPI document, and stop
    Openapi,
    Verify(verify_table::Args),
}
