//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures Activity Log, and prints one table.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// How deep the deepest page begins; one hundred activities more are loaded; 0 to leave reads out
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) activities: usize,
    /// How many activities are recorded from batches
    #[arg(long, default_value_t = 300_000)]
    pub(crate) batched: usize,
    /// SQLite file of the embedded engine, kept for the next run [default: a temporary one]
    #[arg(long, value_name = "FILE")]
    pub(crate) db_path: Option<PathBuf>,
    /// PostgreSQL to hold the same rows in, and compare with
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
    /// Directory of release-built functions, and of `bare`, to weigh and to start
    #[arg(long, value_name = "DIR")]
    pub(crate) functions: Option<PathBuf>,
    /// The release-built gateway, to watch; nothing else is measured then
    #[arg(long, value_name = "FILE")]
    pub(crate) live: Option<PathBuf>,
    /// How often each read is timed
    #[arg(long, default_value_t = 200)]
    pub(crate) repetitions: usize,
}
