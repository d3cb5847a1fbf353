//! One run as a source: its views in order, their blocks fetched as they are reached.
//!
//! A view is opened when the walk reaches it: ask the index for handles, ask the data service for the first blocks,
//! read them, ask for more. Each time the walk catches up with what was fetched, the next request is twice as
//! large, up to a bound; so a short scan costs a block or two and a long one streams.
//!
//! Versions of one key may continue in the next block, so the walk never assumes that a block ends with a key.

use std::collections::VecDeque;

use bytes::Bytes;
use lamina_types::{BlockHandle, KeyRange, Version};

use super::need::{HandleRequest, Need};
use crate::block::Block;
use crate::block::cursor::BlockCursor;
use crate::cursor::{Cursor, EntryRef};
use crate::entry::Entry;
use crate::tree::TableView;

/// Handles asked for when a view is opened; each further request asks for four times as many, up to the bound.
const HANDLES_FIRST: u32 = 8;
const HANDLES_MAX: u32 = 512;

/// One table of a run, or the part of it that is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeInput {
    /// The table and the only keys of it that exist.
    pub view: TableView,
    /// The handles of all blocks that may hold a key of the range, in the direction of the walk, where the reader
    /// has them at hand; `None`: they are asked for.
    pub handles: Option<Vec<BlockHandle>>,
}

/// How many blocks of one run are asked for at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadAhead {
    /// When the walk begins.
    pub first: usize,
    /// At most; doubled up to here.
    pub max: usize,
}

impl ReadAhead {
    /// For a scan that may stop soon: one block first, up to 16.
    pub const SCAN: ReadAhead = ReadAhead { first: 1, max: 16 };
    /// For a merge, which reads everything: 16 blocks first, up to 64.
    pub const MERGE: ReadAhead = ReadAhead { first: 16, max: 64 };
}

/// Where a source stands.
pub(super) enum Position<'a> {
    Entry(EntryRef<'a>),
    /// Not known before it is fed; no entry comes before this key (forward) or behind it (reverse). `None`: no bound.
    Blocked(Option<&'a [u8]>),
    End,
}

/// A run of views that is walked in one direction.
pub struct RunSource {
    parts: VecDeque<MergeInput>,
    open: Option<Open>,
    reverse: bool,
    ahead: ReadAhead,
    window: usize,
}

/// The view that is being walked.
struct Open {
    view: TableView,
    queue: VecDeque<(BlockHandle, Option<Block>)>,
    /// The number of the last block that was ever queued.
    last_block: Option<u32>,
    /// No handles follow those in the queue.
    exhausted: bool,
    handles_limit: u32,
    cursor: Option<BlockCursor>,
    /// No key that comes lies before this one, in the direction of the walk.
    bound: Option<Bytes>,
    /// An entry of the range has been reached, so further blocks are read from their edge.
    inside: bool,
}

impl RunSource {
    /// The inputs are disjoint and in the direction of the walk; `reverse` walks from the highest key down.
    pub fn new(inputs: Vec<MergeInput>, reverse: bool, ahead: ReadAhead) -> RunSource {
        let parts = inputs.into_iter().filter(|input| !input.view.range.is_empty()).collect();
        let window = ahead.first.max(1);
        let mut source = RunSource { parts, open: None, reverse, ahead, window };
        source.settle();
        source
    }

    pub(super) fn position(&self) -> Position<'_> {
        let Some(open) = &self.open else { return Position::End };
        match open.cursor.as_ref().and_then(|cursor| cursor.entry()) {
            Some(entry) => Position::Entry(entry),
            None => Position::Blocked(open.bound.as_deref()),
        }
    }

    pub(super) fn to_entry(&self) -> Option<Entry> {
        self.open.as_ref()?.cursor.as_ref()?.to_entry()
    }

    /// The range of the view that is being walked.
    pub(super) fn range(&self) -> Option<&KeyRange> {
        self.open.as_ref().map(|open| &open.view.range)
    }

    /// Leaves the entry that the source stands on.
    pub(super) fn advance(&mut self) {
        if let Some(cursor) = self.open.as_mut().and_then(|open| open.cursor.as_mut()) {
            if self.reverse { cursor.prev() } else { cursor.next() }
        }
        self.settle();
    }

    /// What the source waits for; asked when it is blocked.
    pub(super) fn needs(&self) -> Option<Need> {
        let open = self.open.as_ref()?;
        if open.queue.is_empty() {
            return (!open.exhausted).then(|| Need::Handles(open.request(self.reverse)));
        }
        self.unfed(open)
    }

    /// What would be fetched along with the needs of others: something, if half of the window is used up.
    pub(super) fn tops_up(&self) -> Option<Need> {
        let open = self.open.as_ref()?;
        let ready = open.queue.iter().take_while(|(_, block)| block.is_some()).count();
        // A walk that has read two blocks may end any time; what it has not asked for, nobody guesses.
        if self.window <= 2 || ready > self.window / 2 { None } else { self.unfed(open) }
    }

    fn unfed(&self, open: &Open) -> Option<Need> {
        let window = open.queue.iter().take(self.window);
        let blocks: Vec<BlockHandle> =
            window.filter(|(_, block)| block.is_none()).map(|(handle, _)| *handle).collect();
        (!blocks.is_empty()).then_some(Need::Blocks(blocks))
    }

    /// Whether the answer was for this source. What was not asked for, or was answered before, changes nothing.
    pub(super) fn feed_handles(&mut self, request: &HandleRequest, handles: &[BlockHandle], exhausted: bool) {
        let reverse = self.reverse;
        let Some(open) = self.open.as_mut() else { return };
        if open.exhausted || !open.queue.is_empty() || open.request(reverse) != *request {
            return;
        }
        open.exhausted = exhausted;
        open.push(handles, reverse);
        open.handles_limit = match open.queue.is_empty() {
            // One key fills the whole answer and has been read already: only a longer one leads beyond it.
            true => open.handles_limit.saturating_mul(4),
            false => open.handles_limit.saturating_mul(4).min(HANDLES_MAX.max(open.handles_limit)),
        };
        self.settle();
    }

    pub(super) fn feed_block(&mut self, handle: BlockHandle, block: &Block) {
        let Some(open) = self.open.as_mut() else { return };
        if let Some((_, slot)) = open.queue.iter_mut().find(|(queued, _)| *queued == handle) {
            *slot = Some(block.clone());
            if open.cursor.is_none() {
                self.settle();
            }
        }
    }

    /// Goes on until the source stands on an entry of its range, is blocked or has ended.
    fn settle(&mut self) {
        loop {
            let Some(open) = self.open.as_mut() else {
                let Some(part) = self.parts.pop_front() else { return };
                self.open = Some(Open::new(part, self.reverse));
                continue;
            };
            if let Some(cursor) = open.cursor.as_mut() {
                let place = cursor.entry().map(|entry| open.view.range.contains(entry.key));
                match place {
                    Some(true) => {
                        open.inside = true;
                        return;
                    }
                    // Outside of the range: the walk has left it at the far end.
                    Some(false) => self.open = None,
                    None => open.leave_block(self.reverse),
                }
                continue;
            }
            match open.queue.pop_front() {
                Some((_, Some(block))) => {
                    open.enter_block(&block, self.reverse);
                    if open.queue.front().is_some_and(|(_, block)| block.is_none()) {
                        self.window = self.window.saturating_mul(2).min(self.ahead.max.max(1));
                    }
                }
                Some(waiting) => {
                    open.queue.push_front(waiting);
                    return;
                }
                None if open.exhausted => self.open = None,
                None => return,
            }
        }
    }
}

