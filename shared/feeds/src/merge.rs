//! Several ordered partitions read as one, in as few requests as their filters allow.

use std::collections::{HashMap, VecDeque};

use domain::Result;
use domain::access::{View, VisibleWorkspace};
use domain::activity::Activity;
use domain::error::QueryError;
use domain::filter::{FilterKind, Order, Sort};
use domain::ids::WorkspaceId;
use domain::position::{Bound, Edge};
use store::{Continuation, Row, Source, Store};

use crate::Render;
use crate::budget::{Budget, Memory, out_of_time};
use crate::plan::Plan;
use crate::query::Query;
use crate::window::Window;

/// Requests of up to 1 MB that a page may take before it is returned short, with a link to the rest. Each further
/// partition to merge adds two.
const PAGE_REQUESTS: usize = 16;
/// Requests that skipping an offset by reading may take: 64 MB, some 100,000 activities.
const SKIP_REQUESTS: usize = 64;
/// The most activities to ask for in one round. DynamoDB stops at 1 MB for each partition anyway.
const MAX_ROUND: usize = 10_000;
/// The least to ask for of each of many partitions, because another request costs more than a few unneeded activities.
const MIN_READ: usize = 5;
/// The most partitions to begin to read before access is decided: as many as one action has. Each is a request of up to
/// 1 MB, which is wasted on a caller who is refused.
const MAX_UNCHECKED_READS: usize = 2;
/// The cost of a request, in activities read. A partition that many workspaces share is left for their own partitions
/// when reading on would cost more.
const REQUEST_COST: usize = 100;

/// How far a partition was read.
#[derive(Debug)]
enum Progress {
    Start,
    At(Continuation),
    End,
}

/// A partition being read.
#[derive(Debug)]
struct Stream {
    source: Source,
    /// Whether only changes of the settings are shown of its workspace.
    is_settings: bool,
    /// The activities that were read and not taken, in feed order.
    rows: VecDeque<(Bound, Row)>,
    progress: Progress,
    /// Everything before this bound was read.
    reached: Option<Bound>,
    scanned: usize,
    matched: usize,
    /// The size of the last read, if it was to find more than it did.
    disappointing: usize,
}

impl Stream {
    fn new(source: Source) -> Self {
        Self {
            source,
            is_settings: false,
            rows: VecDeque::new(),
            progress: Progress::Start,
            reached: None,
            scanned: 0,
            matched: 0,
            disappointing: 0,
        }
    }

    /// The partitions of a plan, taken out of it.
    fn take_from(plan: &mut Plan) -> Vec<Self> {
        let settings = std::mem::take(&mut plan.settings).into_iter();
        let settings = settings.map(|source| Self { is_settings: true, ..Self::new(source) });
        std::mem::take(&mut plan.sources).into_iter().map(Self::new).chain(settings).collect()
    }

    fn is_at_end(&self) -> bool {
        matches!(self.progress, Progress::End)
    }

    /// Whether it holds activities of several workspaces.
    fn is_shared(&self) -> bool {
        self.source.partition.workspace().is_none()
    }

    /// How many activities to read, of at most `most`, so that `need` of them pass the filter. It goes by how many passed
    /// so far. A guess that found too few is at least doubled, because activities that pass often come in runs.
    fn read_size(&self, need: usize, most: usize) -> usize {
        let size = match (self.scanned, self.matched) {
            (0, _) => need,
            (scanned, 0) => scanned.saturating_mul(4),
            // Among few activities it is mostly luck how many pass, so the next read is at most four times the last.
            (scanned, matched) => {
                need.saturating_mul(scanned).div_ceil(matched).min(scanned.saturating_mul(4))
            }
        };
        size.max(2 * self.disappointing).clamp(need.min(most), most)
    }

    /// Whether it must be read further before an activity at `candidate` can be said to come first.
    fn blocks(&self, candidate: Option<&Bound>, order: Order) -> bool {
        if self.is_at_end() {
            return false;
        }
        let Some(candidate) = candidate else { return true };
        let is_behind = self.reached.as_ref().is_none_or(|reached| order.is_before(reached, candidate));
        // In a shared partition, another workspace may have an activity at the very position that was read last.
        (self.rows.is_empty() || self.is_shared()) && is_behind
    }
}

/// The entries that were taken out of a merge.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    /// The entries, with their positions.
    pub(crate) entries: Vec<(T, Bound)>,
    /// Where to continue; `None` at the end.
    pub(crate) next: Option<Bound>,
    /// When a bound on the page ended it before its limit: a limit that this bound is likely to let be reached.
    pub(crate) fits: Option<usize>,
}

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: None, fits: None }
    }
}

