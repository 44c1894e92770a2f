//! Feeds: ordered views of activities, of an issue, a workspace or several, a page at a time, at a cost that does not
//! grow with the page's depth.

mod count;
pub mod cursor;
mod merge;
mod plan;
mod rank;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::access::{Place, View};
use crate::activity::{Action, Activity, ActorType};
use crate::ids::{ActorId, IssueId, OrganizationId, Tag, WorkspaceId};
use crate::keys::Position;
use crate::parallel;
use crate::store::{Days, Store};
use crate::time::Timestamp;
use crate::{Error, Result};
use count::Counting;
use merge::Merge;
use plan::Window;
use rank::Ranks;

/// Time in which reads may begin. The last of them may take as long as the client lets it, 8 s, and the function must
/// still be able to answer; its `Timeout` is in `template.yaml`.
const READ_TIME: Duration = Duration::from_secs(5);
/// Requests of 1 MB that may be spent on counting what no counter counts, in all.
const COUNT_REQUESTS: usize = 400;
/// Reads in flight for one request. Each of them may need a connection, and a connection's start costs a small function
/// more than the read.
const AT_ONCE: usize = 16;

/// What a feed is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// When it happened; then by id, then by workspace.
    Time,
    /// The category, alphabetically; then as by time. What is in category OTHER comes by action first.
    Category,
}

/// Which way a feed runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Descending,
    /// Oldest first.
    Ascending,
}

impl Order {
    /// The other way.
    pub fn reversed(self) -> Self {
        match self {
            Self::Descending => Self::Ascending,
            Self::Ascending => Self::Descending,
        }
    }

    /// Whether `a` comes before `b`.
    fn is_before(self, a: &Position, b: &Position) -> bool {
        match self {
            Self::Ascending => a < b,
            Self::Descending => a > b,
        }
    }
}

/// Of what a feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A workspace.
    Workspace(WorkspaceId),
    /// An issue of a workspace.
    Issue(WorkspaceId, IssueId),
    /// What the reader may see of an organization.
    Organization(OrganizationId),
    /// All that the reader may see.
    Everything,
}

impl Scope {
    /// The workspace, when it is one.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Workspace(workspace) | Self::Issue(workspace, _) => Some(workspace),
            Self::Organization(_) | Self::Everything => None,
        }
    }
}

/// What a feed shows of its activities. An empty list shows all; of a longer one, any may match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kind of actor.
    pub actor_type: Option<ActorType>,
    /// Only these actors.
    pub actors: Vec<ActorId>,
    /// Only these actions.
    pub actions: Vec<Action>,
    /// Only these categories.
    pub categories: Vec<&'static str>,
    /// Only what has one of these tags.
    pub tags: Vec<Tag>,
}

impl Filter {
    /// Whether it shows what is of this action and category.
    fn has_kind(&self, activity: &Activity) -> bool {
        (self.actions.is_empty() || self.actions.contains(&activity.action))
            && (self.categories.is_empty() || self.categories.contains(&activity.category))
    }
}

/// A page of a feed, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of what.
    pub scope: Scope,
    /// What it shows.
    pub filter: Filter,
    /// Not earlier.
    pub since: Option<Timestamp>,
    /// Earlier.
    pub until: Option<Timestamp>,
    /// What it is ordered by.
    pub sort: Sort,
    /// Which way.
    pub order: Order,
    /// Only what comes after this place.
    pub after: Option<Position>,
    /// Only what comes before this place.
    pub before: Option<Position>,
    /// Whether the page is the last that lies between those, and not the first.
    pub backward: bool,
    /// How many to leave out, at the end that the page is taken from.
    pub skip: u64,
    /// At most so many activities; 0 for the total alone.
    pub limit: usize,
    /// Whether to count the whole feed too.
    pub total: bool,
    /// Whether to see if there is anything on the side where reading began, too.
    pub behind: bool,
}

