//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures Activity Log, and prints one table.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Offset of the deepest page; loads 100 activities more; 0 skips the reads
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) activities: usize,
    /// Activities to record from batches
    #[arg(long, default_value_t = 300_000)]
    pub(crate) batched: usize,
    /// SQLite file of the embedded engine, kept for the next run [default: a temporary one]
    #[arg(long, value_name = "FILE")]
    pub(crate) db_path: Option<PathBuf>,
    /// PostgreSQL to load with the same rows and compare with
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
    /// Directory of release-built functions and of `bare`, to measure their size and start
    #[arg(long, value_name = "DIR")]
    pub(crate) functions: Option<PathBuf>,
    /// Release-built gateway to measure subscriptions with, and nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) live: Option<PathBuf>,
    /// Release-built gateway to measure a quiet producer's queue with, beside poison and a busy producer, and nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) queue: Option<PathBuf>,
    /// Seconds of each measurement of the queue
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Directory of built functions, to measure the memory of their largest reads with, and nothing else
    #[arg(long, value_name = "DIR")]
    pub(crate) documents: Option<PathBuf>,
    /// Number of times each read is timed
    #[arg(long, default_value_t = 200)]
    pub(crate) repetitions: usize,
}