/// A feed being read.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    store: &'a Store,
    query: &'a Query,
    visible: &'a [VisibleWorkspace],
    by_id: HashMap<&'a WorkspaceId, &'a VisibleWorkspace>,
    /// How it is read; its partitions are the streams.
    plan: Plan,
    streams: Vec<Stream>,
    /// The memory of the streams, once one of them was read.
    memory: Option<Memory<'a>>,
    /// Where a page may end if no time is left to begin in other partitions.
    fallback: Option<Bound>,
    requests: usize,
    budget: &'a Budget,
}

impl<'a> Merge<'a> {
    /// A merge of everything in `window`. It begins no read once the budget's time is up.
    ///
    /// # Errors
    /// Those of [`Plan::of`].
    pub(crate) fn new(
        store: &'a Store,
        query: &'a Query,
        visible: &'a [VisibleWorkspace],
        window: Window,
        budget: &'a Budget,
    ) -> Result<Self> {
        let mut plan = Plan::of(query, visible, window)?;
        let streams = Stream::take_from(&mut plan);
        let (by_id, memory, fallback, requests) = (HashMap::new(), None, None, 0);
        let mut merge =
            Self { store, query, visible, by_id, plan, streams, memory, fallback, requests, budget };
        merge.set_visible(visible);
        Ok(merge)
    }

