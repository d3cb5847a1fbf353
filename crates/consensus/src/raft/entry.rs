//! Entries and members as bytes: in the log, in frames, in checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};
use lamina_engine::wal::{EntryRecord, LogPoint};
use lamina_types::wire::{Reader, WireError, put_varint};
use openraft::{EmptyNode, EntryPayload};

use super::types::{Entry, Membership, Proposal, StoredMembership, log_id, point};

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERS: u8 = 2;

/// Members are few; a count above this is damage.
const MEMBERS_MAX: u64 = 1024;

/// An entry as it goes to the log.
pub fn to_record(entry: &Entry) -> EntryRecord {
    EntryRecord { at: point(&entry.log_id), payload: encode(&entry.payload) }
}

/// An entry as it comes from the log.
///
/// # Errors
/// The payload has no known form.
pub fn from_record(at: LogPoint, payload: Bytes) -> Result<Entry, WireError> {
    Ok(Entry { log_id: log_id(at), payload: decode(payload)? })
}

fn encode(payload: &EntryPayload<Proposal, u64, EmptyNode>) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(proposal) => {
            let mut out = Vec::with_capacity(1 + proposal.0.len());
            out.put_u8(NORMAL);
            out.put_slice(&proposal.0);
            Bytes::from(out)
        }
        EntryPayload::Membership(members) => {
            let mut out = vec![MEMBERS];
            put_members(&mut out, members);
            Bytes::from(out)
        }
    }
}

fn decode(payload: Bytes) -> Result<EntryPayload<Proposal, u64, EmptyNode>, WireError> {
    let mut reader = Reader::new(payload);
    let payload = match reader.u8()? {
        BLANK => EntryPayload::Blank,
        NORMAL => {
            let length = reader.remaining();
            EntryPayload::Normal(Proposal(reader.take(length)?))
        }
        MEMBERS => EntryPayload::Membership(get_members(&mut reader)?),
        _ => return Err(WireError::Tag),
    };
    reader.end()?;
    Ok(payload)
}

/// Appends members: the configurations (two while joint), then all members, learners included.
pub fn put_members(out: &mut Vec<u8>, members: &Membership) {
    let configs = members.get_joint_config();
    put_varint(out, configs.len() as u64);
    for config in configs {
        put_varint(out, config.len() as u64);
        for id in config {
            put_varint(out, *id);
        }
    }
    let nodes: Vec<u64> = members.nodes().map(|(id, _)| *id).collect();
    put_varint(out, nodes.len() as u64);
    for id in nodes {
        put_varint(out, id);
    }
}

/// Reads members.
///
/// # Errors
/// The bytes hold none.
pub fn get_members(reader: &mut Reader) -> Result<Membership, WireError> {
    let mut configs = Vec::new();
    for _ in 0..get_count(reader)? {
        configs.push(get_ids(reader)?);
    }
    let nodes: BTreeMap<u64, EmptyNode> =
        get_ids(reader)?.into_iter().map(|id| (id, EmptyNode::new())).collect();
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| WireError::Tag)
}

fn get_ids(reader: &mut Reader) -> Result<BTreeSet<u64>, WireError> {
    (0..get_count(reader)?).map(|_| reader.varint()).collect()
}

fn get_count(reader: &mut Reader) -> Result<u64, WireError> {
    reader.varint().and_then(|count| if count > MEMBERS_MAX { Err(WireError::Varint) } else { Ok(count) })
}

/// Appends members with the place of the entry that made them.
pub fn put_stored_members(out: &mut Vec<u8>, members: &StoredMembership) {
    put_point(out, members.log_id().as_ref().map(point));
    put_members(out, members.membership());
}

/// Reads members with the place of their entry.
///
/// # Errors
/// The bytes hold none.
pub fn get_stored_members(reader: &mut Reader) -> Result<StoredMembership, WireError> {
    let at = get_point(reader)?;
    Ok(StoredMembership::new(at.map(log_id), get_members(reader)?))
}

/// Appends a point, or that there is none.
pub fn put_point(out: &mut Vec<u8>, at: Option<LogPoint>) {
    out.put_u8(u8::from(at.is_some()));
    if let Some(at) = at {
        put_varint(out, at.term);
        put_varint(out, at.index);
    }
}

/// Reads a point, or that there is none.
///
/// # Errors
/// The bytes hold neither.
pub fn get_point(reader: &mut Reader) -> Result<Option<LogPoint>, WireError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(LogPoint { term: reader.varint()?, index: reader.varint()? })),
        _ => Err(WireError::Tag),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> impl Strategy<Value = BTreeSet<u64>> {
        prop::collection::btree_set(any::<u64>(), 1..5)
    }

    proptest! {
        #[test]
        fn an_entry_reads_back(term in any::<u64>(), index in any::<u64>(), bytes in any::<Vec<u8>>(), configs in prop::collection::vec(ids(), 1..3), learners in ids()) {
            let nodes: BTreeMap<u64, EmptyNode> = configs.iter().flatten().chain(&learners).map(|id| (*id, EmptyNode::new())).collect();
            let members = Membership::new(configs, nodes).unwrap();
            for payload in [EntryPayload::Blank, EntryPayload::Normal(Proposal(Bytes::from(bytes))), EntryPayload::Membership(members)] {
                let entry = Entry { log_id: log_id(LogPoint { term, index }), payload };
                let record = to_record(&entry);
                prop_assert_eq!(from_record(record.at, record.payload), Ok(entry));
            }
        }

        #[test]
        fn bytes_that_are_no_entry_are_refused_and_never_panic(bytes in any::<Vec<u8>>()) {
            drop(from_record(LogPoint::default(), Bytes::from(bytes)));
        }
    }
}
