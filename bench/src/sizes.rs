//! The sizes of the functions, which a cold start has to fetch.

use std::path::Path;

use crate::Result;
use crate::report::Report;

/// The largest size of a listing function, in MB.
const MAX_LISTING_MB: f64 = 6.0;

pub(crate) fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    for name in ["list-workspace-activity", "list-issue-activity", "record-activity", "graphql", "bare"] {
        let path = directory.join(name);
        let size =
            path.metadata().map_err(|error| format!("{}: {error}", path.display()))?.len() as f64 / 1e6;
        let (what, figures) = (format!("size of {name}"), format!("{size:.2} MB"));
        if name.starts_with("list-") {
            report.check(what, figures, format!("≤ {MAX_LISTING_MB} MB"), size <= MAX_LISTING_MB);
        } else {
            report.note(what, figures);
        }
    }
    Ok(())
}
