//! Who leads which keys, as far as the store last said: an operation that goes straight to its leader is not sent on by
//! another frontend, which would cost as much again.
//!
//! A hint, like the view that it is made from. A leader is asked straight away only once it has answered here at its
//! own address: a client outside of a cluster's network reaches some frontends only, and those send its calls on.

use std::sync::Arc;

use bytes::Bytes;
use lamina_env::time::{self, Duration, Instant};
use lamina_peers::view::ClusterView;
use lamina_types::{KeyRange, Keyspace};
use parking_lot::Mutex;

/// A client that works asks again who leads after this time. Until then an old leader sends calls on.
const FRESH: Duration = Duration::from_secs(5);
/// The shortest time between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Who leads which keys.
#[derive(Default)]
pub(crate) struct Leaders(Mutex<State>);

#[derive(Default)]
struct State {
    led: Vec<Led>,
    /// Somebody is asking.
    asking: bool,
    asked: Option<Instant>,
    /// A leader did not answer, or was none.
    doubtful: bool,
}

/// Users' keys that are led from one address.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Led {
    pub range: KeyRange,
    pub address: Arc<str>,
}

impl Leaders {
    /// Whom to ask for a key; `None`: nobody knows, any frontend will do.
    pub fn of(&self, key: &[u8]) -> Option<Arc<str>> {
        let state = self.0.lock();
        state.led.iter().find(|led| led.range.contains(key)).map(|led| led.address.clone())
    }

    /// Whether the caller is to find out who leads now. It then says so to [`Leaders::found`].
    pub fn must_ask(&self) -> bool {
        let mut state = self.0.lock();
        let wait = if state.doubtful { PAUSE } else { FRESH };
        let is_due = !state.asking && state.asked.is_none_or(|asked| asked.elapsed() >= wait);
        state.asking |= is_due;
        is_due
    }

    /// These are led from these addresses, and nothing else is known.
    pub fn found(&self, led: Vec<Led>) {
        let mut state = self.0.lock();
        *state = State { led, asking: false, asked: Some(time::now()), doubtful: false };
    }

    /// Who asked learnt nothing.
    pub fn found_nothing(&self) {
        let mut state = self.0.lock();
        state.asking = false;
        state.asked = Some(time::now());
    }

    /// A call that went straight to this address failed: others are asked until it is known who leads.
    pub fn doubt(&self, address: &str) {
        let mut state = self.0.lock();
        state.led.retain(|led| *led.address != *address);
        state.doubtful = true;
    }
}

/// What a view says of users' keys: ranges with the address of their group's leader, neighbours with one leader joined.
pub(crate) fn led(view: &ClusterView) -> Vec<Led> {
    let mut all: Vec<Led> = Vec::new();
    let mut hints: Vec<_> = view.tablets.iter().collect();
    hints.sort_by(|one, other| one.range.start.cmp(&other.range.start));
    for hint in hints {
        let leader = view.group(hint.group).and_then(|group| group.leader);
        let Some(node) = leader.and_then(|leader| view.node(leader)) else { continue };
        let Some(range) = outside(&hint.range) else { continue };
        match all.last_mut() {
            Some(last) if *last.address == *node.address && last.range.end.as_ref() == Some(&range.start) => {
                last.range.end = range.end;
            }
            _ => all.push(Led { range, address: node.address.as_str().into() }),
        }
    }
    all
}

/// A range of the store's keys as users know it; `None`: none of their keys lie in it.
fn outside(range: &KeyRange) -> Option<KeyRange> {
    let prefix = Keyspace::DEFAULT.0.to_be_bytes();
    let behind = (Keyspace::DEFAULT.0 + 1).to_be_bytes();
    if *range.start >= behind[..] || range.end.as_ref().is_some_and(|end| **end <= prefix[..]) {
        return None;
    }
    let cut = |key: &Bytes| key.strip_prefix(&prefix[..]).map(|_| key.slice(prefix.len()..));
    let start = cut(&range.start).unwrap_or_default();
    let end = range.end.as_ref().and_then(cut);
    Some(KeyRange { start, end })
}

#[cfg(test)]
mod tests {
    use lamina_peers::view::{GroupView, NodeState, NodeView, TabletHint};
    use lamina_types::{ClusterId, Epoch, GroupId, Incarnation, Level, NodeId, Role, Settings};

    use super::*;

    /// Where it begins, where it ends, its group.
    type Tablet = (&'static [u8], Option<&'static [u8]>, u32);

    fn view(leaders: &[(u32, u128)], tablets: &[Tablet]) -> ClusterView {
        let node = |node: u128| NodeView {
            node: NodeId(node),
            role: Role::Frontend,
            name: String::new(),
            address: format!("frontend-{node}"),
            incarnation: Incarnation(1),
            state: NodeState::Active,
            state_epoch: Epoch(1),
            zone: String::new(),
            seen: true,
        };
        let group = |(group, leader): &(u32, u128)| GroupView {
            group: GroupId(*group),
            replicas: Vec::new(),
            leaving: Vec::new(),
            initial: Vec::new(),
            first_range: None,
            leader: (*leader > 0).then_some(NodeId(*leader)),
        };
        let hint = |(start, end, group): &Tablet| TabletHint {
            range: KeyRange::new(Bytes::copy_from_slice(start), end.map(Bytes::copy_from_slice)),
            group: GroupId(*group),
        };
        ClusterView {
            cluster: ClusterId(1),
            epoch: Epoch(1),
            level: Level(1),
            settings: Settings::default(),
            nodes: (1..=3).map(node).collect(),
            groups: leaders.iter().map(group).collect(),
            shards: Vec::new(),
            tablets: tablets.iter().map(hint).collect(),
        }
    }

    #[test]
    fn a_key_is_led_by_the_leader_of_the_group_that_has_it() {
        let tablets: [Tablet; 3] = [
            (b"\0\0\0\x01m", None, 2),
            (b"", Some(b"\0\0\0\x01f"), 1),
            (b"\0\0\0\x01f", Some(b"\0\0\0\x01m"), 1),
        ];
        let led = led(&view(&[(1, 3), (2, 1)], &tablets));
        assert_eq!(led.len(), 2, "{led:?}");
        let leaders = Leaders::default();
        assert_eq!(leaders.of(b"a"), None);
        leaders.found(led);
        assert_eq!(leaders.of(b"").as_deref(), Some("frontend-3"));
        assert_eq!(leaders.of(b"lz").as_deref(), Some("frontend-3"));
        assert_eq!(leaders.of(b"m").as_deref(), Some("frontend-1"));
        leaders.doubt("frontend-3");
        assert_eq!(leaders.of(b"a"), None);
        assert_eq!(leaders.of(b"z").as_deref(), Some("frontend-1"));
    }

    #[test]
    fn keys_of_a_group_without_a_leader_and_the_store_s_own_keys_are_not_led() {
        let tablets: [Tablet; 3] = [
            (b"", Some(b"\0\0\0\x01"), 1),
            (b"\0\0\0\x01", Some(b"\0\0\0\x02"), 2),
            (b"\0\0\0\x02", None, 1),
        ];
        assert_eq!(led(&view(&[(1, 3), (2, 0)], &tablets)), []);
        let whole = led(&view(&[(1, 3), (2, 2)], &tablets));
        assert_eq!(whole, [Led { range: KeyRange::all(), address: "frontend-2".into() }]);
    }
}
