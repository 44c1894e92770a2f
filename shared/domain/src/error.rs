//! What can go wrong, in the domain's words. [`crate::problem`] turns these into HTTP.

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an [`Error`] that is not the caller's, kept whole for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error, sorted by what the caller can do about it.
///
/// The texts of the first seven are shown to callers. The sources of the last three are only logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong: `field` names what is at fault, `detail` says what is allowed.
    #[error("{field}: {detail}")]
    BadInput {
        /// The parameter, header or member at fault, such as `limit` or `details.title`.
        field: String,
        /// What was wrong and what is allowed.
        detail: String,
    },
    /// The request carries no valid token.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is known but may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// What the request names does not exist.
    #[error("{0}")]
    NotFound(&'static str),
    /// The id names an activity with other content.
    #[error("{field}: {detail}")]
    Conflict {
        /// The member at fault, always `id`.
        field: &'static str,
        /// Which id, and what to do.
        detail: String,
    },
    /// The body or one of its events exceeds a limit.
    #[error("{field}: {detail}")]
    TooLarge {
        /// What is too large.
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

impl Error {
    /// A [`Error::BadInput`] of `field`.
    pub fn bad_input(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::BadInput { field: field.into(), detail: detail.into() }
    }

    /// A [`Error::TooLarge`] of `field`.
    pub fn too_large(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::TooLarge { field: field.into(), detail: detail.into() }
    }

    /// A [`Error::Internal`] with its cause.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    /// Whether the fault is ours and not the caller's, so that the same may succeed later.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unavailable(_) | Self::Internal(_))
    }

    /// The same error once more, for the next of several events that failed together.
    pub fn same(&self) -> Self {
        let source = || Source::from(self.chain());
        match self {
            Self::BadInput { field, detail } => Self::bad_input(field, detail),
            Self::Unauthenticated(detail) => Self::Unauthenticated(detail),
            Self::Forbidden(detail) => Self::Forbidden(detail),
            Self::NotFound(detail) => Self::NotFound(detail),
            Self::Conflict { field, detail } => Self::Conflict { field, detail: detail.clone() },
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
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
