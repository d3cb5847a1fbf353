//! Get and batch get: a view that is new enough, a search, and a second view if a table went away meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::Value;
use lamina_group::data::entry::Tick;
use lamina_group::data::{GroupView, TabletView};
use lamina_peers::kv::Found;
use lamina_types::{Error, Reason, RequestContext, Result, Version};

use crate::flow::search::{SearchFault, Searcher, data_loss};
use crate::host::DataHost;

/// How often a read starts again with a new view because a table was gone.
const VIEWS_MAX: usize = 4;
/// A leader whose clock is this far ahead of the group's brings the group's clock up before it judges an expiry.
const TICK_AHEAD_MS: u64 = 1_000;

/// Which version a read within one group sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The newest, linearizable.
    Newest,
    /// This one.
    Version(Version),
}

/// What keys have, and the version at which was read.
pub struct Values {
    /// One for each key, in their order.
    pub values: Vec<Option<Found>>,
    /// The version at which was read.
    pub read_at: Version,
}

/// Reads one key (keyspace first).
pub async fn get(
    searcher: &Searcher,
    context: &RequestContext,
    host: &DataHost,
    key: &Bytes,
    at: At,
) -> Result<(Option<Found>, Version)> {
    let mut fault = None;
    let mut clock_stands = false;
    for _ in 0..VIEWS_MAX {
        let (view, version) = view_at(host, at).await?;
        let tablet = tablet_of(host, &view, key)?;
        check(&view, tablet, at)?;
        match searcher.find(context, &view, tablet, key, version).await {
            Ok(found)
                if !clock_stands && must_tick(host, &view, at, found.as_ref().map(|(_, value)| value)) =>
            {
                clock_stands = !tick(host).await?;
            }
            Ok(found) => return Ok((found.and_then(|found| visible(found, version)), version)),
            Err(error) => fault = Some(again(error)?),
        }
    }
    Err(fault.unwrap_or_else(too_often))
}

/// Reads many keys (keyspace first) of one group at one version.
pub async fn batch_get(
    searcher: &Searcher,
    context: &RequestContext,
    host: &DataHost,
    keys: &[Bytes],
    at: At,
) -> Result<Values> {
    let mut fault = None;
    let mut clock_stands = false;
    for _ in 0..VIEWS_MAX {
        let (view, version) = view_at(host, at).await?;
        match search_all(searcher, context, host, &view, version, keys, at).await? {
            Ok(found) => {
                let expiring = found.iter().flatten().map(|(_, value)| value).find(|value| expires(value));
                if !clock_stands && must_tick(host, &view, at, expiring) {
                    clock_stands = !tick(host).await?;
                    continue;
                }
                let values =
                    found.into_iter().map(|found| found.and_then(|found| visible(found, version))).collect();
                return Ok(Values { values, read_at: version });
            }
            Err(error) => fault = Some(again(error)?),
        }
    }
    Err(fault.unwrap_or_else(too_often))
}

type Search = Result<Vec<Option<(Version, Value)>>, SearchFault>;

async fn search_all(
    searcher: &Searcher,
    context: &RequestContext,
    host: &DataHost,
    view: &GroupView,
    version: Version,
    keys: &[Bytes],
    at: At,
) -> Result<Search> {
    let mut by_tablet: BTreeMap<&Bytes, (&Arc<TabletView>, Vec<usize>)> = BTreeMap::new();
    for (position, key) in keys.iter().enumerate() {
        let tablet = tablet_of(host, view, key)?;
        check(view, tablet, at)?;
        by_tablet.entry(&tablet.range.start).or_insert_with(|| (tablet, Vec::new())).1.push(position);
    }
    let searches = by_tablet.into_values().map(|(tablet, positions)| async move {
        let keys: Vec<Bytes> = positions.iter().filter_map(|position| keys.get(*position).cloned()).collect();
        (positions, searcher.find_many(context, view, tablet, &keys, version).await)
    });
    let mut all = vec![None; keys.len()];
    for (positions, found) in futures::future::join_all(searches).await {
        match found {
            Ok(found) => {
                for (position, found) in positions.into_iter().zip(found) {
                    if let Some(slot) = all.get_mut(position) {
                        *slot = found;
                    }
                }
            }
            Err(fault) => return Ok(Err(fault)),
        }
    }
    Ok(Ok(all))
}

/// The view of a read and the version that it reads.
pub async fn view_at(host: &DataHost, at: At) -> Result<(Arc<GroupView>, Version)> {
    let view = host.newest_view().await?;
    let version = match at {
        At::Newest => view.last_version,
        At::Version(version) => version,
    };
    Ok((view, version))
}

/// A newest view whose clock is near the present: for readers that meet many entries and do not see which of them
/// expire (protocols §4).
///
/// # Errors
/// As [`DataHost::newest_view`].
pub async fn timely_view(host: &DataHost) -> Result<Arc<GroupView>> {
    let view = host.newest_view().await?;
    if host.replica.hint_ms() <= view.last_version.ms() + TICK_AHEAD_MS {
        return Ok(view);
    }
    if tick(host).await? { host.newest_view().await } else { Ok(view) }
}

/// The tablet that has the key.
pub fn tablet_of<'a>(host: &DataHost, view: &'a GroupView, key: &[u8]) -> Result<&'a Arc<TabletView>> {
    view.tablet_of(key).ok_or_else(|| host.not_owner())
}

fn check(view: &GroupView, tablet: &TabletView, at: At) -> Result<()> {
    match at {
        At::Newest => Ok(()),
        At::Version(version) => Ok(view.check_version(tablet, version)?),
    }
}

/// A table that is gone is worth another view; everything else is the answer.
pub fn again(fault: SearchFault) -> Result<Error> {
    match fault {
        SearchFault::Gone(table) => Ok(data_loss(table)),
        SearchFault::Damaged(table) => Err(data_loss(table)),
        SearchFault::Failed(error) => Err(error),
    }
}

fn expires(value: &Value) -> bool {
    matches!(value, Value::Put { expires_ms: Some(_), .. })
}

/// Whether the group's clock must be brought up before an expiry can be judged (protocols §4).
fn must_tick(host: &DataHost, view: &GroupView, at: At, value: Option<&Value>) -> bool {
    at == At::Newest
        && value.is_some_and(expires)
        && host.replica.hint_ms() > view.last_version.ms() + TICK_AHEAD_MS
}

/// Brings the group's clock up to the leader's; whether it could be. On a full disk the clock stands, and reads go on:
/// an entry is then judged by the last version given, as every replica would judge it (protocols §4). Who does not
/// lead any more hears of it at the next view.
async fn tick(host: &DataHost) -> Result<bool> {
    let reigning = host.reigning()?;
    let ticked = host.propose(reigning.term, Tick { hint: host.hint() }).await;
    if let Err(error) = &ticked {
        tracing::debug!(group = %host.group, ?error, "the group's clock was not brought up");
    }
    Ok(ticked.is_ok())
}

fn visible((version, value): (Version, Value), at: Version) -> Option<Found> {
    let expires_ms = match &value {
        Value::Put { expires_ms, .. } => *expires_ms,
        Value::Tombstone => None,
    };
    let bytes = value.visible_at(at)?.clone();
    Some(Found { value: bytes, version, expires_ms })
}

fn too_often() -> Error {
    Error::new(Reason::StateMoved, "the state moved on too often while it was read; repeat the read")
}
