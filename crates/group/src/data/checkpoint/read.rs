//! Reads a checkpoint back. What does not fit together to the last number is refused: the replica stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use lamina_engine::Memtable;
use lamina_engine::tree::TableRecord;
use lamina_types::wire::get_varint;
use lamina_types::{GroupId, Level, LogIndex, NodeId, SnapshotId, TableId, TabletId, Version};

use super::frame::{FORMAT, Frame, Head, RefusedFrame, TabletFrame, TokenFrame};
use crate::data::state::DataGroup;
use crate::data::stop::StopReason;
use crate::data::view::{Ban, MemoryView, Pin, TabletView};
use crate::data::window::{Token, Tokens, Window};

/// A frame's tag and the longest length.
const FRAME_HEAD_MAX: usize = 11;

impl DataGroup {
    /// The state whose picture consists of `chunks` (cut anywhere). The picture does not say at which index it was
    /// taken: tell the state by [`DataGroup::advance`].
    ///
    /// # Errors
    /// [`StopReason::Checkpoint`]: the picture is of another group, of a level or format that this binary does not
    /// know, damaged, or contradicts itself.
    pub fn restore(group: GroupId, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<DataGroup, StopReason> {
        let mut frames = Frames { chunks, bytes: Bytes::new(), count: 0 };
        let restored = restore(group, &mut frames);
        restored.map_err(|why| StopReason::Checkpoint(format!("frame {}: {why}", frames.count)))
    }
}

fn restore(group: GroupId, frames: &mut Frames<'_>) -> Result<DataGroup, String> {
    let Some(Frame::Head(head)) = frames.next()? else { return Err("the head is missing".to_owned()) };
    check_head(&head, group)?;
    let mut parts = Parts::default();
    loop {
        let before = frames.count;
        match frames.next()?.ok_or("the end is missing")? {
            Frame::End(end) if end.frames == before => break,
            Frame::End(_) => return Err("frames are missing".to_owned()),
            frame => parts.add(frame)?,
        }
    }
    if frames.next()?.is_some() {
        return Err("there is something behind the end".to_owned());
    }
    let (tablets, windows) = parts.tablets()?;
    check_tables(&tablets, &parts.tables)?;
    Ok(DataGroup {
        group,
        applied: LogIndex::ZERO,
        level: head.level,
        reign: head.reign,
        last_version: head.last_version,
        read_floor: head.read_floor,
        config: Arc::new(head.config),
        pins: Arc::new(parts.pins),
        bans: Arc::new(parts.bans),
        tablets: Arc::new(tablets),
        windows,
        tables: Arc::new(parts.tables),
    })
}

fn check_head(head: &Head, group: GroupId) -> Result<(), String> {
    if head.format != FORMAT {
        return Err(format!("format {} is not known, this binary reads {FORMAT}", head.format));
    }
    if head.group != group {
        return Err(format!("it is of group {}, not of group {group}", head.group));
    }
    if head.level > Level::HIGHEST {
        return Err(format!("level {} is above {}", head.level.0, Level::HIGHEST.0));
    }
    Ok(())
}

/// Tables that no view names, or views that name no table: the list of tables would not be the truth.
fn check_tables(
    tablets: &[Arc<TabletView>],
    tables: &BTreeMap<TableId, Arc<TableRecord>>,
) -> Result<(), String> {
    let named: BTreeMap<TableId, ()> =
        tablets.iter().flat_map(|tablet| tablet.tree.tables()).map(|table| (table, ())).collect();
    match named.keys().eq(tables.keys()) {
        true => Ok(()),
        false => Err("the views of tables and the records of tables differ".to_owned()),
    }
}

/// The tablets of a state, and the window of each.
type Tablets = (Vec<Arc<TabletView>>, BTreeMap<TabletId, Arc<Window>>);

/// What has been read so far.
#[derive(Default)]
struct Parts {
    pins: BTreeMap<SnapshotId, Pin>,
    bans: BTreeMap<NodeId, Ban>,
    tables: BTreeMap<TableId, Arc<TableRecord>>,
    memtables: Vec<Arc<Memtable>>,
    tablets: Vec<(TabletFrame, Tokens)>,
}

impl Parts {
    fn add(&mut self, frame: Frame) -> Result<(), String> {
        match frame {
            Frame::Pin(pin) => drop(self.pins.insert(pin.snapshot, pin.pin)),
            Frame::Ban(ban) => drop(self.bans.insert(ban.node, ban.ban)),
            Frame::Table(new) => drop(self.tables.insert(new.table, Arc::new(new.record))),
            Frame::Memtable => self.memtables.push(Arc::new(Memtable::new())),
            Frame::Entry(entry) => {
                let memtable = self.memtables.last().ok_or("an entry without a memtable")?;
                memtable.insert(&entry.key, entry.version, entry.value);
            }
            Frame::Tablet(tablet) => self.tablets.push((tablet, Tokens::new())),
            Frame::Token(frame) => {
                let (_, tokens) = self.tablets.last_mut().ok_or("a client token without a tablet")?;
                let (key, token) = token(frame)?;
                if tokens.last_key_value().is_some_and(|(last, _)| *last >= key) {
                    return Err("the client tokens of a window are not ascending".to_owned());
                }
                tokens.insert(key, Arc::new(token));
            }
            Frame::Refused(frame) => {
                let tokens = self.tablets.last_mut().map(|(_, tokens)| tokens);
                // Its token is the frame just before it, and tokens come in ascending order.
                let mut last = tokens.and_then(|tokens| tokens.last_entry());
                let token = last.as_mut().ok_or("refused requests without a client token")?;
                refuse(Arc::make_mut(token.get_mut()), frame)?;
            }
            Frame::Head(_) | Frame::End(_) => return Err("a second head".to_owned()),
        }
        Ok(())
    }

