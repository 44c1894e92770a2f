//! Measures the targets of the design, and prints one table.
//!
//! Requests and units are counted, so they are exact. Times are medians of runs that take turns, so that other load on
//! the machine affects all of them. A missed target does not change the exit status, because this is no test.

mod args;
mod batches;
mod cases;
mod data;
mod documents;
mod fairness;
mod graphql;
mod lambda;
mod load;
mod memory;
mod postgres;
mod queue;
mod reads;
mod report;
mod sizes;
mod startup;
mod stats;
mod subscribers;
mod tls;
mod writes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use harness::World;

use args::Args;
use data::Data;
use report::Report;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(report) => {
            println!("\n{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<Report> {
    let mut report = Report::of_this_machine()?;
    if let Some(gateway) = &args.live {
        Box::pin(fairness::measure(gateway, &mut report)).await?;
        Box::pin(subscribers::measure(gateway, &mut report)).await?;
        return Ok(report);
    }
    if let Some(gateway) = &args.queue {
        Box::pin(queue::measure(gateway, args.seconds, &mut report)).await?;
        return Ok(report);
    }
    if let Some(functions) = &args.documents {
        Box::pin(documents::measure(functions, &mut report)).await?;
        return Ok(report);
    }
    if let Some(functions) = &args.functions {
        sizes::measure(functions, &mut report)?;
        Box::pin(startup::measure(functions, &mut report)).await?;
        Box::pin(memory::measure(functions, &mut report)).await?;
    }
    Box::pin(writes::measure(&mut report)).await?;
    Box::pin(batches::measure(args.batched, &mut report)).await?;
    if args.activities == 0 {
        return Ok(report);
    }
    let data = Data::new(args.activities);
    let temporary = args.db_path.is_none().then(Database::temporary);
    let path = args.db_path.as_ref().or(temporary.as_ref().map(|database| &database.0));
    let mut world = World::embedded(path.map(PathBuf::as_path)).await?;
    load::load(&world, &data, &mut report).await?;
    let cases = cases::all(&world, &data).await?;
    let ours = reads::measure(&mut world, &cases, args.repetitions).await?;
    let postgres = match &args.postgres {
        Some(url) => Some(postgres::measure(url, &data, &cases, args.repetitions, &mut report).await?),
        None => None,
    };
    reads::print(&cases, &ours, postgres.as_deref(), &data, &mut report);
    graphql::measure_workspace(&mut world, &data, args.repetitions, &mut report).await?;
    world.stop().await;
    Box::pin(graphql::measure_company(args.repetitions, &mut report)).await?;
    drop(temporary);
    Ok(report)
}

/// A SQLite file that is deleted when this is dropped.
struct Database(PathBuf);

impl Database {
    fn temporary() -> Self {
        Self(std::env::temp_dir().join(format!("activity-log-bench-{}.db", std::process::id())))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            // A file that does not exist needs no deletion.
            std::fs::remove_file(path).ok();
        }
    }
}
