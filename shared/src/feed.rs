//! Feeds: ordered views of a workspace's activities, a page at a time, at a cost that does not grow with the
//! page's depth.

pub mod cursor;
mod merge;
mod plan;
mod rank;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::Result;
use crate::access::View;
use crate::activity::{Action, Activity, ActorType};
use crate::ids::{ActorId, IssueId, Tag, WorkspaceId};
use crate::keys::Position;
use crate::store::{Days, Store};
use crate::time::Timestamp;
use merge::Merge;
use plan::Plan;
use rank::Ranks;

/// Time in which reads may begin. The last of them may take as long as the client lets it, 8 s, and the function must
/// still be able to answer; its `Timeout` is in `template.yaml`.
const READ_TIME: Duration = Duration::from_secs(5);

/// Which way a feed runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Descending,
    /// Oldest first.
    Ascending,
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
    /// Only what has one of these tags.
    pub tags: Vec<Tag>,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After so many activities.
    Offset(u64),
    /// After this place.
    After(Position),
}

/// A page of a feed, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Whose feed.
    pub workspace: WorkspaceId,
    /// One issue's only.
    pub issue: Option<IssueId>,
    /// What it shows.
    pub filter: Filter,
    /// Not earlier.
    pub since: Option<Timestamp>,
    /// Earlier.
    pub until: Option<Timestamp>,
    /// Which way.
    pub order: Order,
    /// From where.
    pub start: Start,
    /// At most so many activities.
    pub limit: usize,
    /// Whether to count the whole feed too.
    pub total: bool,
}

/// A page of a feed.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// The activities, in order. Fewer than the limit only when there are no more, or, with `next` set, when
    /// more would not fit an answer ([`crate::wire::MAX`]), or finding them reached the read budget.
    pub activities: Vec<Activity>,
    /// Where the next page begins; `None` when this one is the last.
    pub next: Option<Position>,
    /// How many activities the whole feed has, when asked for.
    pub total: Option<u64>,
}

/// Reads a page, while `access` finds out what the caller may see of it. Nothing is returned before it has.
///
/// # Errors
/// Those of `access` before any of its own; [`Error::BadInput`] when an offset or a total of a filtered feed
/// would read more than its budget.
pub async fn read(store: &Store, query: &Query, access: impl Future<Output = Result<View>>) -> Result<Page> {
    let plan = Plan::of(query);
    let offset = match query.start {
        Start::Offset(offset) => offset,
        Start::After(_) => 0,
    };
    // Counters say where in a feed they count an offset lies; in others it is skipped by reading.
    let seeks = plan.is_counted() && offset > 0;
    let until = Instant::now() + READ_TIME;
    let mut merge = Merge::new(store, &plan, query.order, until);
    let (view, first, days) = tokio::join!(
        access,
        async {
            // No more than a page: nobody knows yet whether the caller may have it.
            if seeks { Ok(()) } else { merge.fill(query.limit + 1).await }
        },
        async {
            let wanted = plan.is_counted() && (seeks || query.total);
            if wanted { store.days(&query.workspace).await } else { Ok(Days::new()) }
        },
    );
    let view = view?;
    if view == View::Nothing {
        return Ok(Page { activities: Vec::new(), next: None, total: query.total.then_some(0) });
    }
    let (days, hide_staff) = (days?, view == View::Client);
    first?;
    merge.set_hide_staff(hide_staff);
    let ranks = Ranks { store, workspace: &query.workspace, days: &days, view, until };
    let page = async {
        if !seeks {
            return merge.take(skipped(offset), query.limit).await;
        }
        let Some((span, skip)) = ranks.seek(query, offset).await? else { return Ok((Vec::new(), None)) };
        merge.restart(span);
        merge.take(skip, query.limit).await
    };
    let total = async {
        match query.total {
            false => Ok(None),
            true if plan.is_counted() => ranks.between(query.since, query.until).await.map(Some),
            true => plan.count(store, hide_staff, until).await.map(Some),
        }
    };
    let ((activities, next), total) = futures_util::future::try_join(page, total).await?;
    Ok(Page { activities, next, total })
}

/// An offset beyond what memory can hold is past every end.
fn skipped(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
