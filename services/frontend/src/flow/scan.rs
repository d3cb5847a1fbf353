//! One page of a scan within one group, over its tablets, forward or reverse, at one version.

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use lamina_engine::Block;
use lamina_engine::merge::{HandleRequest, MemoryCursor, Need};
use lamina_engine::scan::{Scan as Walk, ScanSpec, Step};
use lamina_env::time::{self, Duration, Instant};
use lamina_group::data::{GroupView, TabletView};
use lamina_peers::index::SeekRange;
use lamina_peers::kv::Row;
use lamina_types::{BlockHandle, Error, KeyRange, Reason, RequestContext, Result, Version, limits};

use crate::flow::read::{At, again, timely_view, view_at};
use crate::flow::search::{SearchFault, Searcher, records_of};
use crate::hand::blocks::Wanted;
use crate::host::DataHost;

/// A page ends after this time where it is, also without rows: behind a long stretch of deleted keys a scan goes on
/// from page to page, and does not begin it again each time until its deadline.
const PAGE_TIME: Duration = Duration::from_secs(2);
/// How often a page starts again with a new view because a table was gone.
const VIEWS_MAX: usize = 4;

/// What one page reads. Keys begin with their keyspace.
#[derive(Clone, Debug)]
pub struct PageSpec {
    /// What is left of the range.
    pub range: KeyRange,
    /// From the last key to the first.
    pub reverse: bool,
    /// Rows at most.
    pub limit: usize,
    /// Leaves values out.
    pub keys_only: bool,
    /// Which version.
    pub at: At,
}

/// The rows of a page, keys with their keyspace.
pub struct Rows {
    /// In the order of the scan.
    pub rows: Vec<Row>,
    /// The version at which was read.
    pub read_at: Version,
    /// Where this group's part of the range ended; `None`: the page ended before, by its limits.
    pub end: Option<Ended>,
}

/// Where a group's part of a range ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// With the range.
    Range,
    /// Here another group's keys begin (in reverse: end).
    Group(Bytes),
    /// Nowhere yet: the page took its time, and the next one goes on here.
    Late(Bytes),
}

/// Reads one page.
pub async fn page(
    searcher: &Searcher,
    context: &RequestContext,
    host: &DataHost,
    spec: &PageSpec,
) -> Result<Rows> {
    let mut fault = None;
    for _ in 0..VIEWS_MAX {
        let (view, version) = match spec.at {
            At::Newest => {
                let view = timely_view(host).await?;
                let version = view.last_version;
                (view, version)
            }
            At::Version(_) => view_at(host, spec.at).await?,
        };
        match read_page(searcher, context, host, spec, &view, version).await {
            Ok(rows) => {
                host.scans.keep(version);
                return Ok(rows);
            }
            Err(PageFault::Search(error)) => fault = Some(again(error)?),
            Err(PageFault::Other(error)) => return Err(error),
        }
    }
    Err(fault
        .unwrap_or_else(|| Error::new(Reason::StateMoved, "the state moved on too often; repeat the scan")))
}

enum PageFault {
    Search(SearchFault),
    Other(Error),
}

impl<E: Into<SearchFault>> From<E> for PageFault {
    fn from(fault: E) -> PageFault {
        PageFault::Search(fault.into())
    }
}

async fn read_page(
    searcher: &Searcher,
    context: &RequestContext,
    host: &DataHost,
    spec: &PageSpec,
    view: &GroupView,
    version: Version,
) -> Result<Rows, PageFault> {
    let mut rows = Rows { rows: Vec::new(), read_at: version, end: None };
    let mut bytes = 0;
    let until = time::now() + PAGE_TIME;
    let mut left = spec.range.clone();
    loop {
        // The tablet of the next key to read; none: the group's part ends here.
        let Some(tablet) = next_tablet(view, &left, spec.reverse) else {
            if rows.rows.is_empty() && left == spec.range {
                return Err(PageFault::Other(host.not_owner()));
            }
            rows.end = Some(Ended::Group(border(&left, spec.reverse)));
            return Ok(rows);
        };
        if let At::Version(at) = spec.at {
            view.check_version(tablet, at).map_err(|refused| PageFault::Other(refused.into()))?;
        }
        let Some(part) = tablet.range.intersect(&left) else {
            rows.end = Some(Ended::Range);
            return Ok(rows);
        };
        let page = (&mut rows.rows, &mut bytes);
        match walk(searcher, context, view, tablet, &part, spec, version, page, until).await? {
            Walked::Through => {}
            Walked::Full => return Ok(rows),
            Walked::Late(border) => {
                rows.end = Some(Ended::Late(border));
                return Ok(rows);
            }
        }
        match rest(&left, &part, spec.reverse) {
            Some(rest) => left = rest,
            None => {
                rows.end = Some(Ended::Range);
                return Ok(rows);
            }
        }
    }
}

/// How far a walk came.
enum Walked {
    /// To the end of its part.
    Through,
    /// The page is full.
    Full,
    /// To this border, when the time was over.
    Late(Bytes),
}

