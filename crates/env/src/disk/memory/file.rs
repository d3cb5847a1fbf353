//! An open file of a disk in memory.

use std::io::{self, ErrorKind};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{MappedMutexGuard, MutexGuard};

use super::content::{Content, PAGE_BYTES, Written};
use super::faults::{Doing, Faults};
use super::{Counters, FileId, MemDisk, end, error};
use crate::disk::File;

/// An open file.
pub(in crate::disk) struct MemFile {
    pub(super) disk: MemDisk,
    pub(super) life: u64,
    pub(super) file: FileId,
    /// The name under which it was opened, for faults and errors.
    pub(super) path: String,
    pub(super) writable: bool,
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return;
        }
        if let Some(inode) = state.files.get_mut(&self.file) {
            inode.handles -= 1;
        }
        state.release(self.file);
    }
}

impl MemFile {
    fn content(&self) -> io::Result<MappedMutexGuard<'_, Content>> {
        let state = self.disk.lock_state(Some(self.life))?;
        MutexGuard::try_map(state, |state| state.files.get_mut(&self.file).map(|inode| &mut inode.content))
            .map_err(|_| error(ErrorKind::NotFound, format!("'{}' is gone", self.path)))
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        {
            let state = &mut *self.disk.lock_state(Some(self.life))?;
            state.counters.reads += 1;
            if state.faults.read_fails(&self.path, &mut state.rng) {
                state.counters.faults += 1;
                return Err(error(ErrorKind::Other, format!("'{}': a read failed (injected)", self.path)));
            }
        }
        Ok(self.content()?.read(offset, length))
    }

    /// The state and the content, for a change that needs `pages` more, as many of them as there is room for.
    fn change<T>(&self, change: impl FnOnce(&mut Content, &mut Room<'_>) -> io::Result<T>) -> io::Result<T> {
        if !self.writable {
            return Err(error(ErrorKind::PermissionDenied, format!("'{}' is open for reading", self.path)));
        }
        let state = &mut *self.disk.lock_to_change(Some(self.life))?;
        let pages_free = state.pages_free();
        let Some(inode) = state.files.get_mut(&self.file) else {
            return Err(error(ErrorKind::NotFound, format!("'{}' is gone", self.path)));
        };
        let before = inode.content.allocated();
        let mut room =
            Room { pages_free, path: &self.path, faults: &mut state.faults, counters: &mut state.counters };
        let result = change(&mut inode.content, &mut room);
        state.pages_used = state.pages_used + inode.content.allocated() - before;
        result
    }

    fn write(&self, offset: u64, pieces: &[Bytes]) -> io::Result<()> {
        self.change(|content, room| {
            let mut at = offset;
            if room.faults.write_is_misdirected(room.path) {
                room.counters.faults += 1;
                at += PAGE_BYTES as u64;
            }
            room.counters.writes += 1;
            for piece in pieces {
                // Page by page, so that a full disk leaves a part of the piece written.
                for part in piece.chunks(PAGE_BYTES) {
                    room.take(content.missing(at, part.len()))?;
                    content.write(at, part);
                    at += part.len() as u64;
                    room.counters.bytes_written += part.len() as u64;
                }
            }
            Ok(())
        })
    }

    pub(in crate::disk) fn id(&self) -> FileId {
        self.file
    }

    /// Makes the present bytes durable, at once; the answer is what had to be written to the disk.
    pub(in crate::disk) fn sync_now(&self) -> io::Result<Written> {
        let state = &mut *self.disk.lock_to_change(Some(self.life))?;
        state.counters.syncs += 1;
        let Some(inode) = state.files.get_mut(&self.file) else {
            return Err(error(ErrorKind::NotFound, format!("'{}' is gone", self.path)));
        };
        if state.faults.sync_fails(&self.path, &mut state.rng) {
            state.counters.faults += 1;
            inode.content.fail_sync(&mut state.rng);
            return Err(error(ErrorKind::Other, format!("'{}': a sync failed (injected)", self.path)));
        }
        Ok(inode.content.sync())
    }
}

/// What a change of a file may use of its disk.
struct Room<'a> {
    pages_free: u64,
    path: &'a str,
    faults: &'a mut Faults,
    counters: &'a mut Counters,
}

impl Room<'_> {
    fn take(&mut self, pages: u64) -> io::Result<()> {
        match self.pages_free.checked_sub(pages) {
            Some(left) => {
                self.pages_free = left;
                Ok(())
            }
            None => {
                self.counters.faults += 1;
                Err(error(ErrorKind::StorageFull, format!("'{}': no room left on the disk", self.path)))
            }
        }
    }
}

#[async_trait]
impl File for MemFile {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let after = self.disk.begin(Doing::Reading).await;
        let bytes = self.read(offset, length);
        end(after).await;
        bytes
    }

    async fn read_many(&self, spans: &[(u64, usize)]) -> io::Result<Vec<Bytes>> {
        let after = self.disk.begin(Doing::Reading).await;
        let bytes = spans.iter().map(|(offset, length)| self.read(*offset, *length)).collect();
        end(after).await;
        bytes
    }

    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        let after = self.disk.begin(Doing::Writing).await;
        let result = self.write(offset, &pieces);
        end(after).await;
        result
    }

    async fn sync(&self) -> io::Result<()> {
        let after = self.disk.begin(Doing::Syncing).await;
        let result = self.sync_now().map(drop);
        end(after).await;
        result
    }

    async fn write_and_sync(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.write_at(offset, pieces).await?;
        self.sync().await
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.content()?.len())
    }

    async fn set_len(&self, length: u64) -> io::Result<()> {
        let after = self.disk.begin(Doing::Writing).await;
        let result = self.change(|content, _| {
            content.set_len(length);
            Ok(())
        });
        end(after).await;
        result
    }

    async fn preallocate(&self, length: u64) -> io::Result<()> {
        let after = self.disk.begin(Doing::Writing).await;
        let result = self.change(|content, room| {
            room.take(content.missing(0, usize::try_from(length).unwrap_or(usize::MAX)))?;
            content.fill(length);
            Ok(())
        });
        end(after).await;
        result
    }
}
