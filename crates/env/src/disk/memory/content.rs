//! The bytes of one file: what reads see, what is durable, and all that lies between since the last sync.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rand::{Rng, RngExt};

use super::Loss;

/// Memory is cut into pages, as the operating system's cache is: the unit in which unsynced bytes are kept or lost.
pub(super) const PAGE_BYTES: usize = 4096;

/// What a disk writes whole: a torn page is old and new in units of this.
const SECTOR_BYTES: usize = 512;

/// States of one page since the last sync that a crash may bring back, at most.
const VERSIONS_MAX: usize = 4;

type Page = Arc<[u8; PAGE_BYTES]>;

/// A file's bytes. `None` among the pages: never written, zeroes.
#[derive(Clone, Default)]
struct Image {
    length: u64,
    pages: Vec<Option<Page>>,
}

/// A file's bytes in memory and on the disk.
#[derive(Default)]
pub(super) struct Content {
    now: Image,
    durable: Image,
    /// For each page written since the last sync, the states that it had, oldest first; the last is the present one.
    dirty: BTreeMap<usize, Vec<Page>>,
    /// The least length since the last sync, if it was below the durable one.
    cut: Option<u64>,
    /// Pages that take room.
    allocated: u64,
}

/// A page as bytes, without a copy.
struct Shared(Page);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// What a sync writes to the disk.
pub(in crate::disk) struct Written {
    /// The file was shorter than this for a while: what lay behind is gone.
    pub(in crate::disk) cut: Option<u64>,
    /// Stretches of whole pages, by offset; the last may reach beyond the length.
    pub(in crate::disk) pages: Vec<(u64, Bytes)>,
    /// The length of the file.
    pub(in crate::disk) length: u64,
}

fn zeroes() -> Page {
    Arc::new([0; PAGE_BYTES])
}

