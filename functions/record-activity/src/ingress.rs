//! The way in that a function serves. Each has a function of its own, so that IAM says who may use it, and a function
//! believes no other way's word for who sent an event.

use std::collections::HashSet;
use std::env;
use std::sync::Arc;

use domain::access::Caller;
use domain::error::Forbidden;
use domain::event::InputEvent;
use domain::grants::Grants;
use domain::provenance::{RecordedBy, Source};
use domain::{Error, Result, directory};

/// The variable that names the way in: `http`, `event_bus`, `queue` or `invoke`; or `retry`, for what other recorders
/// forward.
const RECORD_SOURCE: &str = "RECORD_SOURCE";
/// The variable with the principals that may record what changes the directory, separated by commas; `*` for all of them.
/// Over HTTP a scope decides it instead.
const DIRECTORY_PRINCIPALS: &str = "DIRECTORY_PRINCIPALS";
/// The same for what came over the bus, of the function that serves `retry`.
const DIRECTORY_SOURCES: &str = "DIRECTORY_SOURCES";
/// The variable with the principals that may forward messages, separated by commas.
const FORWARDING_PRINCIPALS: &str = "FORWARDING_PRINCIPALS";
/// The name of the way in of what other recorders forward.
const RETRY: &str = "retry";
/// The variable that says whether activities of unknown workspaces are recorded: `true` or `false`, which is also meant
/// when there is none.
const ALLOW_UNKNOWN_WORKSPACES: &str = "ALLOW_UNKNOWN_WORKSPACES";

/// A way in, and what may be recorded on it.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// The way in.
    pub source: Source,
    /// The principals that may record what changes the directory.
    pub directory: Principals,
    /// Whether activities of unknown workspaces are recorded.
    pub allows_unknown_workspaces: bool,
    /// Set when messages come from other recorders, which say where each came from first.
    pub forwarded: Option<Forwarded>,
}

/// The rights on the way in of what other recorders forward.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// The principals whose word counts for where a message came from: the recorders, and whoever moves refused messages
    /// back.
    pub senders: Principals,
    /// The sources on the bus that may record what changes the directory.
    pub bus_directory: Principals,
}

/// A set of principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals {
    /// Everyone who can use the way in.
    All,
    /// The principals of these names.
    Named(HashSet<String>),
}

impl Principals {
    /// Nobody.
    pub fn none() -> Self {
        Self::Named(HashSet::new())
    }

    /// Reads names separated by commas, or `*`.
    pub fn parse(list: &str) -> Self {
        match list.trim() {
            "*" => Self::All,
            list => {
                let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
                Self::Named(names.map(str::to_owned).collect())
            }
        }
    }

    pub(crate) fn contains(&self, principal: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => principal.is_some_and(|principal| names.contains(principal)),
        }
    }
}

impl Ingress {
    /// A way in where nobody may change the directory, nor record activities of unknown workspaces. Over HTTP a scope lets
    /// a caller change the directory all the same.
    pub fn new(source: Source) -> Self {
        Self { source, directory: Principals::none(), allows_unknown_workspaces: false, forwarded: None }
    }

    /// The same way in, where these may change the directory.
    #[must_use]
    pub fn with_directory(self, directory: Principals) -> Self {
        Self { directory, ..self }
    }

    /// The same way in, where activities of unknown workspaces are recorded if `allows` says so.
    #[must_use]
    pub fn with_unknown_workspaces(self, allows: bool) -> Self {
        Self { allows_unknown_workspaces: allows, ..self }
    }

    /// The way in of what other recorders forward. The principals that may change the directory are those of the queue.
    #[must_use]
    pub fn of_forwarded(forwarded: Forwarded) -> Self {
        Self { forwarded: Some(forwarded), ..Self::new(Source::Queue) }
    }

