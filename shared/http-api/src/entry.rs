//! Activities as entries of the REST API.

use domain::activity::Activity;
use domain::provenance::RecordedBy;
use domain::time::Timestamp;
use domain::{Error, Result};
use serde::Serialize;

use crate::response_size;

/// An activity, and when and by whom it was recorded.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActivityEntry {
    /// The activity.
    #[serde(flatten)]
    activity: Activity,
    /// When it was recorded, in the form of `created_at`. A list has it with `include=provenance` only, and a single
    /// activity always; for owners, admins and tokens with `activity:read`. Activities recorded before provenance was kept
    /// have none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_at: Option<Timestamp>,
    /// The sender, and the way it came in: wherever there is a `recorded_at`.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_by: Option<RecordedBy>,
}

impl From<Activity> for ActivityEntry {
    /// The entry of an activity, from which the provenance was taken unless the reader may see it.
    fn from(mut activity: Activity) -> Self {
        let recorded = activity.recorded.take();
        let (recorded_at, recorded_by) =
            recorded.map(|recorded| (recorded.recorded_at, recorded.recorded_by)).unzip();
        Self { activity, recorded_at, recorded_by }
    }
}

/// The JSON of an activity, and its size in a response.
pub(crate) fn plain(activity: Activity) -> Result<(String, usize)> {
    serialize(&activity)
}

/// The same with when and by whom it was recorded, as far as the activity still says it.
pub(crate) fn with_provenance(activity: Activity) -> Result<(String, usize)> {
    serialize(&ActivityEntry::from(activity))
}

fn serialize(entry: &impl Serialize) -> Result<(String, usize)> {
    let text = serde_json::to_string(entry).map_err(Error::internal)?;
    let size = response_size::of_text(&text);
    Ok((text, size))
}
