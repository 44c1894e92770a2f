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
    /// The request is wrong, in one place or in several.
    #[error("{0}")]
    BadInput(Faults),
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
    /// The body is of a kind that is not read here.
    #[error("{field}: {detail}")]
    UnsupportedMedia {
        /// The header that says so.
        field: &'static str,
        /// The fault, and what is allowed.
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

/// The content that an activity has instead: named by its members, of which the first are enough.
fn other(members: &[String]) -> String {
    const MAX_NAMED: usize = 10;
    match members {
        [] => "other content".to_owned(),
        members => {
            let named: Vec<&str> = members.iter().take(MAX_NAMED).map(String::as_str).collect();
            format!("another {}{}", named.join(", "), if members.len() > MAX_NAMED { ", …" } else { "" })
        }
    }
}

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The parameter, header or member at fault, such as `limit` or `details.title`.
    pub field: String,
    /// The fault, and what is allowed, in words that follow the field's name.
    pub detail: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.detail)
    }
}

/// The faults of a request: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, in the order of the request.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// The field of the first one.
    pub fn field(&self) -> &str {
        self.0.first().map_or("", |fault| fault.field.as_str())
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "; " } else { "" })?;
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The most faults of one request that are told.
pub(crate) const MAX_FAULTS: usize = 20;

/// Gathers the faults of a request, so that all of them can be told at once.
#[derive(Debug, Default)]
pub struct FaultList {
    faults: Vec<Fault>,
    /// The first error that is no fault of the input.
    other: Option<Error>,
}

impl FaultList {
    /// The value of a result, whose error is added otherwise.
    pub fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Adds an error. A field that has a fault already gets no second one.
    pub fn add(&mut self, error: Error) {
        match error {
            Error::BadInput(Faults(faults)) => self.extend(faults),
            error => {
                self.other.get_or_insert(error);
            }
        }
    }

    /// Adds what another list has.
    pub fn add_all(&mut self, other: Self) {
        self.extend(other.faults);
        self.other = self.other.take().or(other.other);
    }

    /// Adds faults.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            if self.faults.len() < MAX_FAULTS && self.faults.iter().all(|known| known.field != fault.field) {
                self.faults.push(fault);
            }
        }
    }

    /// Ends the gathering with a value, which is there unless there are faults.
    ///
    /// # Errors
    /// As [`FaultList::end`].
    pub fn finish<T>(self, value: Option<T>) -> Result<T> {
        self.end()?;
        value.ok_or_else(|| Error::internal("no value and no fault"))
    }

    /// Ends the gathering.
    ///
    /// # Errors
    /// [`Error::BadInput`] of all faults, or the first other error.
    pub fn end(self) -> Result<()> {
        match self.other {
            Some(error) => Err(error),
            None if self.faults.is_empty() => Ok(()),
            None => Err(Error::BadInput(Faults(self.faults))),
        }
    }
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
        Self::BadInput(Faults(vec![Fault { field: field.into(), detail: detail.into() }]))
    }

    /// A [`Error::Conflict`], which names the members that differ.
    pub fn conflict(id: impl Display, members: &[String]) -> Self {
        let other = other(members);
        let detail = format!("{id} is recorded with {other}; another event needs another id");
        Self::Conflict { field: "id", detail }
    }

    /// A [`Error::IdTaken`], which names the members that differ, and the `owner` if there is one.
    pub fn id_taken(id: impl Display, members: &[String], owner: Option<impl Display>) -> Self {
        let owner = owner.map_or_else(String::new, |owner| format!(" ({owner})"));
        let other = other(members);
        let detail = format!(
            "{id} is recorded with {other} by another principal{owner}; another event needs another id, one that others \
             cannot guess"
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
            Self::BadInput(faults) => Self::BadInput(faults.clone()),
            Self::Query(error) => Self::Query(*error),
            Self::Unauthenticated(detail) => Self::Unauthenticated(detail),
            Self::Forbidden(forbidden) => Self::Forbidden(*forbidden),
            Self::NotFound(missing) => Self::NotFound(*missing),
            Self::Conflict { field, detail } => Self::Conflict { field, detail: detail.clone() },
            Self::IdTaken { field, detail } => Self::IdTaken { field, detail: detail.clone() },
            Self::TooLarge { field, detail } => Self::too_large(field, detail),
            Self::UnsupportedMedia { field, detail } => {
                Self::UnsupportedMedia { field, detail: detail.clone() }
            }
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
