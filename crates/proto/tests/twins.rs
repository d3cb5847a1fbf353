//! Every message of every port survives the wire, and no bytes make the receiver panic.

#[path = "../testing/arbitrary.rs"]
mod arbitrary;

use std::collections::BTreeSet;
use std::fmt::Debug;

use arbitrary::arbitrary;
use lamina_peers::index::Lookup;
use lamina_peers::{data::DataRequest, index::IndexRequest};
use lamina_proto::stream::{AdminWire, DataWire, GroupWire, IndexWire, KvWire, RaftWire, Wire};
use lamina_proto::types;
use lamina_types::{Error, Reason};
use prost::Message;
use serde::de::DeserializeOwned;

const SEEDS: u64 = 3000;

/// Sends arbitrary requests and answers through bytes; `well` makes a request one that may come in.
fn survive<W: Wire>(well: fn(W::Request) -> Option<W::Request>)
where
    W::Request: DeserializeOwned + PartialEq + Debug + Clone,
    W::Answer: DeserializeOwned + PartialEq + Debug + Clone,
{
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let Some(request) = well(arbitrary(seed)) else { continue };
        seen.insert(W::name(&request));
        let op = W::op(seed, types::Context::default(), request.clone()).encode_to_vec();
        let (id, _, back) = W::op_parts(W::Op::decode(op.as_slice()).unwrap());
        assert_eq!((id, back), (seed, Ok(request)), "request of seed {seed}");

        let answer: W::Answer = arbitrary(seed);
        let reply = W::reply(seed, Ok(answer.clone())).encode_to_vec();
        let (id, back) = W::reply_parts(W::Reply::decode(reply.as_slice()).unwrap());
        assert_eq!((id, back), (seed, Ok(answer)), "answer of seed {seed}");
    }
    assert!(!seen.is_empty());
    println!("{}: {seen:?}", W::PORT);
}

fn whole_lookup(mut lookup: Lookup) -> Lookup {
    let lists = lookup.candidates.len() as u32;
    lookup.keys.retain(|_| lists > 0);
    for key in &mut lookup.keys {
        key.candidates %= lists.max(1);
    }
    lookup
}

#[test]
fn every_message_about_keys_and_values_survives_the_wire() {
    // What the door refuses is tested beside it.
    survive::<KvWire>(|request| lamina_proto::validate::kv(&request).is_ok().then_some(request));
}

#[test]
fn every_message_of_index_nodes_survives_the_wire() {
    survive::<IndexWire>(|request| {
        Some(match request {
            IndexRequest::Lookup(lookup) => IndexRequest::Lookup(whole_lookup(lookup)),
            other => other,
        })
    });
}

#[test]
fn every_message_of_data_nodes_survives_the_wire() {
    survive::<DataWire>(|request| {
        Some(match request {
            DataRequest::Lookup(lookup) => DataRequest::Lookup(whole_lookup(lookup)),
            other => other,
        })
    });
}

#[test]
fn every_message_of_groups_replicas_and_administration_survives_the_wire() {
    survive::<GroupWire>(Some);
    survive::<RaftWire>(Some);
    survive::<AdminWire>(Some);
}

#[test]
fn every_error_survives_the_wire() {
    for (seed, reason) in Reason::ALL.iter().enumerate() {
        let error = Error::new(*reason, "what happened").with("limit", seed).retry_after_ms(seed as u64);
        let reply = KvWire::reply(1, Err(error.clone())).encode_to_vec();
        let (_, back) = KvWire::reply_parts(Message::decode(reply.as_slice()).unwrap());
        assert_eq!(back, Err(error));
    }
}

#[test]
fn random_bytes_and_flipped_bits_never_panic_a_receiver() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut bytes: Vec<u8> = arbitrary(seed);
        bytes.extend(arbitrary::<Vec<u8>>(seed + SEEDS));
        let whole = DataWire::op(seed, types::Context::default(), arbitrary(seed)).encode_to_vec();
        for cut in [0, 1, whole.len() / 2, whole.len().saturating_sub(1)] {
            let mut damaged = whole.clone();
            if let Some(byte) = damaged.get_mut(cut) {
                *byte ^= 1 << (seed % 8);
            }
            for bytes in [damaged.as_slice(), whole.get(..cut).unwrap_or_default(), bytes.as_slice()] {
                match <DataWire as Wire>::Op::decode(bytes) {
                    Ok(op) => refused += u64::from(DataWire::op_parts(op).2.is_err()),
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > SEEDS, "damage is noticed: {refused}");
}