    /// Reads the start of the page, unless counters must say first where that is.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        if self.query.begins_at_window() { self.fill(self.query.limit + 1).await } else { Ok(()) }
    }

    /// Reads the start of the page before access is decided, unless the page has many partitions. Those are read later.
    pub(crate) async fn begin_unchecked(&mut self) -> Result<()> {
        if self.streams.len() <= MAX_UNCHECKED_READS { self.begin().await } else { Ok(()) }
    }

    /// The same merge, of everything that is visible. It drops what was read and is not.
    pub(crate) fn seen_by(mut self, visible: &'a [VisibleWorkspace]) -> Self {
        self.set_visible(visible);
        let by_id = &self.by_id;
        for Stream { source, rows, .. } in &mut self.streams {
            rows.retain(|(_, row)| is_shown(by_id, source, row));
        }
        self
    }

    fn set_visible(&mut self, visible: &'a [VisibleWorkspace]) {
        self.visible = visible;
        self.by_id = visible.iter().map(|visible| (&visible.workspace, visible)).collect();
        self.plan.residual.hide_staff = visible.iter().all(|visible| visible.view == View::Client);
    }

    fn follow(&mut self, mut plan: Plan) {
        plan.residual.hide_staff = self.plan.residual.hide_staff;
        self.streams = Stream::take_from(&mut plan);
        self.plan = plan;
        self.memory = None;
    }

    /// Begins again at `start`.
    ///
    /// # Errors
    /// Those of [`Plan::of`].
    pub(crate) fn restart(&mut self, start: Bound) -> Result<()> {
        let window = Window { start: Some(start), ..self.plan.window.clone() };
        self.follow(Plan::of(self.query, self.visible, window)?);
        Ok(())
    }

    /// Reads on wherever the next activity may be, until `need` activities are likely there.
    async fn fill(&mut self, need: usize) -> Result<()> {
        let count = self.streams.len();
        let most = (MAX_ROUND / count.max(1)).max(MIN_READ);
        // Each of many partitions is likely to have only a part of the page.
        let each =
            if count <= 4 { need } else { need.div_ceil(count).saturating_mul(4).max(MIN_READ).min(need) };
        let candidate = self.first().map(|(_, position)| position.clone());
        let max_bytes = match &self.memory {
            Some(memory) => memory.partition_bytes,
            None => self.memory.insert(self.budget.memory(count).await?).partition_bytes,
        };
        let Self { store, query, by_id, plan, budget, .. } = self;
        let context = ReadContext { store, query, by_id, plan, budget, max_bytes };
        let reads: Vec<_> = self
            .streams
            .iter_mut()
            .filter(|stream| stream.blocks(candidate.as_ref(), plan.window.order))
            .map(|stream| context.read(stream, each, most))
            .collect();
        self.requests += reads.len();
        budget.read_all(reads).await?;
        Ok(())
    }

    /// Takes the next `limit` activities after skipping `skip`, and says where the next page begins.
    pub(crate) async fn take<T>(
        &mut self,
        mut skip: u64,
        limit: usize,
        render: Render<T>,
    ) -> Result<Taken<T>> {
        let mut entries: Vec<(T, Bound)> = Vec::with_capacity(limit);
        let (mut bytes, mut early) = (0, 0);
        let requests = if skip > 0 { SKIP_REQUESTS } else { PAGE_REQUESTS };
        loop {
            if entries.len() == limit && self.first().is_some() {
                // Something follows the page, whichever activity it is.
                return Ok(resume_after_last(entries));
            }
            if self.is_blocked() {
                let most = requests + 2 * self.streams.len().saturating_sub(1);
                // Reads for a lower limit begin smaller, so that all of them together reach as far as the first half of these.
                if 2 * self.requests <= most {
                    early = entries.len();
                }
                if self.requests < most && self.budget.has_time() {
                    let left = limit + 1 - entries.len();
                    let need = usize::try_from(skip).unwrap_or(usize::MAX).saturating_add(left);
                    self.narrow_if_cheaper(need);
                    self.fill(need).await?;
                    continue;
                }
                // Where reading a shared partition stopped tells when others did something. The workspaces' own
                // partitions do not, so reading goes on there first.
                if self.budget.has_time() && self.narrow(|_| true) {
                    self.requests = 0;
                    continue;
                }
                let cut = self.cut(entries.last().map(|(_, position)| position));
                // So much happened at one instant that the next page would begin where this one does.
                if self.budget.has_time() && cut.is_some() && cut == self.plan.window.start {
                    self.requests = 0;
                    continue;
                }
                return match cut {
                    Some(next) if skip == 0 => {
                        let fits = (entries.len() < limit).then_some(early);
                        Ok(Taken { entries, next: Some(next), fits })
                    }
                    Some(_) => Err(QueryError::SkipTooDeep.into()),
                    // Everything before took all the time, and nothing says how far the feed was read.
                    None => Err(out_of_time()),
                };
            }
            let Some((position, mut row)) = self.pop() else {
                return Ok(Taken { entries, ..Taken::default() });
            };
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if !self.sees_provenance(&row.activity) {
                row.activity.recorded = None;
            }
            let (entry, size) = render(row)?;
            // The first entry fits always.
            if !entries.is_empty() && bytes + size > self.query.max_bytes {
                let fits = Some(entries.len());
                return Ok(Taken { fits, ..resume_after_last(entries) });
            }
            bytes += size;
            entries.push((entry, position));
        }
    }

    /// The stream that has the first activity, and the activity's position.
    fn first(&self) -> Option<(usize, &Bound)> {
        let heads = self.streams.iter().enumerate();
        let heads = heads.filter_map(|(index, stream)| Some((index, &stream.rows.front()?.0)));
        heads.reduce(
            |first, other| if self.plan.window.order.is_before(other.1, first.1) { other } else { first },
        )
    }

    /// Whether an activity that was not read yet may come first.
    fn is_blocked(&self) -> bool {
        let candidate = self.first().map(|(_, position)| position);
        self.streams.iter().any(|stream| stream.blocks(candidate, self.plan.window.order))
    }

    fn pop(&mut self) -> Option<(Bound, Row)> {
        let (index, _) = self.first()?;
        self.streams[index].rows.pop_front()
    }

    /// Whether the reader sees when and by whom an activity was recorded.
    fn sees_provenance(&self, activity: &Activity) -> bool {
        self.by_id.get(&activity.workspace_id).is_some_and(|visible| visible.sees_provenance)
    }

    /// How far all streams that are not at their end were read: everything before it was.
    fn frontier(&self) -> Option<Bound> {
        let order = self.plan.window.order;
        let mut reached =
            self.streams.iter().filter(|stream| !stream.is_at_end()).map(|stream| &stream.reached);
        let first = reached.next()?.clone();
        reached.try_fold(first?, |least, reached| {
            let reached = reached.clone()?;
            Some(if order.is_before(&reached, &least) { reached } else { least })
        })
    }

    /// Where the next page begins when this one ends, at `last`, before it is full.
    fn cut(&self, last: Option<&Bound>) -> Option<Bound> {
        let order = self.plan.window.order;
        let bound = match self.frontier() {
            Some(frontier) if !self.plan.is_wide => return Some(frontier),
            // The frontier may be an activity that the reader must not see, so the cursor tells its instant only.
            Some(frontier) => {
                let edge = if order == Order::Descending { Edge::After } else { Edge::Before };
                frontier.around_its_instant(edge)
            }
            None => self.fallback.clone()?,
        };
        Some(match last {
            Some(last) if order.is_before(&bound, last) => last.clone(),
            _ => bound,
        })
    }

    /// Leaves an organization's partition for those of the workspaces, when most of it is not for this reader.
    fn narrow_if_cheaper(&mut self, need: usize) {
        let (scanned, matched) = self
            .streams
            .iter()
            .fold((0, 0), |(scanned, matched), stream| (scanned + stream.scanned, matched + stream.matched));
        let to_read = need.saturating_mul(scanned).checked_div(matched).unwrap_or(scanned.saturating_mul(4));
        let for_others = to_read.saturating_sub(need);
        self.narrow(|partitions| for_others > REQUEST_COST * partitions);
    }

    /// Goes on in the workspaces' own partitions, unless it is there already, if so many of them are worth it.
    fn narrow(&mut self, is_worth: impl FnOnce(usize) -> bool) -> bool {
        // Everything before the frontier was taken, and nothing after it.
        let Some(frontier) = self.frontier().filter(|_| self.plan.is_wide) else { return false };
        let window = Window { start: Some(frontier), ..self.plan.window.clone() };
        match Plan::narrow(self.query, self.visible, window) {
            Ok(plan) if is_worth(plan.sources.len() + plan.settings.len()) => {
                self.fallback = self.cut(None);
                self.follow(plan);
                true
            }
            _ => false,
        }
    }
}

