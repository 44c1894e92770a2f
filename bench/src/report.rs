//! The table of the results.

use std::fmt;
use std::fs;

use crate::Result;

/// Lines of the table.
#[derive(Debug)]
pub(crate) struct Report(Vec<Line>);

/// The figures of one measurement.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) figures: String,
    /// The figures of PostgreSQL.
    pub(crate) postgres: String,
    pub(crate) target: String,
    pub(crate) met: Option<bool>,
}

impl Report {
    /// A table that names this machine and the day.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let mut report = Self(Vec::new());
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let cpu = field(&fs::read_to_string("/proc/cpuinfo")?, "model name").unwrap_or_default();
        let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse()?;
        let cores = std::thread::available_parallelism()?;
        report.note("machine", format!("{cpu}, {cores} cores, {:.0} GB of memory", kib as f64 / 1e6 * 1.024));
        report.note("date", chrono::Utc::now().format("%Y-%m-%d").to_string());
        Ok(report)
    }

    /// Adds a figure without a target.
    pub(crate) fn note(&mut self, what: impl Into<String>, figures: impl Into<String>) {
        self.add(Line { what: what.into(), figures: figures.into(), ..Line::default() });
    }

    /// Adds a figure with its target.
    pub(crate) fn check(
        &mut self,
        what: impl Into<String>,
        figures: impl Into<String>,
        target: impl Into<String>,
        met: bool,
    ) {
        let (what, figures, target) = (what.into(), figures.into(), target.into());
        self.add(Line { what, figures, target, met: Some(met), ..Line::default() });
    }

    /// Adds a line, and prints it as progress.
    pub(crate) fn add(&mut self, line: Line) {
        eprintln!("{}: {}", line.what, line.figures);
        self.0.push(line);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | Activity Log | PostgreSQL | target | |\n| --- | --- | --- | --- | --- |")?;
        for Line { what, figures, postgres, target, met } in &self.0 {
            let mark = match met {
                None => "",
                Some(true) => "PASS",
                Some(false) => "MISS",
            };
            writeln!(f, "| {what} | {figures} | {postgres} | {target} | {mark} |")?;
        }
        Ok(())
    }
}
