//! The door for keys and values: validates, finds the leader, calls one flow, or sends the request on.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lamina_env::Clock;
use lamina_env::time::{self, Duration};
use lamina_peers::Port;
use lamina_peers::kv::{
    BatchGet, BatchGot, Get, Got, Hello, KvAnswer, KvRequest, Page, ReadAt, Row, Scan, SnapshotReleased,
    Welcome, Write,
};
use lamina_types::{Error, GroupId, KeyRange, Reason, RequestContext, Result, Version, limits};

use crate::flow::read::{self, At};
use crate::flow::route::{Route, Router, inside, outside, range_inside};
use crate::flow::scan::{self, Ended, PageSpec};
use crate::flow::search::Searcher;
use crate::flow::{snapshot, write};
use crate::heart::token::{self, Resume};
use crate::host::DataHost;

/// The life of the snapshot behind a scan over several groups.
const SCAN_SNAPSHOT_MS: u64 = 60_000;

/// Takes requests for keys and values.
pub struct KvDoor {
    router: Router,
    searcher: Searcher,
    clock: Arc<dyn Clock>,
}

impl KvDoor {
    /// A door to these groups.
    pub fn new(router: Router, searcher: Searcher, clock: Arc<dyn Clock>) -> KvDoor {
        KvDoor { router, searcher, clock }
    }

    async fn serve(&self, context: &RequestContext, request: KvRequest) -> Result<KvAnswer> {
        // A future is moved as a whole into the list of its stream: the frequent requests stay small, the others and
        // the way to another node get a box of their own.
        match request {
            KvRequest::Get(get) => self.get(context, get).await,
            KvRequest::Write(write) => self.write(context, write).await,
            KvRequest::BatchGet(get) => Box::pin(self.batch_get(context, get)).await,
            KvRequest::Scan(scan) => Box::pin(self.scan(context, scan)).await,
            KvRequest::TakeSnapshot(take) => {
                Box::pin(snapshot::take(&self.router, context, &take)).await.map(KvAnswer::TakeSnapshot)
            }
            KvRequest::ReleaseSnapshot(release) => {
                Box::pin(snapshot::release(&self.router, context, release.snapshot)).await?;
                Ok(KvAnswer::ReleaseSnapshot(SnapshotReleased {}))
            }
            KvRequest::Hello(hello) => self.hello(&hello).map(KvAnswer::Hello),
        }
    }

    async fn get(&self, context: &RequestContext, get: Get) -> Result<KvAnswer> {
        let key = inside(&get.key);
        match self.router.route_key(&key)? {
            Route::Here(host) => {
                let at = resolve(&host, get.at).await?;
                let (value, read_at) = read::get(&self.searcher, context, &host, &key, at).await?;
                host.metrics.read(1);
                Ok(KvAnswer::Get(Got { value, read_at }))
            }
            Route::There { group, leader } => {
                Box::pin(self.router.forward(context, group, leader, KvRequest::Get(get))).await
            }
        }
    }

    async fn batch_get(&self, context: &RequestContext, get: BatchGet) -> Result<KvAnswer> {
        let mut by_group: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        for (position, key) in get.keys.iter().enumerate() {
            by_group.entry(self.router.group_of(&inside(key))?).or_default().push(position);
        }
        if let (1, Some((group, _))) = (by_group.len(), by_group.first_key_value()) {
            return self.batch_get_in(context, *group, get).await;
        }
        // Keys of several groups are read at one version, which a snapshot keeps readable meanwhile.
        if get.at == ReadAt::Newest {
            let take = lamina_peers::kv::TakeSnapshot { ttl_ms: SCAN_SNAPSHOT_MS };
            let taken = snapshot::take(&self.router, context, &take).await?;
            let at = ReadAt::Snapshot(taken.snapshot);
            let result = Box::pin(self.batch_get(context, BatchGet { at, ..get })).await;
            // What cannot be released expires by itself.
            let _ = snapshot::release(&self.router, context, taken.snapshot).await;
            return result;
        }
        let mut values = vec![None; get.keys.len()];
        let mut read_at = Version::ZERO;
        for (group, positions) in by_group {
            let keys = positions.iter().filter_map(|position| get.keys.get(*position).cloned()).collect();
            let part = BatchGet { keys, at: get.at };
            let KvAnswer::BatchGet(got) = self.batch_get_in(context, group, part).await? else {
                return Err(Error::new(Reason::Bug, "a batch get was answered with something else"));
            };
            read_at = read_at.max(got.read_at);
            for (position, value) in positions.into_iter().zip(got.values) {
                if let Some(slot) = values.get_mut(position) {
                    *slot = value;
                }
            }
        }
        Ok(KvAnswer::BatchGet(BatchGot { values, read_at }))
    }