    fn tablets(&mut self) -> Result<Tablets, String> {
        let mut tablets: Vec<Arc<TabletView>> = Vec::with_capacity(self.tablets.len());
        let mut windows = BTreeMap::new();
        for (frame, tokens) in std::mem::take(&mut self.tablets) {
            if let Some(before) = tablets.last()
                && before.range.end.as_ref().is_none_or(|end| *end > frame.range.start)
            {
                return Err(format!("tablet {} does not lie behind the one before it", frame.id));
            }
            if tokens.values().any(|token| token.len() == 0) {
                return Err("a client token has no results".to_owned());
            }
            let window = Window::restored(frame.window_floor, tokens);
            if windows.insert(frame.id, Arc::new(window)).is_some() {
                return Err(format!("tablet {} is there twice", frame.id));
            }
            tablets.push(Arc::new(self.tablet(frame)?));
        }
        Ok((tablets, windows))
    }

    fn tablet(&self, frame: TabletFrame) -> Result<TabletView, String> {
        let memory: Result<Vec<MemoryView>, String> = frame
            .memory
            .into_iter()
            .map(|view| {
                let memtable = self.memtable(view.memtable)?;
                Ok(MemoryView { rotated_at: view.rotated_at, range: view.range, memtable })
            })
            .collect();
        Ok(TabletView {
            id: frame.id,
            range: frame.range,
            generation: frame.generation,
            state: frame.state,
            shard: frame.shard,
            adopted_floor: frame.adopted_floor,
            last_flush: frame.last_flush,
            active: self.memtable(frame.active)?,
            memory: memory?.into(),
            tree: frame.tree,
        })
    }

    /// Tablets that named one memtable share it again.
    fn memtable(&self, number: u32) -> Result<Arc<Memtable>, String> {
        let found = usize::try_from(number).ok().and_then(|number| self.memtables.get(number));
        found.cloned().ok_or_else(|| format!("there is no memtable {number}"))
    }
}

fn token(frame: TokenFrame) -> Result<((Version, u128), Token), String> {
    let ascending = frame.results.is_sorted_by(|a, b| a.0 < b.0);
    if !ascending || frame.results.first().is_some_and(|first| first.0 < frame.done_below) {
        return Err("the results of a client token are not ascending from its mark".to_owned());
    }
    let token =
        Token { done_below: frame.done_below, results: frame.results.into(), refused: BTreeMap::new() };
    Ok(((frame.base, frame.id), token))
}

fn refuse(token: &mut Token, frame: RefusedFrame) -> Result<(), String> {
    let ascending = frame.refused.is_sorted_by(|a, b| a.0 < b.0);
    let first = frame.refused.first().ok_or("an empty list of refused requests")?;
    if !ascending || first.0 < token.done_below || !token.refused.is_empty() {
        return Err("the refused requests of a client token are not ascending from its mark".to_owned());
    }
    token.refused = frame.refused.into_iter().collect();
    Ok(())
}

/// Frames out of chunks that are cut anywhere.
struct Frames<'a> {
    chunks: &'a mut dyn Iterator<Item = Bytes>,
    bytes: Bytes,
    count: u64,
}

impl Frames<'_> {
    /// The next frame; `None` behind the last one.
    fn next(&mut self) -> Result<Option<Frame>, String> {
        self.fill(FRAME_HEAD_MAX);
        let mut head: &[u8] = &self.bytes;
        let Some((tag, rest)) = head.split_first() else { return Ok(None) };
        head = rest;
        let length = get_varint(&mut head).map_err(|error| error.to_string())?;
        let used = self.bytes.len() - head.len();
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let tag = *tag;
        self.bytes.advance(used);
        self.fill(length);
        if self.bytes.len() < length {
            return Err("the bytes end too early".to_owned());
        }
        let frame = Frame::decode(tag, self.bytes.split_to(length))?;
        self.count += 1;
        Ok(Some(frame))
    }

    /// Gets chunks until there are `length` bytes or no more chunks.
    fn fill(&mut self, length: usize) {
        if self.bytes.len() >= length {
            return;
        }
        let mut joined = BytesMut::from(self.bytes.as_ref());
        while joined.len() < length {
            match self.chunks.next() {
                Some(chunk) => joined.extend_from_slice(&chunk),
                None => break,
            }
        }
        self.bytes = joined.freeze();
    }
}
