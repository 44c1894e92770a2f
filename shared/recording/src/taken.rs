//! Ids that were taken before: who took them, and what the sender of another event with the id is told.

use domain::activity::Activity;
use domain::event::InputEvent;
use domain::ids::WorkspaceId;
use domain::position::TimePosition;
use domain::{Error, Result, fingerprint};

use crate::{Call, Recorder};

/// The activity at a position.
///
/// # Errors
/// As any read, retried until the deadline.
pub(crate) async fn stored(
    recorder: &Recorder,
    call: &Call,
    workspace: &WorkspaceId,
    position: &TimePosition,
) -> Result<Option<Activity>> {
    let row = recorder.until_answered(call, || recorder.store.activity(workspace, position)).await?;
    Ok(row.map(|row| row.activity))
}

/// The error of an event whose id names the activity `stored`, which has other content.
pub(crate) fn conflict(event: &InputEvent, stored: Option<&Activity>) -> Error {
    let Activity { workspace_id, id, recorded, .. } = &event.activity;
    let differences = stored.map(|stored| differences(event, stored)).unwrap_or_default();
    let sender = recorded.as_ref().map(|recorded| &recorded.recorded_by);
    // The log did not name senders from the beginning.
    let owner = stored.and_then(|stored| stored.recorded.as_ref()).map(|recorded| &recorded.recorded_by);
    if let (Some(sender), Some(owner)) = (sender, owner)
        && sender != owner
    {
        tracing::warn!(workspace = %workspace_id, %id, %sender, %owner, "id taken by another principal");
        return Error::id_taken(id, &differences, Some(owner).filter(|_| event.sees_principals));
    }
    Error::conflict(id, &differences)
}

/// The members in which an event differs from an activity. A time that the event does not have is no difference.
fn differences(event: &InputEvent, stored: &Activity) -> Vec<String> {
    let mut names = fingerprint::differences(&event.activity, stored);
    if event.timed && event.activity.created_at != stored.created_at {
        names.push("created_at".into());
    }
    names
}
