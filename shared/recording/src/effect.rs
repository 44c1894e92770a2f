//! Whether what an event says of workspaces and members holds once it is recorded.

use domain::Result;
use domain::activity::Activity;
use domain::directory::{self, EntryChange, Superseded};

use crate::{Call, Recorder, WriteOutcome};

/// The changes of an activity to fields that keep each value, of which another value may hold.
fn contestable(activity: &Activity) -> Vec<EntryChange> {
    let mut changes = directory::changes(activity);
    changes.iter_mut().for_each(|change| change.fields.retain(|change| change.beside_others));
    changes.retain(|change| !change.fields.is_empty());
    changes
}

/// For each of these recorded activities, whether something else holds than it says: read after they were recorded, and
/// only if any of them says something that can be contested. A value that was said later than a repeat holds as things go on;
/// that is not reported.
///
/// # Errors
/// As any read, retried until the deadline. The activities are recorded all the same.
pub(crate) async fn superseded(
    recorder: &Recorder,
    call: &Call,
    outcomes: &[&WriteOutcome],
) -> Result<Vec<Option<Superseded>>> {
    let changes: Vec<Vec<EntryChange>> =
        outcomes.iter().map(|outcome| contestable(outcome.activity())).collect();
    let mut entries: Vec<EntryChange> = Vec::new();
    for change in changes.iter().flatten() {
        if entries.iter().all(|other| other.entry != change.entry) {
            entries.push(change.clone());
        }
    }
    if entries.is_empty() {
        return Ok(vec![None; outcomes.len()]);
    }
    let held = recorder.until_answered(call, || recorder.store.held(&entries)).await?;
    let tolerance = recorder.store.tolerance();
    let other = |change: &EntryChange, is_repeat: bool| {
        change.fields.iter().find_map(|field| {
            let (value, at) = held.get(&(change.entry.clone(), field.field))?;
            let is_later = is_repeat && at.is_clearly_after(&field.at, tolerance);
            (*value != field.value && !is_later)
                .then(|| Superseded { by: at.id().clone(), send_again_after: at.clearly_later(tolerance) })
        })
    };
    let effects = changes.iter().zip(outcomes).map(|(changes, outcome)| {
        let is_repeat = matches!(outcome, WriteOutcome::Repeat(_));
        changes.iter().find_map(|change| other(change, is_repeat))
    });
    Ok(effects.collect())
}
