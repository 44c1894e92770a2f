//! The limits of a document. Each is far above what a page of activities needs, and bounds what one request can cost.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_api::params::{DEFAULT_LIMIT, MAX_LIMIT};
use http_api::response_size;

/// The most levels of selections, with those of fragments where they are spread. An activity's deepest field is on the
/// third level. The usual introspection query has 17 levels.
pub(crate) const LEVELS: usize = 32;
/// The most brackets of any kind within each other, because the parser is recursive.
pub(crate) const NESTING: usize = 100;
/// The most selections, those of a fragment counted wherever it is spread. The usual introspection query has 320.
pub(crate) const SELECTIONS: usize = 1_000;
/// The most selections of a subscription, which is executed for each activity. The reference's has 12.
pub(crate) const SUBSCRIPTION_SELECTIONS: usize = 200;
/// The most bytes of a subscription's document and variables, which are read for each batch of activities. The
/// reference's have 400.
pub(crate) const SUBSCRIPTION_BODY: usize = 8 * 1024;
/// The most directives of one selection.
pub(crate) const DIRECTIVES: usize = 8;
/// The most points of all fields. A field has one point for each entry of its page, and a list has [`LIST`] besides.
/// The longest page with every field has 11,000 points. No document has more than eleven lists, whatever its aliases.
pub(crate) const COMPLEXITY: usize = 12_000;
/// The points of a list, which reads the table.
const LIST: usize = 1_000;
/// The most bytes of a request. The reference's longest example has 800.
pub(crate) const BODY: usize = 64 * 1024;

/// The points of a list with its fields.
pub(crate) fn complexity(first: Option<i32>, last: Option<i32>, fields: usize) -> usize {
    let page = first.or(last).map_or(DEFAULT_LIMIT, |size| usize::try_from(size).unwrap_or(0).min(MAX_LIMIT));
    LIST + page * fields
}

/// The most bytes of the activities of all lists of a document, as REST would answer with them. They are held until the
/// last list was read.
const ACTIVITIES: usize = 16_000_000;

/// The most bytes of the activities of one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageSize(pub(crate) usize);

impl PageSize {
    /// The size of each of a document's lists: as in REST, unless there are more than three.
    pub(crate) fn of_each(lists: usize) -> Self {
        Self(response_size::MAX.min(ACTIVITIES / lists.max(1)))
    }
}

/// The bytes that the texts of a response may take. A document can select one text many times, so that a page of a good
/// size can still make too large a response.
#[derive(Debug, Default)]
pub(crate) struct ResponseBudget {
    used: AtomicUsize,
}

impl ResponseBudget {
    /// Takes `bytes` out of the budget. Returns whether they fit. Once some bytes did not, no others do.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= response_size::MAX
    }

    /// Whether a text did not fit. Such a response is not sent.
    pub(crate) fn is_full(&self) -> bool {
        !self.take(0)
    }
}
