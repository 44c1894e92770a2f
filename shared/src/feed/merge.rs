//! Several ordered partitions read as one, in as few requests as their filters allow.

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::Order;
use super::plan::Plan;
use crate::activity::Activity;
use crate::keys::Position;
use crate::store::{Chunk, Item, Residual, Row, Source, Span, Store};
use crate::{Error, Result, wire};

/// Requests of up to 1 MB that a page may take before it is returned short, with a link to the rest; each further
/// partition to merge adds two.
const PAGE_REQUESTS: usize = 16;
/// Requests that skipping an offset by reading may take: 64 MB, some 100,000 activities.
const SKIP_REQUESTS: usize = 64;
/// The most activities asked for in one round; DynamoDB stops at 1 MB for each partition anyway.
const MOST: usize = 10_000;

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
    rows: VecDeque<Row>,
    next: Next,
    /// The last place read; nothing before it is still to come.
    reached: Option<Position>,
    scanned: usize,
    matched: usize,
}

impl Stream {
    fn new(source: Source) -> Self {
        Self { source, rows: VecDeque::new(), next: Next::Start, reached: None, scanned: 0, matched: 0 }
    }

    fn is_starved(&self) -> bool {
        self.rows.is_empty() && !matches!(self.next, Next::End)
    }

    /// How many to read, of at most `most`, so that `need` pass the filter, by how many passed so far.
    fn sized(&self, need: usize, most: usize) -> usize {
        let size = match (self.scanned, self.matched) {
            (0, _) => need,
            (scanned, 0) => scanned.saturating_mul(4),
            (scanned, matched) => need.saturating_mul(scanned).div_ceil(matched),
        };
        size.clamp(need.min(most), most)
    }
}

#[expect(clippy::large_enum_variant, reason = "matched at once, never kept")]
enum Popped {
    Row(Row),
    /// A partition must be read further first.
    Starved,
    End,
}

/// A feed being read.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    store: &'a Store,
    streams: Vec<Stream>,
    span: Span,
    order: Order,
    residual: Residual,
    requests: usize,
    until: Instant,
}

impl<'a> Merge<'a> {
    /// A merge that begins no read after `until`.
    pub(super) fn new(store: &'a Store, plan: &Plan, order: Order, until: Instant) -> Self {
        let streams = plan.sources.iter().cloned().map(Stream::new).collect();
        let (span, residual) = (plan.span.clone(), plan.residual.clone());
        Self { store, streams, span, order, residual, requests: 0, until }
    }

    /// Hides what is for staff, also of what has been read already.
    pub(super) fn set_hide_staff(&mut self, hide: bool) {
        self.residual.hide_staff = hide;
    }

    /// Begins again, elsewhere.
    pub(super) fn restart(&mut self, span: Span) {
        self.span = span;
        for stream in &mut self.streams {
            *stream = Stream::new(stream.source.clone());
        }
    }

    /// Reads on in every partition of which nothing is left, so that `need` activities are likely there.
    pub(super) async fn fill(&mut self, need: usize) -> Result<()> {
        let most = MOST / self.streams.len().max(1);
        let Self { store, span, order, residual, requests, .. } = self;
        let starved: Vec<&mut Stream> =
            self.streams.iter_mut().filter(|stream| stream.is_starved()).collect();
        *requests += starved.len();
        let reads = starved.into_iter().map(|stream| async {
            let limit = stream.sized(need, most);
            let start = match std::mem::replace(&mut stream.next, Next::End) {
                Next::At(key) => Some(key),
                Next::Start | Next::End => None,
            };
            let chunk = store.chunk(&stream.source, span, *order, residual, limit, start).await?;
            stream.scanned += chunk.scanned;
            stream.matched += chunk.rows.len();
            stream.rows.extend(chunk.rows);
            if let Some(key) = chunk.next {
                let reached = Chunk::reached(&key);
                stream.reached = Some(reached.ok_or_else(|| Error::internal("a page that ends nowhere"))?);
                stream.next = Next::At(key);
            }
            Ok(())
        });
        try_join_all(reads).await.map(drop)
    }

    /// Takes the next `limit` activities after skipping `skip`, and says where the next page begins.
    pub(super) async fn take(
        &mut self,
        mut skip: usize,
        limit: usize,
    ) -> Result<(Vec<Activity>, Option<Position>)> {
        let mut page: Vec<Activity> = Vec::with_capacity(limit);
        let mut bytes = 0;
        let more = 2 * (self.streams.len().saturating_sub(1));
        let requests = if skip > 0 { SKIP_REQUESTS } else { PAGE_REQUESTS } + more;
        loop {
            match self.pop() {
                Popped::Row(row) if row.staff && self.residual.hide_staff => {}
                Popped::Row(_) if skip > 0 => skip -= 1,
                Popped::Row(row) => {
                    let size = wire::size(&serde_json::to_string(&row.activity).map_err(Error::internal)?);
                    // One more than the page holds is there. The first fits always.
                    if page.len() == limit || bytes + size > wire::MAX {
                        let next = page.last().map(Activity::position);
                        return Ok((page, next));
                    }
                    bytes += size;
                    page.push(row.activity);
                }
                Popped::End => return Ok((page, None)),
                Popped::Starved if self.requests < requests && Instant::now() < self.until => {
                    self.fill(skip.saturating_add(limit + 1 - page.len())).await?;
                }
                Popped::Starved => match self.frontier() {
                    Some(next) if skip == 0 => return Ok((page, Some(next))),
                    Some(_) => {
                        let detail = "is too deep to be skipped by reading; follow the Link header instead, or \
                                      narrow the feed with since and until";
                        return Err(Error::bad_input("offset", detail));
                    }
                    // What came before took all the time, and nothing says where the feed stands.
                    None => return Err(Error::Unavailable("no time was left to read the page".into())),
                },
            }
        }
    }

    /// Takes the next activity of all partitions, if it is certain that none comes before it.
    fn pop(&mut self) -> Popped {
        let order = self.order;
        let before = |a: &Position, b: &Position| match order {
            Order::Ascending => a < b,
            Order::Descending => a > b,
        };
        let mut best: Option<(usize, Position)> = None;
        for (index, stream) in self.streams.iter().enumerate() {
            let Some(row) = stream.rows.front() else { continue };
            let place = row.activity.position();
            if best.as_ref().is_none_or(|(_, best)| before(&place, best)) {
                best = Some((index, place));
            }
        }
        let starved = self.streams.iter().any(Stream::is_starved);
        let frontier = self.frontier();
        match best {
            None if starved => Popped::Starved,
            None => Popped::End,
            Some((_, place)) if starved && frontier.is_none_or(|frontier| before(&frontier, &place)) => {
                Popped::Starved
            }
            Some((index, _)) => self.streams[index].rows.pop_front().map_or(Popped::End, Popped::Row),
        }
    }

    /// How far the partition that must be read further has been read: nothing before is still to come.
    fn frontier(&self) -> Option<Position> {
        let mut starved =
            self.streams.iter().filter(|stream| stream.is_starved()).map(|stream| &stream.reached);
        let first = starved.next()?.clone();
        starved.try_fold(first?, |least, reached| {
            let reached = reached.clone()?;
            Some(match self.order {
                Order::Ascending => least.min(reached),
                Order::Descending => least.max(reached),
            })
        })
    }
}