    /// Its name, as the environment has it.
    pub(crate) fn name(&self) -> &'static str {
        if self.forwarded.is_some() { RETRY } else { self.source.as_str() }
    }

    /// The way in that the environment names.
    ///
    /// # Errors
    /// For an unknown way in, and for a setting that cannot be read.
    pub fn from_environment() -> Result<Self, String> {
        let name = env::var(RECORD_SOURCE).unwrap_or_default();
        let principals = |name| Principals::parse(&env::var(name).unwrap_or_default());
        let ingress = match Source::parse(&name) {
            Some(source) => Self::new(source),
            None if name == RETRY => Self::of_forwarded(Forwarded {
                senders: principals(FORWARDING_PRINCIPALS),
                bus_directory: principals(DIRECTORY_SOURCES),
            }),
            None => {
                let names = Source::ALL.map(Source::as_str).join(", ");
                return Err(format!("{RECORD_SOURCE} must be one of {names}, {RETRY}"));
            }
        };
        let allows_unknown = match env::var(ALLOW_UNKNOWN_WORKSPACES).unwrap_or_default().as_str() {
            "true" => true,
            "" | "false" => false,
            _ => return Err(format!("{ALLOW_UNKNOWN_WORKSPACES} must be true or false")),
        };
        let ingress = ingress.with_directory(principals(DIRECTORY_PRINCIPALS));
        Ok(ingress.with_unknown_workspaces(allows_unknown))
    }

    /// The sender whom the parts of `principal` identify, of an event that came first on the way `source`. That is this
    /// way, unless it was forwarded.
    pub(crate) fn sender(&self, source: Source, principal: &[&str]) -> Sender {
        let recorded_by = RecordedBy::new(source, principal);
        let directory = match &self.forwarded {
            Some(forwarded) if source == Source::EventBus => &forwarded.bus_directory,
            _ => &self.directory,
        };
        let may_change_directory = directory.contains(recorded_by.principal.as_deref());
        Sender { recorded_by, may_change_directory, grants: Arc::default() }
    }

    /// The sender of a request, whose token names `client` besides the subject.
    pub(crate) fn caller(&self, caller: &Caller, sub: &str, client: Option<&str>) -> Sender {
        let parts = [Some(sub), client.filter(|client| *client != sub)];
        let recorded_by = RecordedBy::new(self.source, &parts.into_iter().flatten().collect::<Vec<_>>());
        let grants = Arc::clone(caller.grants());
        Sender { recorded_by, may_change_directory: caller.may_change_directory(), grants }
    }
}

/// The verified sender of an event.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) recorded_by: RecordedBy,
    may_change_directory: bool,
    grants: Arc<Grants>,
}

impl Sender {
    /// Lets an event in that this sender may record, and notes what the sender was granted, which the recorder judges,
    /// and whether they may know who recorded another activity.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for an event about the directory, when the sender may not change it.
    /// [`Error::BadInput`] for one without a time or a version, on a way where the time of arrival says nothing.
    pub(crate) fn admit(&self, mut event: InputEvent) -> Result<InputEvent> {
        if !self.may_change_directory && directory::is_about(event.activity.action.as_str()) {
            return Err(Error::Forbidden(Forbidden::ChangeDirectory));
        }
        // A message that is sent again, or an invocation that is retried, would count as later than it was.
        let is_timed_by_arrival = matches!(self.recorded_by.source, Source::Queue | Source::Invoke);
        let has_order = event.timed || event.activity.version.is_some();
        if is_timed_by_arrival && !has_order && directory::is_changed_by(&event.activity) {
            let detail = "is required for what changes workspaces or members, unless there is a version";
            return Err(Error::bad_input("created_at", detail));
        }
        event.grants = Arc::clone(&self.grants);
        event.sees_principals = self.may_change_directory;
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_matched_whole() {
        let listed = Principals::parse("123456789012/com.example.accounts, AROAEXAMPLE,");
        for (principal, expected) in [
            (Some("123456789012/com.example.accounts"), true),
            (Some("AROAEXAMPLE"), true),
            (Some("AROAEXAMPLE2"), false),
            (Some("com.example.accounts"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(listed.contains(principal), expected, "{principal:?}");
        }
        assert!(Principals::parse(" * ").contains(None));
        assert!(!Principals::parse("").contains(Some("*")));
    }
}
