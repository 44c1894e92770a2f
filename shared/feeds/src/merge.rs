//! Several ordered partitions read as one, in as few requests as their filters allow.

use std::collections::{HashMap, VecDeque};

use super::plan::{Plan, Window};
use super::{Budget, Order, Query, Sort};
use crate::access::{Place, View};
use crate::activity::Activity;
use crate::ids::WorkspaceId;
use crate::keys::Position;
use crate::store::{Item, Row, Source, Store};
use crate::{Error, Result, wire};

/// Requests of up to 1 MB that a page may take before it is returned short, with a link to the rest; each further
/// partition to merge adds two.
const PAGE_REQUESTS: usize = 16;
/// Requests that skipping an offset by reading may take: 64 MB, some 100,000 activities.
const SKIP_REQUESTS: usize = 64;
/// The most activities asked for in one round; DynamoDB stops at 1 MB for each partition anyway.
const MOST: usize = 10_000;
/// The least asked for of each of many partitions: to ask again costs more than some that are not needed.
const LEAST: usize = 5;
/// What a request costs, in activities read: a partition that many workspaces share is left for theirs when reading on
/// would cost more.
const REQUEST: usize = 100;

/// Where a partition's reading stands.
#[derive(Debug)]
enum Next {
    Start,
    At(Item),
    End,
}

#[derive(Debug)]
struct Stream {
    source: Source,
    /// What was read and not taken, in the order of the places.
    rows: VecDeque<(Position, Row)>,
    next: Next,
    /// Nothing before this place is still to come.
    reached: Option<Position>,
    scanned: usize,
    matched: usize,
}

impl Stream {
    fn new(source: Source) -> Self {
        Self { source, rows: VecDeque::new(), next: Next::Start, reached: None, scanned: 0, matched: 0 }
    }

    /// The partitions of a plan, taken out of it.
    fn all(plan: &mut Plan) -> Vec<Self> {
        std::mem::take(&mut plan.sources).into_iter().map(Self::new).collect()
    }

    fn is_at_end(&self) -> bool {
        matches!(self.next, Next::End)
    }

    /// How many to read, of at most `most`, so that `need` pass the filter, by how many passed so far.
    fn sized(&self, need: usize, most: usize) -> usize {
        let size = match (self.scanned, self.matched) {
            (0, _) => need,
            (scanned, 0) => scanned.saturating_mul(4),
            // Of a few, how many passed is mostly luck: so not much more than was read before.
            (scanned, matched) => {
                need.saturating_mul(scanned).div_ceil(matched).min(scanned.saturating_mul(4))
            }
        };
        size.clamp(need.min(most), most)
    }
}

/// What was taken out of a merge.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The activities, with their places.
    pub(super) rows: Vec<(Activity, Position)>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Position>,
}

/// A feed being read.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    store: &'a Store,
    query: &'a Query,
    places: &'a [Place],
    of: HashMap<&'a WorkspaceId, &'a Place>,
    /// How it is read; its partitions are the streams.
    plan: Plan,
    streams: Vec<Stream>,
    /// Where a page may end, if there is no time to begin elsewhere.
    fallback: Option<Position>,
    requests: usize,
    budget: &'a Budget,
}

impl<'a> Merge<'a> {
    /// A merge of what lies in `window`, that begins no read once the budget's time is up.
    ///
    /// # Errors
    /// Those of [`Plan::of`].
    pub(super) fn new(
        store: &'a Store,
        query: &'a Query,
        places: &'a [Place],
        window: Window,
        budget: &'a Budget,
    ) -> Result<Self> {
        let mut plan = Plan::of(query, places, window)?;
        let streams = Stream::all(&mut plan);
        let (of, fallback, requests) = (HashMap::new(), None, 0);
        let mut merge = Self { store, query, places, of, plan, streams, fallback, requests, budget };
        merge.look(places);
        Ok(merge)
    }

    /// Reads where the page begins, unless counters are to say first where that is.
    pub(super) async fn begin(&mut self) -> Result<()> {
        if self.query.begins() { self.fill(self.query.limit + 1).await } else { Ok(()) }
    }

    /// The same merge, for those who see so much: also of what has been read already.
    pub(super) fn seen_by(mut self, places: &'a [Place]) -> Self {
        self.look(places);
        let of = &self.of;
        for Stream { source, rows, .. } in &mut self.streams {
            rows.retain(|(_, row)| is_shown(of, source, row));
        }
        self
    }

    fn look(&mut self, places: &'a [Place]) {
        self.places = places;
        self.of = places.iter().map(|place| (&place.workspace, place)).collect();
        self.plan.residual.hide_staff = places.iter().all(|place| place.view == View::Client);
    }

    fn follow(&mut self, mut plan: Plan) {
        plan.residual.hide_staff = self.plan.residual.hide_staff;
        self.streams = Stream::all(&mut plan);
        self.plan = plan;
    }