    async fn batch_get_in(
        &self,
        context: &RequestContext,
        group: GroupId,
        get: BatchGet,
    ) -> Result<KvAnswer> {
        match self.router.route_group(group) {
            Route::Here(host) => {
                let at = resolve(&host, get.at).await?;
                let keys: Vec<Bytes> = get.keys.iter().map(|key| inside(key)).collect();
                let values = read::batch_get(&self.searcher, context, &host, &keys, at).await?;
                host.metrics.read(keys.len());
                Ok(KvAnswer::BatchGet(BatchGot { values: values.values, read_at: values.read_at }))
            }
            Route::There { group, leader } => {
                self.router.forward(context, group, leader, KvRequest::BatchGet(get)).await
            }
        }
    }

    async fn write(&self, context: &RequestContext, request: Write) -> Result<KvAnswer> {
        let first = request.operations.first().map(|operation| inside(&operation.key));
        let first = first.ok_or_else(|| Error::new(Reason::BatchEmpty, "the batch has no operation"))?;
        match self.router.route_key(&first)? {
            Route::Here(host) => {
                write::write(&self.searcher, context, &host, &request).await.map(KvAnswer::Write)
            }
            Route::There { group, leader } => {
                Box::pin(self.router.forward(context, group, leader, KvRequest::Write(request))).await
            }
        }
    }

    async fn scan(&self, context: &RequestContext, request: Scan) -> Result<KvAnswer> {
        let view = self.router.links.view()?;
        let whole = range_inside(&request.range);
        let bound = token::Request { cluster: view.cluster, range: &request.range, reverse: request.reverse };
        let resume = request.resume.as_ref().map(|resume| token::decode(&bound, resume)).transpose()?;
        let left = match &resume {
            Some(resume) => rest(&whole, &resume.last, request.reverse),
            None => whole,
        };
        if left.is_empty() {
            let read_at = resume.map_or(Version::ZERO, |resume| resume.version);
            return Ok(KvAnswer::Scan(Page { rows: Vec::new(), resume: None, read_at }));
        }
        let edge = self.first_key(&left, request.reverse);
        let host = match self.router.route_key(&edge)? {
            Route::Here(host) => host,
            Route::There { group, leader } => {
                return self.router.forward(context, group, leader, KvRequest::Scan(request)).await;
            }
        };
        let mut pinned = None;
        let at = match &resume {
            Some(resume) => At::Version(resume.version),
            None if request.at == ReadAt::Newest && self.spans_groups(&left) => {
                let take = lamina_peers::kv::TakeSnapshot { ttl_ms: SCAN_SNAPSHOT_MS };
                let taken = snapshot::take(&self.router, context, &take).await?;
                pinned = Some(taken.snapshot);
                At::Version(taken.version)
            }
            None => resolve(&host, request.at).await?,
        };
        let limit = if request.limit == 0 { limits::SCAN_ROWS_DEFAULT } else { request.limit };
        let spec = PageSpec {
            range: left,
            reverse: request.reverse,
            limit: limit as usize,
            keys_only: request.keys_only,
            at,
        };
        let rows = scan::page(&self.searcher, context, &host, &spec).await?;
        host.metrics.read(rows.rows.len());
        let last = match (&rows.end, rows.rows.last()) {
            (Some(Ended::Range), _) => None,
            // The next page begins at the border itself: the key just before it was "seen".
            (Some(Ended::Group(border) | Ended::Late(border)), _) => Some(Seen::Border(border.clone())),
            (None, Some(row)) => Some(Seen::Key(row.key.clone())),
            (None, None) => None,
        };
        if let (Some(snapshot), None) = (pinned, &last) {
            // The scan is over; a store takes only so many snapshots at once.
            let _ = snapshot::release(&self.router, context, snapshot).await;
        }
        let resume = last.map(|last| {
            let resume = Resume { version: rows.read_at, last: last.encode() };
            token::encode(&bound, &resume)
        });
        let rows_out = rows.rows.into_iter().map(|row| Row { key: outside(&row.key), ..row }).collect();
        Ok(KvAnswer::Scan(Page { rows: rows_out, resume, read_at: rows.read_at }))
    }

