//! Everything that can go wrong, in the domain's words. Each API turns these into its own words and statuses.

use std::fmt::Display;

/// A result of this project's libraries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an [`Error`] that is not the caller's fault. The log shows it whole.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error, sorted by what the caller can do about it.
///
/// Callers see the texts of all variants but the last three, whose sources go to the log only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong: `field` names what is at fault, `detail` says what is allowed.
    #[error("{field}: {detail}")]
    BadInput {
        /// The parameter, header or member at fault, such as `limit` or `details.title`.
        field: String,
        /// The fault, and what is allowed.
        detail: String,
    },
    /// The request is well formed, but no feed can be read that way.
    #[error("{0}")]
    Query(#[from] QueryError),
    /// The request carries no valid token.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is known but may not do this.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// The request names something that does not exist.
    #[error("{0} not found")]
    NotFound(Missing),
    /// The id names an activity with other content.
    #[error("{field}: {detail}")]
    Conflict {
        /// The member at fault, always `id`.
        field: &'static str,
        /// Which id, and what to do.
        detail: String,
    },
    /// The id names an activity with other content, which another principal recorded.
    #[error("{field}: {detail}")]
    IdTaken {
        /// The member at fault, always `id`.
        field: &'static str,
        /// Which id, who has it if the caller may know that, and what to do.
        detail: String,
    },
    /// The body or one of its events exceeds a limit.
    #[error("{field}: {detail}")]
    TooLarge {
        /// The name of the part that is too large.
        field: String,
        /// The limit, with its unit.
        detail: String,
    },
    /// The table refused for capacity, or for contention, until the time ran out. Safe to retry.
    #[error("the log is busy")]
    Throttled(#[source] Source),
    /// The table could not be reached, or did not answer in time. Safe to retry.
    #[error("the log is unavailable")]
    Unavailable(#[source] Source),
    /// A fault of ours: stored data that does not decode, a permission missing.
    #[error("internal error")]
    Internal(#[source] Source),
}

/// Something that a request names and that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A workspace, or one of which the caller may not know that it exists.
    #[error("workspace")]
    Workspace,
    /// The workspace of an event to record.
    #[error("workspace of the event")]
    RecordedWorkspace,
    /// An organization.
    #[error("organization")]
    Organization,
    /// An activity.
    #[error("activity")]
    Activity,
}

/// Something that a caller may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Sending to the queue of what the recorders forward.
    #[error("not allowed to forward")]
    Forward,
    /// Read the feed of a workspace.
    #[error("the caller may not read this workspace")]
    ReadWorkspace,
    /// Read the feed of an organization.
    #[error("the caller may not read this organization")]
    ReadOrganization,
    /// Record activities.
    #[error("the caller may not record")]
    Record,
    /// Record for a workspace that the token is not granted.
    #[error("the caller's grants do not cover this workspace and its organization")]
    RecordThere,
    /// Record what changes the directory: workspaces and members.
    #[error("the caller may not record what changes workspaces or members")]
    ChangeDirectory,
}

/// Why a feed cannot be read as asked. The texts name no parameter, because each API has its own names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A total would take more reads than a request may make.
    #[error(
        "would read more of this feed than a request may; narrow it to a shorter time or fewer workspaces"
    )]
    TotalTooLarge,
    /// An offset would skip more activities than a request may read.
    #[error(
        "is too deep to be skipped by reading; follow the cursor of the page before instead, or narrow the feed to a \
         shorter time"
    )]
    SkipTooDeep,
    /// An offset needs a count within ten minutes that hold too many activities.
    #[error(
        "cannot be used with this range of time, whose ends cut into ten minutes of too many activities; move them to \
         full ten minutes"
    )]
    SkipWithinSlot,
    /// The feed would merge partitions of more workspaces than a request may read.
    #[error("must be one workspace: together, so many workspaces cannot be read like this")]
    TooManyWorkspaces,
    /// The caller may read more workspaces than one request checks.
    #[error("must be one workspace: these are too many to be checked together")]
    TooManyToCheck,
    /// A slug names several workspaces.
    #[error("is the slug of several workspaces; give the workspace's id")]
    AmbiguousWorkspace,
    /// A slug names several organizations.
    #[error("is the slug of several organizations; give the organization's id")]
    AmbiguousOrganization,
    /// A service, which may read everything, named neither a workspace nor an organization.
    #[error("must name a workspace or an organization, because this token may read all of them")]
    ScopeRequired,
    /// A journal no longer has everything that follows the position to resume after.
    #[error("is too old: the updates after it are no longer kept; read the list instead")]
    ResumeExpired,
}

impl Error {
    /// A [`Error::BadInput`] of `field`.
    pub fn bad_input(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::BadInput { field: field.into(), detail: detail.into() }
    }

    /// A [`Error::IdTaken`], which names the `owner` if there is one.
    pub fn id_taken(id: impl Display, owner: Option<impl Display>) -> Self {
        let owner = owner.map_or_else(String::new, |owner| format!(" ({owner})"));
        let detail = format!(
            "{id} is recorded with other content by another principal{owner}; another event needs another id, one that \
             others cannot guess"
        );
        Self::IdTaken { field: "id", detail }
    }

    /// A [`Error::TooLarge`] of `field`.
    pub fn too_large(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::TooLarge { field: field.into(), detail: detail.into() }
    }

    /// A [`Error::Internal`] with its cause.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    /// Whether the fault is ours and not the caller's, so that the same request may succeed later.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unavailable(_) | Self::Internal(_))
    }

    /// A copy of the error, for the next of several events that failed together.
    pub fn duplicate(&self) -> Self {
        let source = || Source::from(self.chain());
        match self {
            Self::BadInput { field, detail } => Self::bad_input(field, detail),
            Self::Query(error) => Self::Query(*error),
            Self::Unauthenticated(detail) => Self::Unauthenticated(detail),
            Self::Forbidden(forbidden) => Self::Forbidden(*forbidden),
            Self::NotFound(missing) => Self::NotFound(*missing),
            Self::Conflict { field, detail } => Self::Conflict { field, detail: detail.clone() },
            Self::IdTaken { field, detail } => Self::IdTaken { field, detail: detail.clone() },
            Self::TooLarge { field, detail } => Self::too_large(field, detail),
            Self::Throttled(_) => Self::Throttled(source()),
            Self::Unavailable(_) => Self::Unavailable(source()),
            Self::Internal(_) => Self::Internal(source()),
        }
    }

    /// The error with all its causes, for the log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        // A transparent wrapper would repeat its own text as its cause.
        if matches!(self, Self::Query(_)) {
            cause = None;
        }
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
