//! Preconditions and effects of every entry. Pure (rule G1): state and entry in, state and outcome out.

mod cluster;
mod groups;
mod nodes;
mod shards;

use lamina_types::{Epoch, Level, LogIndex, Reign};

use super::entry::{Change, MetaEntry};
use super::outcome::{Outcome, Refusal};
use super::state::MetaState;
use super::stop::MetaStop;

/// What a change brings: an outcome, or a refusal without any effect.
type Applied = Result<Outcome, Refusal>;

/// Text that comes from outside has at most this many bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Applies the entry at `index`.
pub(super) fn apply(state: &mut MetaState, index: LogIndex, entry: MetaEntry) -> Result<Outcome, MetaStop> {
    if index <= state.applied {
        return Err(MetaStop::Order { index, applied: state.applied });
    }
    // A level that this program does not know is not a refusal: the other replicas may know it (rule G3).
    if let MetaEntry::InReign { change: Change::RaiseLevel { to }, .. } = &entry
        && *to > Level::HIGHEST
    {
        return Err(MetaStop::Level { to: to.0, highest: Level::HIGHEST.0 });
    }
    state.applied = index;
    let outcome = match entry {
        MetaEntry::BeginReign { .. } => {
            state.reign = Reign::from(index);
            Outcome::Began(state.reign)
        }
        MetaEntry::InReign { reign, .. } if reign != state.reign => {
            Outcome::Refused(Refusal::StaleReign { present: state.reign })
        }
        MetaEntry::InReign { change, .. } => {
            state.change(Epoch(index.0), change).unwrap_or_else(Outcome::Refused)
        }
    };
    Ok(outcome)
}

impl MetaState {
    /// Carries out a change; `at` is the epoch of what it makes visible. Each arm checks everything before it
    /// changes anything.
    fn change(&mut self, at: Epoch, change: Change) -> Applied {
        if let Change::Found(found) = change {
            return self.found(at, found);
        }
        if self.founded.is_none() {
            return Err(Refusal::NotFounded);
        }
        match change {
            Change::Found(found) => self.found(at, found),
            Change::Register(registration) => self.register(at, registration),
            Change::Activate { node, incarnation } => self.activate(at, node, incarnation),
            Change::DeclareDead { node, from, unseen_ms } => self.declare_dead(at, node, from, unseen_ms),
            Change::Remove { node, epoch } => self.remove(at, node, epoch),
            Change::SetZone { node, zone } => self.set_zone(at, node, zone),
            Change::SetSeen { node, incarnation, seen } => self.set_seen(at, node, incarnation, seen),
            Change::ReleaseVolume { node, epoch } => self.release_volume(at, node, epoch),
            Change::CreateGroup { group, members, range } => self.create_group(at, group, &members, range),
            Change::PlaceReplica { group, node, replaces } => self.place_replica(at, group, node, replaces),
            Change::DropReplica { group, replica } => self.drop_replica(at, group, replica),
            Change::LeaderSeen { group, term, leader } => self.leader_seen(at, group, term, leader),
            Change::TabletHints { group, term, ranges } => self.tablet_hints_said(at, group, term, ranges),
            Change::AssignShards { map } => self.assign_shards(at, map),
            Change::ReplaceShardReplicas { epoch, changes } => self.replace_replicas(at, epoch, &changes),
            Change::ShardsComplete { node, incarnation, epoch, shards } => {
                self.flag_shards(at, (node, incarnation, epoch), &shards, true)
            }
            Change::ShardsLoading { node, incarnation, epoch, shards } => {
                self.flag_shards(at, (node, incarnation, epoch), &shards, false)
            }
            Change::GrantStop { grant, node } => self.grant_stop(at, grant, node),
            Change::EndGrant { grant, because } => self.end_grant(at, &grant, because),
            Change::RaiseLevel { to } => self.raise_level(at, to),
        }
    }

    /// Something that others can see has changed.
    fn visible(&mut self, at: Epoch) -> Applied {
        self.epoch = at;
        Ok(Outcome::Done(at))
    }
}

/// Refuses text that is too long.
fn check_text(field: &'static str, text: &str) -> Result<(), Refusal> {
    if text.len() <= TEXT_BYTES_MAX {
        Ok(())
    } else {
        Err(Refusal::Invalid { field, problem: "is longer than 256 bytes" })
    }
}