impl Query {
    /// The first page of the feed of a workspace, newest first.
    pub fn new(scope: Scope, limit: usize) -> Self {
        Self {
            scope,
            filter: Filter::default(),
            since: None,
            until: None,
            sort: Sort::Time,
            order: Order::Descending,
            after: None,
            before: None,
            backward: false,
            skip: 0,
            limit,
            total: false,
            behind: false,
        }
    }

    /// Whether it shows all that there is: then counters tell how much that is, and where in it an offset lies.
    fn is_counted(&self) -> bool {
        !matches!(self.scope, Scope::Issue(..)) && self.filter == Filter::default()
    }

    /// Which way it is read.
    fn direction(&self) -> Order {
        if self.backward { self.order.reversed() } else { self.order }
    }

    /// Where it is read.
    fn window(&self) -> Window {
        let (start, end) =
            if self.backward { (&self.before, &self.after) } else { (&self.after, &self.before) };
        Window { order: self.direction(), start: start.clone(), end: end.clone() }
    }

    /// Whether a page is to be read where the window begins.
    fn begins(&self) -> bool {
        self.limit > 0 && !self.seeks()
    }

    /// Whether counters are to say where the page begins. By a place it begins without them.
    fn seeks(&self) -> bool {
        let bounds = if self.backward { &self.before } else { &self.after };
        self.limit > 0 && self.skip > 0 && self.is_counted() && self.sort == Sort::Time && bounds.is_none()
    }
}

/// What reading may take, of one request of a caller however many feeds it reads.
#[derive(Debug)]
pub struct Budget {
    count_requests: AtomicUsize,
    in_flight: Semaphore,
    until: Instant,
}

impl Budget {
    /// The budget of a request that begins now.
    pub fn start() -> Self {
        Self {
            count_requests: AtomicUsize::new(COUNT_REQUESTS),
            in_flight: Semaphore::new(AT_ONCE),
            until: Instant::now() + READ_TIME,
        }
    }

    /// Whether a read may begin.
    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// What the reads give, in their order, or the first error. None of them may wait for others here.
    async fn all<T>(&self, reads: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
        let read = |read| async {
            let _permit = self.in_flight.acquire().await.map_err(Error::internal)?;
            read.await
        };
        parallel::all(AT_ONCE, reads.into_iter().map(read).collect()).await
    }

    /// What a read gives, if there is time for it.
    async fn timely<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        if self.has_time() { read.await } else { Err(no_time()) }
    }

    /// How many requests are left for counting.
    fn left(&self) -> usize {
        self.count_requests.load(Ordering::Relaxed)
    }

    /// Takes one request of counting out; false when nothing is left.
    fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.has_time()
            && self.count_requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// A page of a feed.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// The activities, in order. Fewer than the limit only when there are no more, or, with `next` set, when
    /// more would not fit an answer ([`crate::wire::MAX`]), or finding them reached the read budget.
    pub activities: Vec<Activity>,
    /// The places of the first and the last of them.
    pub ends: Option<(Position, Position)>,
    /// Where the next page begins, the way this one was read; `None` when this one is the last.
    pub next: Option<Position>,
    /// Whether anything lies on the other side, when asked for.
    pub behind: Option<bool>,
    /// How many activities the whole feed has, when asked for.
    pub total: Option<u64>,
}

/// Reads a page, while `access` finds out what the caller may see of it, if that is one workspace; of several, after
/// that. Nothing is returned before it has.
///
/// # Errors
/// Those of `access` before any of its own; [`crate::Error::BadInput`] when an offset or a total of a filtered feed
/// would read more than its budget.
pub async fn read(
    store: &Store,
    budget: &Budget,
    query: &Query,
    access: impl Future<Output = Result<Vec<Place>>>,
) -> Result<Page> {
    let counts = query.seeks() || query.total && query.is_counted();
    let Some(workspace) = query.scope.workspace() else {
        let places = seen(access.await?);
        let mut merge = Merge::new(store, query, &places, query.window(), budget)?;
        let ((), days) =
            futures_util::future::try_join(merge.begin(), days(store, &places, budget, counts)).await?;
        return Reading { store, query, places: &places, days, budget }.page(merge).await;
    };
    // No more than a page: nobody knows yet whether the caller may have it.
    let guess = [Place::unchecked(workspace)];
    let mut merge = Merge::new(store, query, &guess, query.window(), budget)?;
    let (places, first, days) = tokio::join!(access, merge.begin(), days(store, &guess, budget, counts),);
    let places = seen(places?);
    let days = days?;
    first?;
    let merge = merge.seen_by(&places);
    Reading { store, query, places: &places, days, budget }.page(merge).await
}