fn as_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Image {
    fn page(&self, number: usize) -> Option<&Page> {
        self.pages.get(number).and_then(Option::as_ref)
    }

    fn put(&mut self, number: usize, page: Page) {
        if self.pages.len() <= number {
            self.pages.resize(number + 1, None);
        }
        if let Some(place) = self.pages.get_mut(number) {
            *place = Some(page);
        }
    }

    /// Forgets all bytes from `length` on.
    fn truncate(&mut self, length: u64) {
        let length_index = as_index(length);
        self.pages.truncate(length_index.div_ceil(PAGE_BYTES));
        let kept = length_index % PAGE_BYTES;
        if kept > 0
            && let Some(Some(page)) = self.pages.get_mut(length_index / PAGE_BYTES)
            && let Some(tail) = Arc::make_mut(page).get_mut(kept..)
        {
            tail.fill(0);
        }
        self.length = self.length.min(length);
    }

    fn read(&self, offset: u64, length: usize) -> Bytes {
        let end = self.length.min(offset.saturating_add(length as u64));
        let (mut at, end) = (as_index(offset), as_index(end));
        let mut bytes = BytesMut::with_capacity(end.saturating_sub(at));
        while at < end {
            let from = at % PAGE_BYTES;
            let until = PAGE_BYTES.min(from + (end - at));
            match self.page(at / PAGE_BYTES).and_then(|page| page.get(from..until)) {
                Some(part) => bytes.extend_from_slice(part),
                None => bytes.resize(bytes.len() + (until - from), 0),
            }
            at += until - from;
        }
        bytes.freeze()
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.now.length
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Bytes {
        self.now.read(offset, length)
    }

    /// All durable bytes.
    pub(super) fn durable(&self) -> Bytes {
        self.durable.read(0, as_index(self.durable.length))
    }

    /// Pages that take room.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    fn count(&mut self) {
        self.allocated = self.now.pages.iter().flatten().count() as u64;
    }

    /// Pages that a write of `length` bytes at `offset` would newly take.
    pub(super) fn missing(&self, offset: u64, length: usize) -> u64 {
        let first = as_index(offset) / PAGE_BYTES;
        let behind = as_index(offset.saturating_add(length as u64)).div_ceil(PAGE_BYTES);
        (first..behind).filter(|number| self.now.page(*number).is_none()).count() as u64
    }

    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut at = as_index(offset);
        while !bytes.is_empty() {
            let number = at / PAGE_BYTES;
            let from = at % PAGE_BYTES;
            let (part, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - from));
            let mut page = self.now.page(number).map_or_else(zeroes, Arc::clone);
            if let Some(place) = Arc::make_mut(&mut page).get_mut(from..from + part.len()) {
                place.copy_from_slice(part);
            }
            self.put(number, page);
            at += part.len();
            bytes = rest;
        }
        self.now.length = self.now.length.max(at as u64);
    }

    fn put(&mut self, number: usize, page: Page) {
        let versions = self.dirty.entry(number).or_default();
        if versions.len() == VERSIONS_MAX {
            versions.remove(0);
        }
        versions.push(page.clone());
        self.allocated += u64::from(self.now.page(number).is_none());
        self.now.put(number, page);
    }

    /// Gives every page below `length` room.
    pub(super) fn fill(&mut self, length: u64) {
        let zero = zeroes();
        for number in 0..as_index(length).div_ceil(PAGE_BYTES) {
            if self.now.page(number).is_none() {
                self.put(number, zero.clone());
            }
        }
        self.now.length = self.now.length.max(length);
    }

    pub(super) fn set_len(&mut self, length: u64) {
        if length >= self.now.length {
            self.now.length = length;
            return;
        }
        self.now.truncate(length);
        self.count();
        if length < self.durable.length {
            self.cut = Some(self.cut.map_or(length, |cut| cut.min(length)));
        }
        let behind = as_index(length).div_ceil(PAGE_BYTES);
        self.dirty.split_off(&behind);
        let last = as_index(length) / PAGE_BYTES;
        if let (Some(versions), Some(page)) = (self.dirty.get_mut(&last), self.now.page(last)) {
            *versions = vec![page.clone()];
        }
    }

    /// Makes the present bytes durable.
    pub(super) fn sync(&mut self) -> Written {
        let cut = self.cut.take();
        if let Some(cut) = cut {
            self.durable.truncate(cut);
        }
        let mut pages = Vec::new();
        for (number, versions) in std::mem::take(&mut self.dirty) {
            if let Some(page) = versions.last() {
                pages.push(((number * PAGE_BYTES) as u64, Bytes::from_owner(Shared(page.clone()))));
                self.durable.put(number, page.clone());
            }
        }
        self.durable.truncate(self.now.length);
        self.durable.length = self.now.length;
        Written { cut, pages, length: self.now.length }
    }

    /// A sync that failed: any part of the unsynced bytes is durable, the rest never will be, and yet reads go on
    /// to show all of them, until a crash. That is what Linux does: pages are marked clean after a failed write.
    pub(super) fn fail_sync(&mut self, rng: &mut dyn Rng) {
        self.settle(Loss::Drawn, rng);
    }

    /// A crash: any part of what was not synced is gone.
    pub(super) fn crash(&mut self, loss: Loss, rng: &mut dyn Rng) {
        self.settle(loss, rng);
        self.now = self.durable.clone();
        self.count();
    }

    /// Decides what of the unsynced bytes the disk has got; the rest is nowhere but in memory.
    fn settle(&mut self, loss: Loss, rng: &mut dyn Rng) {
        let dirty = std::mem::take(&mut self.dirty);
        let cut = self.cut.take();
        match loss {
            Loss::Everything => return,
            Loss::Nothing => {
                self.dirty = dirty;
                self.cut = cut;
                self.sync();
                return;
            }
            Loss::Drawn => {}
        }
        // A cut of the file is one step of the journal: it happened or it did not. If not, nothing behind it did.
        let reach = match cut {
            Some(cut) if rng.random_bool(0.5) => {
                self.durable.truncate(cut);
                u64::MAX
            }
            Some(cut) => cut,
            None => u64::MAX,
        };
        for (number, versions) in dirty {
            if (number * PAGE_BYTES) as u64 >= reach {
                continue;
            }
            let old = self.durable.page(number).cloned();
            if let Some(page) = draw_page(old, &versions, rng) {
                self.durable.put(number, page);
            }
        }
        if reach == u64::MAX && self.now.length > self.durable.length {
            let grown = rng.random_range(self.durable.length..=self.now.length);
            self.durable.length = *pick(&[self.durable.length, grown, self.now.length], rng);
        }
        // What was written behind the length that the disk knows of does not come back when the file grows.
        self.durable.truncate(self.durable.length);
    }

    /// Changes stored bits behind everybody's back, in memory and on the disk.
    pub(super) fn rot(&mut self, offset: u64, mask: u8) {
        let (number, at) = (as_index(offset) / PAGE_BYTES, as_index(offset) % PAGE_BYTES);
        for image in [&mut self.now, &mut self.durable] {
            if let Some(Some(page)) = image.pages.get_mut(number)
                && let Some(byte) = Arc::make_mut(page).get_mut(at)
            {
                *byte ^= mask;
            }
        }
    }
}

fn pick<'a, T>(choices: &'a [T; 3], rng: &mut dyn Rng) -> &'a T {
    let [first, second, third] = choices;
    match rng.random_range(0..3) {
        0 => first,
        1 => second,
        _ => third,
    }
}

/// One of the states of a page, or a mixture of two of them. `None`: as it was.
fn draw_page(old: Option<Page>, versions: &[Page], rng: &mut dyn Rng) -> Option<Page> {
    let mut draw = || match rng.random_range(0..=versions.len()) {
        0 => old.clone(),
        chosen => versions.get(chosen - 1).cloned(),
    };
    let (one, other) = (draw(), draw());
    if rng.random_bool(0.7) {
        return one;
    }
    let (mut torn, other) = (one.unwrap_or_else(zeroes), other.unwrap_or_else(zeroes));
    let sectors = Arc::make_mut(&mut torn).chunks_mut(SECTOR_BYTES).zip(other.chunks(SECTOR_BYTES));
    for (sector, replacement) in sectors {
        if rng.random_bool(0.5) {
            sector.copy_from_slice(replacement);
        }
    }
    Some(torn)
}