    /// Begins again, elsewhere.
    ///
    /// # Errors
    /// Those of [`Plan::of`].
    pub(super) fn restart(&mut self, place: Position) -> Result<()> {
        let window = Window { start: Some(place), ..self.plan.window.clone() };
        self.follow(Plan::of(self.query, self.places, window)?);
        Ok(())
    }

    /// Reads on wherever the next activity may be, so that `need` activities are likely there.
    pub(super) async fn fill(&mut self, need: usize) -> Result<()> {
        let several = self.streams.len();
        let most = (MOST / several.max(1)).max(LEAST);
        // Of many partitions, each is likely to have but a part of the page.
        let each =
            if several <= 4 { need } else { need.div_ceil(several).saturating_mul(4).max(LEAST).min(need) };
        let candidate = self.first().map(|(_, place)| place.clone());
        let Self { store, query, of, plan, budget, .. } = self;
        let how = How { store, query, of, plan, budget };
        let reads: Vec<_> = self
            .streams
            .iter_mut()
            .filter(|stream| is_in_the_way(stream, candidate.as_ref(), plan.window.order))
            .map(|stream| how.read(stream, each, most))
            .collect();
        self.requests += reads.len();
        budget.all(reads).await?;
        Ok(())
    }

    /// Takes the next `limit` activities after skipping `skip`, and says where the next page begins.
    pub(super) async fn take(&mut self, mut skip: u64, limit: usize) -> Result<Taken> {
        let mut rows: Vec<(Activity, Position)> = Vec::with_capacity(limit);
        let mut bytes = 0;
        let requests = if skip > 0 { SKIP_REQUESTS } else { PAGE_REQUESTS };
        loop {
            let more = self.first().is_some();
            if rows.len() == limit && more {
                // One more than the page holds is there, whichever it is.
                let next = rows.last().map(|(_, place)| place.clone());
                return Ok(Taken { rows, next });
            }
            if self.is_blocked() {
                let most = requests + 2 * self.streams.len().saturating_sub(1);
                if self.requests < most && self.budget.has_time() {
                    let need =
                        usize::try_from(skip).unwrap_or(usize::MAX).saturating_add(limit + 1 - rows.len());
                    self.narrow_if_cheaper(need);
                    self.fill(need).await?;
                    continue;
                }
                // Where a partition that others share was left says when they did something. Rather go on elsewhere.
                if self.budget.has_time() && self.narrow(|_| true) {
                    self.requests = 0;
                    continue;
                }
                let cut = self.cut(rows.last().map(|(_, place)| place));
                // So much happened at one time that the next page would begin as this one does.
                if self.budget.has_time() && cut.is_some() && cut == self.plan.window.start {
                    self.requests = 0;
                    continue;
                }
                return match cut {
                    Some(next) if skip == 0 => Ok(Taken { rows, next: Some(next) }),
                    Some(_) => {
                        let detail = "is too deep to be skipped by reading; follow the cursor of the page before \
                                      instead, or narrow the feed to a shorter time";
                        Err(Error::bad_input("offset", detail))
                    }
                    // What came before took all the time, and nothing says where the feed stands.
                    None => Err(super::no_time()),
                };
            }
            let Some((place, row)) = self.pop() else { return Ok(Taken { rows, next: None }) };
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let size = wire::size(&serde_json::to_string(&row.activity).map_err(Error::internal)?);
            // The first fits always.
            if !rows.is_empty() && bytes + size > wire::MAX {
                let next = rows.last().map(|(_, place)| place.clone());
                return Ok(Taken { rows, next });
            }
            bytes += size;
            rows.push((row.activity, place));
        }
    }

    /// The stream with the next activity that is there, and its place.
    fn first(&self) -> Option<(usize, &Position)> {
        let heads = self.streams.iter().enumerate();
        let heads = heads.filter_map(|(index, stream)| Some((index, &stream.rows.front()?.0)));
        heads.reduce(
            |first, other| if self.plan.window.order.is_before(other.1, first.1) { other } else { first },
        )
    }

    /// Whether an activity that was not read yet may come first.
    fn is_blocked(&self) -> bool {
        let candidate = self.first().map(|(_, place)| place);
        self.streams.iter().any(|stream| is_in_the_way(stream, candidate, self.plan.window.order))
    }

    fn pop(&mut self) -> Option<(Position, Row)> {
        let (index, _) = self.first()?;
        self.streams[index].rows.pop_front()
    }

    /// How far everything that is not at its end has been read: nothing before is still to come.
    fn frontier(&self) -> Option<Position> {
        let order = self.plan.window.order;
        let mut reached =
            self.streams.iter().filter(|stream| !stream.is_at_end()).map(|stream| &stream.reached);
        let first = reached.next()?.clone();
        reached.try_fold(first?, |least, reached| {
            let reached = reached.clone()?;
            Some(if order.is_before(&reached, &least) { reached } else { least })
        })
    }

