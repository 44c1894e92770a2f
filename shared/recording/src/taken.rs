//! Ids that were taken before: who took them, and what the sender of another event with the id is told.

use domain::activity::Activity;
use domain::event::InputEvent;
use domain::ids::WorkspaceId;
use domain::position::TimePosition;
use domain::provenance::RecordedBy;
use domain::{Error, Result};

use crate::{Call, Recorder};

/// The sender of the activity at a position; `None` when the log does not name one, as it did not from the beginning.
///
/// # Errors
/// As any read, retried until the deadline.
pub(crate) async fn owner(
    recorder: &Recorder,
    call: &Call,
    workspace: &WorkspaceId,
    position: &TimePosition,
) -> Result<Option<RecordedBy>> {
    let row = recorder.until_answered(call, || recorder.store.activity(workspace, position)).await?;
    Ok(row.and_then(|row| row.activity.recorded).map(|recorded| recorded.recorded_by))
}

/// The error of an event whose id names an activity with other content, which `owner` recorded.
pub(crate) fn conflict(event: &InputEvent, owner: Option<&RecordedBy>) -> Error {
    let Activity { workspace_id, id, recorded, .. } = &event.activity;
    let sender = recorded.as_ref().map(|recorded| &recorded.recorded_by);
    if let (Some(sender), Some(owner)) = (sender, owner)
        && sender != owner
    {
        tracing::warn!(workspace = %workspace_id, %id, %sender, %owner, "id taken by another principal");
        return Error::id_taken(id, Some(owner).filter(|_| event.sees_principals));
    }
    let detail = format!("{id} is recorded with other content; another event needs another id");
    Error::Conflict { field: "id", detail }
}