/// Reads one tablet's part.
#[expect(clippy::too_many_arguments, reason = "the page's whole state; a struct for one call would hide it")]
async fn walk(
    searcher: &Searcher,
    context: &RequestContext,
    view: &GroupView,
    tablet: &TabletView,
    part: &KeyRange,
    spec: &PageSpec,
    version: Version,
    (rows, bytes): (&mut Vec<Row>, &mut usize),
    until: Instant,
) -> Result<Walked, PageFault> {
    let wanted = spec.limit.saturating_sub(rows.len());
    let scan = ScanSpec { range: part.clone(), at: version, reverse: spec.reverse, rows_hint: Some(wanted) };
    let mut scan = Walk::new(scan, cursors(tablet, part), &tablet.tree);
    loop {
        match scan.step() {
            Step::Row { key, value, version } => {
                let value = if spec.keys_only { Bytes::new() } else { value };
                *bytes += key.len() + value.len();
                rows.push(Row { key, value, version });
                if rows.len() >= spec.limit || *bytes >= limits::SCAN_CHUNK_BYTES {
                    return Ok(Walked::Full);
                }
            }
            Step::Need(needs) => {
                if let Some(border) = late(&scan, until, part, rows, spec.reverse) {
                    return Ok(Walked::Late(border));
                }
                feed(searcher, context, view, tablet, &mut scan, needs).await?;
            }
            Step::Done => return Ok(Walked::Through),
        }
    }
}

/// Where the next page goes on if the time is over and the walk has left the place where it began.
fn late(scan: &Walk, until: Instant, part: &KeyRange, rows: &[Row], reverse: bool) -> Option<Bytes> {
    let position = scan.position();
    if time::now() < until || position.is_empty() {
        return None;
    }
    let given = rows.last().is_some_and(|row| row.key.as_ref() == position);
    let mut border = position.to_vec();
    // The next page begins with the key if its row is still to come, else behind it.
    if given != reverse {
        border.push(0);
    }
    let moved = if reverse {
        part.end.as_deref() != Some(border.as_slice())
    } else {
        border.as_slice() > part.start.as_ref()
    };
    moved.then(|| Bytes::from(border))
}

fn cursors(tablet: &TabletView, part: &KeyRange) -> Vec<MemoryCursor> {
    let active = std::iter::once((tablet.active.clone(), part.clone()));
    let older = tablet.memory.iter().filter_map(|memory| {
        let range = memory.range.intersect(part)?;
        Some((memory.memtable.clone(), range))
    });
    active.chain(older).map(|(memtable, range)| Box::new(memtable.cursor(range)) as MemoryCursor).collect()
}

/// Fetches all that a walk needs, side by side, and feeds it.
async fn feed(
    searcher: &Searcher,
    context: &RequestContext,
    view: &GroupView,
    tablet: &TabletView,
    walk: &mut Walk,
    needs: Vec<Need>,
) -> Result<(), SearchFault> {
    let mut requests = Vec::new();
    let mut handles = Vec::new();
    for need in needs {
        match need {
            Need::Handles(request) => requests.push(request),
            Need::Blocks(blocks) => handles.extend(blocks),
        }
    }
    let seeks = requests.iter().map(|request| seek(searcher, context, view, tablet, request));
    let (sought, blocks) =
        futures::future::join(join_all(seeks), fetch(searcher, context, view, &handles)).await;
    for (request, answer) in requests.iter().zip(sought) {
        let (handles, exhausted) = answer?;
        walk.feed_handles(request, handles, exhausted);
    }
    for (handle, block) in handles.into_iter().zip(blocks?) {
        walk.feed_block(handle, block);
    }
    Ok(())
}

async fn seek(
    searcher: &Searcher,
    context: &RequestContext,
    view: &GroupView,
    tablet: &TabletView,
    request: &HandleRequest,
) -> Result<(Vec<BlockHandle>, bool), SearchFault> {
    let range = SeekRange {
        table: request.table,
        range: request.range.clone(),
        reverse: request.reverse,
        limit: request.limit,
    };
    let records = records_of(view, &[request.table]);
    Ok(searcher.index.seek(context, tablet.shard, &range, &records).await?)
}

async fn fetch(
    searcher: &Searcher,
    context: &RequestContext,
    view: &GroupView,
    handles: &[BlockHandle],
) -> Result<Vec<Block>, SearchFault> {
    // A long scan must not push out of the cache what point reads need: only what is there already is used.
    let wanted: Vec<Wanted> = handles
        .iter()
        .filter_map(|handle| {
            Some(Wanted { handle: *handle, record: view.table(handle.table)?.clone(), keep: false })
        })
        .collect();
    if wanted.len() < handles.len() {
        return Err(SearchFault::Failed(Error::new(
            Reason::Bug,
            "a scan wants a block of a table that is not live",
        )));
    }
    // In pieces, so that several data nodes read at the same time.
    let pieces = wanted.chunks(16).map(|piece| searcher.blocks.fetch(context, piece));
    Ok(try_join_all(pieces).await?.into_iter().flatten().collect())
}

/// The tablet with the first key to read of what is left.
fn next_tablet<'a>(view: &'a GroupView, left: &KeyRange, reverse: bool) -> Option<&'a TabletView> {
    if !reverse {
        return view.tablet_of(&left.start).map(AsRef::as_ref);
    }
    // The last tablet that begins before the end, if it reaches up to it.
    let before_end = |start: &Bytes| left.end.as_ref().is_none_or(|end| start < end);
    let tablet = view.tablets.iter().rev().find(|tablet| before_end(&tablet.range.start))?;
    tablet.range.cmp_ends(left).is_ge().then_some(tablet)
}

/// What is left of a range behind a part (before it, in reverse).
fn rest(left: &KeyRange, part: &KeyRange, reverse: bool) -> Option<KeyRange> {
    let rest = if reverse {
        KeyRange { start: left.start.clone(), end: Some(part.start.clone()) }
    } else {
        KeyRange { start: part.end.clone()?, end: left.end.clone() }
    };
    (!rest.is_empty()).then_some(rest)
}

fn border(left: &KeyRange, reverse: bool) -> Bytes {
    if reverse { left.end.clone().unwrap_or_default() } else { left.start.clone() }
}
