//! What a document may ask for. Every limit is far above what a page of activities needs, and bounds what one request
//! can cost.

use std::sync::atomic::{AtomicUsize, Ordering};

use shared::params::{DEFAULT_LIMIT, MAX_LIMIT};
use shared::wire;

/// Levels of selections, with those of fragments where they are spread. An activity's deepest field is the third; the
/// usual query for the schema has 17.
pub(crate) const LEVELS: usize = 32;
/// Brackets within each other, of any kind: a text that the parser, which recurses, can be given.
pub(crate) const NESTING: usize = 100;
/// Selections, those of fragments wherever they are spread. The usual query for the schema has 320.
pub(crate) const SELECTIONS: usize = 1_000;
/// Selections of a subscription, which is executed for each activity. The reference's has 12.
pub(crate) const WATCHED_SELECTIONS: usize = 200;
/// The most bytes of a subscription's document and variables, which are read for each batch of activities. The reference's
/// has 400.
pub(crate) const WATCHED_BODY: usize = 8 * 1024;
/// Directives at one place.
pub(crate) const DIRECTIVES: usize = 8;
/// Points of all fields: one each, times the size of the page, and [`LIST`] for each list. The longest page with every
/// field is 10,200; so no document has more than eleven lists, whatever its aliases.
pub(crate) const COMPLEXITY: usize = 12_000;
/// Points of a list: it reads the table.
const LIST: usize = 1_000;
/// The most bytes of a request. The reference's longest example has 800.
pub(crate) const BODY: usize = 64 * 1024;

/// The points of a list.
pub(crate) fn complexity(first: Option<i32>, last: Option<i32>, fields: usize) -> usize {
    let page = first.or(last).map_or(DEFAULT_LIMIT, |size| usize::try_from(size).unwrap_or(0).min(MAX_LIMIT));
    LIST + page * fields
}

/// The bytes of activities' texts that an answer has taken: a document may ask for the same text many times.
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicUsize);

impl Room {
    /// Whether so many bytes more still fit an answer. After the first that do not, nothing does.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= wire::MAX
    }

    /// Whether anything was left out.
    pub(crate) fn is_full(&self) -> bool {
        !self.fits(0)
    }
}