impl Open {
    fn new(input: MergeInput, reverse: bool) -> Open {
        let range = &input.view.range;
        let bound = if reverse { range.end.clone() } else { Some(range.start.clone()) };
        let mut open = Open {
            exhausted: input.handles.is_some(),
            view: input.view,
            queue: VecDeque::new(),
            last_block: None,
            handles_limit: HANDLES_FIRST,
            cursor: None,
            bound,
            inside: false,
        };
        open.push(&input.handles.unwrap_or_default(), reverse);
        open
    }

    /// Queues the handles that lie behind those seen before: an answer that begins at a key repeats its blocks.
    fn push(&mut self, handles: &[BlockHandle], reverse: bool) {
        for handle in handles {
            let new = self
                .last_block
                .is_none_or(|last| if reverse { handle.block < last } else { handle.block > last });
            if new {
                self.last_block = Some(handle.block);
                self.queue.push_back((*handle, None));
            }
        }
    }

    /// The handles from where the walk stands to the end of the view.
    fn request(&self, reverse: bool) -> HandleRequest {
        let mut range = self.view.range.clone();
        if self.last_block.is_some()
            && let Some(bound) = &self.bound
        {
            // The bound's own key is asked for again: its versions may go on in the next block.
            if reverse {
                let behind: Vec<u8> = bound.iter().copied().chain([0]).collect();
                range = range
                    .intersect(&KeyRange::new(range.start.clone(), Some(behind.into())))
                    .unwrap_or(range);
            } else {
                range.start = bound.clone();
            }
        }
        HandleRequest { table: self.view.table, range, reverse, limit: self.handles_limit }
    }

    fn enter_block(&mut self, block: &Block, reverse: bool) {
        let mut cursor = block.cursor();
        match (reverse, self.inside) {
            (false, true) => cursor.seek_first(),
            (true, true) => cursor.seek_last(),
            (false, false) => cursor.seek(&self.view.range.start, Version::MAX),
            (true, false) => match &self.view.range.end {
                // Behind the last entry if all of the block lies in the range, so that this is its last.
                Some(end) => {
                    cursor.seek(end, Version::MAX);
                    cursor.prev();
                }
                None => cursor.seek_last(),
            },
        }
        self.cursor = Some(cursor);
    }

    /// The block is used up; its last key is the bound of what follows.
    fn leave_block(&mut self, reverse: bool) {
        if let Some(mut cursor) = self.cursor.take() {
            if reverse {
                cursor.seek_first()
            } else {
                cursor.seek_last()
            }
            if let Some(entry) = cursor.entry().filter(|entry| self.view.range.contains(entry.key)) {
                self.bound = Some(Bytes::copy_from_slice(entry.key));
            }
        }
    }
}