/// Entries after the last of which the next page begins.
fn resume_after_last<T>(entries: Vec<(T, Bound)>) -> Taken<T> {
    let next = entries.last().map(|(_, position)| position.clone());
    Taken { entries, next, fits: None }
}

/// Whether the reader sees an activity that was read from this partition.
fn is_shown(by_id: &HashMap<&WorkspaceId, &VisibleWorkspace>, source: &Source, row: &Row) -> bool {
    let Some(visible) = by_id.get(&row.activity.workspace_id) else { return false };
    // A workspace that the organization's partition does not have whole is read from its own.
    let is_here = source.partition.workspace().is_some() || visible.shared_with().is_some();
    is_here && visible.view.shows(&row.activity.action, row.staff)
}

/// Everything that reading a partition needs.
#[derive(Debug, Clone, Copy)]
struct ReadContext<'a> {
    store: &'a Store,
    query: &'a Query,
    by_id: &'a HashMap<&'a WorkspaceId, &'a VisibleWorkspace>,
    plan: &'a Plan,
    budget: &'a Budget,
    /// The most bytes that a partition may hold.
    max_bytes: usize,
}

impl ReadContext<'_> {
    /// Reads a partition on, if there is time.
    async fn read(self, stream: &mut Stream, need: usize, most: usize) -> Result<()> {
        if !self.budget.has_time() {
            return Ok(());
        }
        let Plan { residual, settings_residual, window, .. } = self.plan;
        let residual = if stream.is_settings { settings_residual } else { residual };
        let limit = stream.read_size(need, most);
        let start = match std::mem::replace(&mut stream.progress, Progress::End) {
            Progress::At(continuation) => Some(continuation),
            Progress::Start | Progress::End => None,
        };
        let chunk =
            self.store.chunk(&stream.source, window.order, residual, (limit, self.max_bytes), start).await?;
        let before = stream.rows.len();
        for row in chunk.rows {
            let position = self.position(&row.activity);
            if window.admits(&position)
                && is_shown(self.by_id, &stream.source, &row)
                && self.is_wanted(&row.activity)
            {
                stream.rows.push_back((position, row));
            }
        }
        let found = stream.rows.len() - before;
        stream.disappointing = if found < need && chunk.scanned >= limit { limit } else { 0 };
        stream.scanned += chunk.scanned;
        stream.matched += found;
        if stream.is_shared() {
            // An index does not order items that have the same key there.
            stream.rows.make_contiguous().sort_by(|(a, _), (b, _)| match window.order {
                Order::Ascending => a.cmp(b),
                Order::Descending => b.cmp(a),
            });
        }
        if let Some(next) = chunk.next {
            stream.reached = Some(self.reached(stream, &next));
            stream.progress = Progress::At(next);
        }
        Ok(())
    }

    fn position(&self, activity: &Activity) -> Bound {
        let position: Bound = match self.query.sort {
            Sort::Time => activity.position().into(),
            Sort::Category => activity.category_position().into(),
        };
        match self.query.has_several_workspaces() {
            true => position.in_workspace(&activity.workspace_id),
            false => position,
        }
    }

    /// Whether the filters show an activity that the partition could not select by its kind.
    fn is_wanted(&self, activity: &Activity) -> bool {
        let shows = |kind| self.query.filter.shows(kind, activity);
        !self.plan.sift || shows(FilterKind::Action) && shows(FilterKind::Category)
    }

    /// The bound before which everything was read.
    fn reached(&self, stream: &Stream, next: &Continuation) -> Bound {
        let reached = next.reached.clone();
        match (self.query.has_several_workspaces(), stream.is_shared(), self.plan.window.order) {
            (true, false, _) => reached.in_workspace(&next.workspace),
            // Any workspace may still have an activity at this position.
            (true, true, Order::Descending) => reached.just_after(),
            (false, ..) | (true, true, Order::Ascending) => reached,
        }
    }
}
