//! The whole state of a group as bytes, memtables included (§8.2, `docs/formats/checkpoint-state.md`).
//!
//! Taking the picture costs a few counters: everything in the state is shared, and what a memtable gets afterwards
//! is left out because its version is above the picture's last version. Reading it back gives exactly the state
//! (invariant L2): the same entries have the same effects from then on.
//!
//! The bytes are a list of frames: a tag, a length, a payload ([`frame`]). Equal states have equal bytes, so
//! [`DataGroup::digest`] compares replicas.

pub mod frame;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use lamina_engine::tree::TableRecord;
use lamina_engine::{Cursor, Entry, MemCursor, Memtable};
use lamina_types::{KeyRange, TabletId, Version};
use xxhash_rust::xxh3::Xxh3;

use super::entry::NewTable;
use super::state::DataGroup;
use super::view::{GroupView, TabletView};
use super::window::{FailedCondition, Token, Window};
use frame::{BanFrame, End, Frame, Head, MemoryFrame, PinFrame, RefusedFrame, TabletFrame, TokenFrame};

/// Bytes of one chunk; only the last one is shorter.
pub const CHUNK_BYTES: usize = 256 << 10;

/// A picture of a group's state, independent of what is applied after it was taken.
#[derive(Clone, Debug)]
pub struct FrozenGroup {
    view: Arc<GroupView>,
    windows: BTreeMap<TabletId, Arc<Window>>,
}

impl DataGroup {
    /// A picture of the present state. Cheap, whatever the size of the memtables.
    pub fn freeze(&self) -> FrozenGroup {
        FrozenGroup { view: self.view(), windows: self.windows.clone() }
    }

    /// A fingerprint of the whole state. Replicas with an equal applied index have an equal one (rule G1).
    pub fn digest(&self) -> u128 {
        let mut hash = Xxh3::new();
        self.freeze().chunks().for_each(|chunk| hash.update(&chunk));
        hash.digest128()
    }
}

impl FrozenGroup {
    /// The picture in pieces of at most [`CHUNK_BYTES`], made one by one as they are asked for.
    pub fn chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        Chunks { frames: Box::new(self.frames()), buffer: BytesMut::with_capacity(CHUNK_BYTES * 2) }
    }

    fn frames(self) -> impl Iterator<Item = Frame> + Send + 'static {
        let FrozenGroup { view, windows } = self;
        let memtables = distinct_memtables(&view);
        let head = Frame::Head(Head {
            format: frame::FORMAT,
            group: view.group,
            level: view.level,
            reign: view.reign,
            last_version: view.last_version,
            read_floor: view.read_floor,
            config: *view.config,
        });
        let pins =
            view.pins.iter().map(|(snapshot, pin)| Frame::Pin(PinFrame { snapshot: *snapshot, pin: *pin }));
        let bans = view.bans.iter().map(|(node, ban)| Frame::Ban(BanFrame { node: *node, ban: *ban }));
        let small: Vec<Frame> = std::iter::once(head).chain(pins).chain(bans).collect();
        let tables: Vec<_> = view.tables.iter().map(|(table, record)| (*table, Arc::clone(record))).collect();
        let tables = tables
            .into_iter()
            .map(|(table, record)| Frame::Table(NewTable { table, record: TableRecord::clone(&record) }));
        let tablets: Vec<_> = view
            .tablets
            .iter()
            .map(|tablet| (tablet_frame(tablet, &memtables), windows.get(&tablet.id).cloned()))
            .collect();
        let tablets = tablets.into_iter().flat_map(|(mut tablet, window)| {
            let window = window.unwrap_or_default();
            tablet.window_floor = window.floor;
            let tokens: Vec<Frame> =
                window.tokens.iter().flat_map(|(key, token)| token_frames(key, token)).collect();
            std::iter::once(Frame::Tablet(tablet)).chain(tokens)
        });
        let bound = view.last_version;
        let entries = memtables.into_iter().flat_map(move |memtable| {
            std::iter::once(Frame::Memtable).chain(entries_up_to(&memtable, bound).map(Frame::Entry))
        });
        counted(small.into_iter().chain(tables).chain(entries).chain(tablets))
    }
}

fn token_frames((base, id): &(Version, u128), token: &Token) -> impl Iterator<Item = Frame> + use<> {
    let refused: Vec<(u64, FailedCondition)> =
        token.refused.iter().map(|(number, failed)| (*number, *failed)).collect();
    let results = Frame::Token(TokenFrame {
        id: *id,
        base: *base,
        done_below: token.done_below,
        results: token.results.iter().copied().collect(),
    });
    let refused = (!refused.is_empty()).then_some(Frame::Refused(RefusedFrame { refused }));
    std::iter::once(results).chain(refused)
}

/// All memtables in the order in which tablets name them. One that two tablets share is there once.
fn distinct_memtables(view: &GroupView) -> Vec<Arc<Memtable>> {
    let mut memtables: Vec<Arc<Memtable>> = Vec::new();
    for memtable in view.tablets.iter().flat_map(|tablet| tablet.memtables()) {
        if number_of(&memtables, memtable).is_none() {
            memtables.push(Arc::clone(memtable));
        }
    }
    memtables
}

fn number_of(memtables: &[Arc<Memtable>], memtable: &Arc<Memtable>) -> Option<u32> {
    (0u32..).zip(memtables).find(|(_, other)| Arc::ptr_eq(other, memtable)).map(|(number, _)| number)
}

fn tablet_frame(tablet: &TabletView, memtables: &[Arc<Memtable>]) -> TabletFrame {
    // Every memtable of a tablet was numbered just before.
    let number = |memtable| number_of(memtables, memtable).unwrap_or(u32::MAX);
    TabletFrame {
        id: tablet.id,
        range: tablet.range.clone(),
        generation: tablet.generation,
        state: tablet.state,
        shard: tablet.shard,
        adopted_floor: tablet.adopted_floor,
        last_flush: tablet.last_flush,
        active: number(&tablet.active),
        memory: tablet
            .memory
            .iter()
            .map(|view| MemoryFrame {
                rotated_at: view.rotated_at,
                range: view.range.clone(),
                memtable: number(&view.memtable),
            })
            .collect(),
        tree: tablet.tree.clone(),
        window_floor: Version::ZERO,
    }
}

/// Entries that were there when the picture was taken: what came later has a higher version.
fn entries_up_to(memtable: &Arc<Memtable>, bound: Version) -> impl Iterator<Item = Entry> + Send + use<> {
    let mut cursor: MemCursor = memtable.cursor(KeyRange::all());
    std::iter::from_fn(move || {
        cursor.next();
        cursor.to_entry()
    })
    .filter(move |entry| entry.version <= bound)
}

/// Adds the frame that says how many there were.
fn counted(frames: impl Iterator<Item = Frame> + Send) -> impl Iterator<Item = Frame> + Send {
    let mut frames = frames.fuse();
    let (mut count, mut ended) = (0, false);
    std::iter::from_fn(move || match frames.next() {
        Some(frame) => {
            count += 1;
            Some(frame)
        }
        None if ended => None,
        None => {
            ended = true;
            Some(Frame::End(End { frames: count }))
        }
    })
}

struct Chunks {
    frames: Box<dyn Iterator<Item = Frame> + Send>,
    buffer: BytesMut,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.buffer.len() < CHUNK_BYTES {
            match self.frames.next() {
                Some(frame) => frame.encode(&mut self.buffer),
                None => break,
            }
        }
        let length = self.buffer.len().min(CHUNK_BYTES);
        (length > 0).then(|| self.buffer.split_to(length).freeze())
    }
}