    /// Where the next page begins after one that ends, at `last`, before it is full.
    fn cut(&self, last: Option<&Position>) -> Option<Position> {
        let bound = match self.frontier() {
            Some(frontier) if !self.plan.is_wide => return Some(frontier),
            // That may be an activity that is not for this reader: it is not told by more than its time.
            Some(frontier) => frontier.around_its_time(self.plan.window.order == Order::Descending),
            None => self.fallback.clone()?,
        };
        Some(match last {
            Some(last) if self.plan.window.order.is_before(&bound, last) => last.clone(),
            _ => bound,
        })
    }

    /// Leaves an organization's partition, when most of it is not for this reader, for those of the workspaces.
    fn narrow_if_cheaper(&mut self, need: usize) {
        let (scanned, matched) = self
            .streams
            .iter()
            .fold((0, 0), |(scanned, matched), stream| (scanned + stream.scanned, matched + stream.matched));
        let to_read = need.saturating_mul(scanned).checked_div(matched).unwrap_or(scanned.saturating_mul(4));
        let for_others = to_read.saturating_sub(need);
        self.narrow(|partitions| for_others > REQUEST * partitions);
    }

    /// Goes on in the workspaces' own partitions, if it is not there, and so many of them are worth it.
    fn narrow(&mut self, is_worth: impl FnOnce(usize) -> bool) -> bool {
        // What is before the frontier has been taken, and nothing else.
        let Some(frontier) = self.frontier().filter(|_| self.plan.is_wide) else { return false };
        let window = Window { start: Some(frontier), ..self.plan.window.clone() };
        match Plan::narrow(self.query, self.places, window) {
            Ok(plan) if is_worth(plan.sources.len()) => {
                self.fallback = self.cut(None);
                self.follow(plan);
                true
            }
            _ => false,
        }
    }
}

/// Whether a partition must be read further before an activity at `candidate` can be said to come first.
fn is_in_the_way(stream: &Stream, candidate: Option<&Position>, order: Order) -> bool {
    if stream.is_at_end() {
        return false;
    }
    let Some(candidate) = candidate else { return true };
    let reached = stream.reached.as_ref();
    // In a partition of several workspaces, others may have an activity at the very place that was read last.
    let is_shared = stream.source.workspace.is_none();
    (stream.rows.is_empty() || is_shared) && reached.is_none_or(|reached| order.is_before(reached, candidate))
}

/// Whether an activity is for this reader, and from this partition.
fn is_shown(of: &HashMap<&WorkspaceId, &Place>, source: &Source, row: &Row) -> bool {
    let Some(place) = of.get(&row.activity.workspace_id) else { return false };
    // What has activities elsewhere too is read there.
    let is_here = source.workspace.is_some() || place.shared_with().is_some();
    is_here && place.view.shows(row.staff)
}

/// How partitions are read.
#[derive(Debug, Clone, Copy)]
struct How<'a> {
    store: &'a Store,
    query: &'a Query,
    of: &'a HashMap<&'a WorkspaceId, &'a Place>,
    plan: &'a Plan,
    budget: &'a Budget,
}

impl How<'_> {
    /// Reads a partition on, if there is time.
    async fn read(self, stream: &mut Stream, need: usize, most: usize) -> Result<()> {
        let Self { store, query, of, plan, budget } = self;
        let Plan { residual, sift, window, .. } = plan;
        if !budget.has_time() {
            return Ok(());
        }
        let limit = stream.sized(need, most);
        let start = match std::mem::replace(&mut stream.next, Next::End) {
            Next::At(key) => Some(key),
            Next::Start | Next::End => None,
        };
        let several = query.scope.workspace().is_none();
        let chunk = store.chunk(&stream.source, window.order, residual, limit, start).await?;
        let before = stream.rows.len();
        for row in chunk.rows {
            let place = match query.sort {
                Sort::Time => row.activity.position(),
                Sort::Category => Position::by_category(&row.activity),
            };
            let place = if several { place.in_workspace(&row.activity.workspace_id) } else { place };
            if window.admits(&place)
                && is_shown(of, &stream.source, &row)
                && (!sift || query.filter.has_kind(&row.activity))
            {
                stream.rows.push_back((place, row));
            }
        }
        stream.scanned += chunk.scanned;
        stream.matched += stream.rows.len() - before;
        if stream.source.workspace.is_none() {
            // An index does not order what has the same key there.
            let order = window.order;
            stream.rows.make_contiguous().sort_by(|(a, _), (b, _)| match order {
                Order::Ascending => a.cmp(b),
                Order::Descending => b.cmp(a),
            });
        }
        if let Some(key) = chunk.next {
            let nowhere = || Error::internal("a page that ends nowhere");
            let (place, workspace) = stream.source.reached(&key).ok_or_else(nowhere)?;
            let is_shared = stream.source.workspace.is_none();
            stream.reached = Some(match (several, is_shared, window.order) {
                (false, ..) | (true, true, Order::Ascending) => place,
                (true, true, Order::Descending) => place.in_last_workspace(),
                (true, false, _) => place.in_workspace(&workspace),
            });
            stream.next = Next::At(key);
        }
        Ok(())
    }
}