    /// A key of the group that has the next rows.
    fn first_key(&self, left: &KeyRange, reverse: bool) -> Bytes {
        if !reverse {
            return left.start.clone();
        }
        // The end itself is excluded: the group with the last keys before it is the one of the last tablet that
        // begins before it.
        let Ok(view) = self.router.links.view() else { return left.start.clone() };
        let before = |start: &Bytes| left.end.as_ref().is_none_or(|end| start < end);
        let hint =
            view.tablets.iter().filter(|hint| before(&hint.range.start)).max_by_key(|hint| &hint.range.start);
        hint.map_or_else(|| left.start.clone(), |hint| hint.range.start.clone().max(left.start.clone()))
    }

    fn spans_groups(&self, left: &KeyRange) -> bool {
        let Ok(view) = self.router.links.view() else { return false };
        let mut groups = view.tablets.iter().filter(|hint| hint.range.overlaps(left)).map(|hint| hint.group);
        let first = groups.next();
        groups.any(|group| Some(group) != first)
    }

    fn hello(&self, hello: &Hello) -> Result<Welcome> {
        let view = self.router.links.view()?;
        if hello.protocol != 1 {
            return Err(Error::new(
                Reason::NotBuilt,
                format!("this store speaks protocol 1, and the client asks for {}", hello.protocol),
            ));
        }
        if let Some(feature) = hello.required_features.first() {
            return Err(Error::new(
                Reason::NotBuilt,
                format!("this store does not have the feature {feature:?}"),
            ));
        }
        if hello.cluster.is_some_and(|cluster| cluster != view.cluster) {
            return Err(Error::new(
                Reason::ClusterMismatch,
                format!("this is store {}, not the one that the client wants", view.cluster),
            ));
        }
        let node =
            self.router.links.me.node().ok_or_else(|| Error::new(Reason::NotReady, "the node starts"))?;
        let hints =
            self.router.hosts().into_iter().map(|host| host.published.view().last_version.max(host.hint()));
        let version = hints.max().unwrap_or_else(|| Version::from_ms(self.clock.now_ms()));
        Ok(Welcome { node, version, view: view.as_ref().clone() })
    }
}

#[async_trait]
impl Port<KvRequest, KvAnswer> for KvDoor {
    async fn call(&self, context: RequestContext, request: KvRequest) -> Result<KvAnswer> {
        lamina_proto::validate::kv(&request)?;
        if context.deadline_ms == 0 {
            return Err(Error::new(Reason::DeadlineExceeded, "the deadline passed before any work was done"));
        }
        let limit = Duration::from_millis(context.deadline_ms.min(limits::DEADLINE_MS_MAX));
        let is_write = matches!(request, KvRequest::Write(_));
        time::timeout(limit, self.serve(&context, request)).await.unwrap_or_else(|_| {
            let what = if is_write {
                "the deadline passed before the result was seen: the write may or may not have been done; \
                 repeat it with the same request id"
            } else {
                "the deadline passed before the answer was found"
            };
            Err(Error::new(Reason::DeadlineExceeded, what))
        })
    }
}

/// What the last page ended with.
enum Seen {
    Key(Bytes),
    Border(Bytes),
}

impl Seen {
    fn encode(&self) -> Bytes {
        let (tag, key) = match self {
            Seen::Key(key) => (0u8, key),
            Seen::Border(key) => (1, key),
        };
        let mut out = vec![tag];
        out.extend_from_slice(key);
        Bytes::from(out)
    }
}

/// What is left of a range behind what was seen.
fn rest(whole: &KeyRange, last: &Bytes, reverse: bool) -> KeyRange {
    let key = last.slice(1.min(last.len())..);
    let is_key = last.first() == Some(&0);
    if reverse {
        return KeyRange { start: whole.start.clone(), end: Some(key) };
    }
    let start = if is_key {
        let mut next = key.to_vec();
        next.push(0);
        Bytes::from(next)
    } else {
        key
    };
    KeyRange { start: start.max(whole.start.clone()), end: whole.end.clone() }
}

/// The version that a request names, in the words of a group.
async fn resolve(host: &DataHost, at: ReadAt) -> Result<At> {
    match at {
        ReadAt::Newest => Ok(At::Newest),
        ReadAt::Version(version) => Ok(At::Version(version)),
        ReadAt::Snapshot(snapshot) => {
            let view = host.newest_view().await?;
            let pin = view.pins.get(&snapshot).ok_or_else(|| {
                Error::new(
                    Reason::SnapshotExpired,
                    "the snapshot has expired, was released, or never was; take a new one",
                )
            })?;
            Ok(At::Version(pin.at))
        }
    }
}