/// The error of what came too late to be read: the caller may try it again, with less at once.
fn no_time() -> Error {
    Error::Unavailable("no time was left to read all that was asked for".into())
}

/// The places of which anything is shown.
fn seen(places: Vec<Place>) -> Vec<Place> {
    places.into_iter().filter(|place| place.view != View::Nothing).collect()
}

/// The days of each place, if they are wanted.
async fn days(store: &Store, places: &[Place], budget: &Budget, wanted: bool) -> Result<Vec<Days>> {
    let places = if wanted { places } else { &[] };
    budget.all(places.iter().map(|place| budget.timely(store.days(&place.workspace))).collect()).await
}

/// A page that may be read.
struct Reading<'a> {
    store: &'a Store,
    query: &'a Query,
    places: &'a [Place],
    days: Vec<Days>,
    budget: &'a Budget,
}

impl Reading<'_> {
    async fn page(self, mut merge: Merge<'_>) -> Result<Page> {
        let Self { store, query, places, days, budget } = &self;
        if places.is_empty() {
            let (behind, total) = (query.behind.then_some(false), query.total.then_some(0));
            return Ok(Page { activities: Vec::new(), ends: None, next: None, behind, total });
        }
        let ranks = Ranks::new(store, places, days, budget);
        let page = async {
            if query.limit == 0 {
                return Ok(merge::Taken::default());
            }
            if !query.seeks() {
                return merge.take(query.skip, query.limit).await;
            }
            let Some((place, skip)) = ranks.seek(query).await? else { return Ok(merge::Taken::default()) };
            merge.restart(place)?;
            merge.take(skip, query.limit).await
        };
        let total = async {
            match query.total {
                false => Ok(None),
                true if query.is_counted() => ranks.between(query.since, query.until).await.map(Some),
                true => Counting { store, query, places, budget }.count().await.map(Some),
            }
        };
        let (taken, total) = futures_util::future::try_join(page, total).await?;
        let behind = if query.behind { Some(self.is_anything_behind(&taken).await?) } else { None };
        let merge::Taken { mut rows, next } = taken;
        if query.backward {
            rows.reverse();
        }
        let ends = rows.first().zip(rows.last()).map(|((_, first), (_, last))| (first.clone(), last.clone()));
        let activities = rows.into_iter().map(|(activity, _)| activity).collect();
        Ok(Page { activities, ends, next, behind, total })
    }

    /// Whether there is anything before where reading began.
    async fn is_anything_behind(&self, taken: &merge::Taken) -> Result<bool> {
        let Self { store, query, places, budget, .. } = self;
        let window = query.window();
        let end = match (&window.start, query.skip, taken.rows.is_empty()) {
            (None, 0, _) => return Ok(false),
            // What was skipped is there.
            (_, 1.., false) => return Ok(true),
            (_, 1.., true) => window.end,
            (Some(start), 0, _) => Some(match window.order {
                Order::Ascending => start.just_after(),
                Order::Descending => start.just_before(),
            }),
        };
        // Nobody knows, then; a page that is there is worth more.
        if !budget.has_time() {
            return Ok(false);
        }
        let window = Window { order: window.order.reversed(), start: end, end: None };
        let mut merge = Merge::new(store, query, places, window, budget)?;
        match merge.take(0, 1).await {
            Err(Error::Unavailable(_)) if !budget.has_time() => Ok(false),
            taken => Ok(!taken?.rows.is_empty()),
        }
    }
}
