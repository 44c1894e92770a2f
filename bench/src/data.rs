//! The activities of the measurements, which are the same in every run.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// The workspace of the activities.
pub(crate) const WORKSPACE: &str = "ws-bench";
/// Activities of an issue.
const ISSUE_ACTIVITIES: usize = 500;
/// Actors. One in ten is an agent.
const ACTORS: u64 = 40;
const ACTIONS: &[&str] = &[
    "issue.created",
    "issue.updated",
    "issue.reopened",
    "issue.closed",
    "comment.created",
    "issue.completed",
    "label.added",
    "attachment.added",
];
/// 2024-01-01T00:00:00Z, in microseconds.
const START: i64 = 1_704_067_200_000_000;
/// The year 2024, in microseconds.
const YEAR: i64 = 366 * 86_400 * 1_000_000;
const TEXT: &str = "Signing in fails with a blank page when the session has expired and the browser still holds the \
                    cookie of an older release. Seen on three accounts since Monday, always on the first attempt; \
                    the second one works. The trace shows a redirect that loses its query string; the \
                    redirect's target is the start page instead of the one asked for.";

/// Activities of one workspace, spread evenly over a year.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    /// The offset of the deepest page.
    pub(crate) depth: usize,
    /// The number of activities.
    pub(crate) len: usize,
}

/// One activity.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) issue: String,
    pub(crate) actor_type: &'static str,
    pub(crate) actor: String,
    pub(crate) action: &'static str,
    pub(crate) details: Value,
    pub(crate) created_at: String,
}

impl Data {
    pub(crate) fn new(depth: usize) -> Self {
        Self { depth, len: depth + 100 }
    }

    /// The activity with this index. The oldest is 0.
    pub(crate) fn row(&self, index: usize) -> Row {
        // The factor is odd, so that ids are unique. They are in no order, like random ids.
        let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let pick = |shift: u32, of: u64| (mixed >> shift) % of;
        let issue = pick(8, (self.len / ISSUE_ACTIVITIES).max(1) as u64);
        let actor = pick(24, ACTORS);
        let micros = START + (index as i64) * (YEAR / self.len as i64);
        let time: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        Row {
            id: format!("act-{mixed:016x}"),
            issue: format!("issue-{issue:04}"),
            actor_type: if actor % 10 == 0 { "agent" } else { "user" },
            actor: format!("actor-{actor:02}"),
            action: ACTIONS[pick(40, ACTIONS.len() as u64) as usize],
            details: json!({ "title": "Fix login bug", "identifier": format!("ISS-{issue}"), "text": TEXT }),
            created_at: time.to_rfc3339_opts(SecondsFormat::Micros, true),
        }
    }

    /// Activities in a slot of ten minutes.
    pub(crate) fn slot(&self) -> usize {
        self.len.div_ceil(366 * 144)
    }
}

impl Row {
    /// The event that records the activity.
    pub(crate) fn event(&self) -> Value {
        json!({
            "id": self.id, "workspace_id": WORKSPACE, "issue_id": self.issue, "actor_type": self.actor_type,
            "actor_id": self.actor, "action": self.action, "details": self.details, "created_at": self.created_at,
        })
    }
}
