//! One open file.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::FallocateFlags;
use rustix::io::ReadWriteFlags;

use super::{blocking, told};
use crate::disk::File;

/// Bytes that one call copies from the page cache in place, at most; more goes to a thread.
const CACHED_BYTES_MAX: usize = 256 << 10;

/// Zeroes are written in pieces of this many bytes.
const ZERO_BYTES: usize = 1 << 20;

/// Pieces that one system call takes, at most (`IOV_MAX` of Linux).
const PIECES_MAX: usize = 1024;

pub(super) struct OsFile(Arc<Opened>);

pub(super) struct Opened {
    file: fs::File,
    path: String,
    /// After a failed sync the kernel has forgotten which pages it did not write: a second sync would lie.
    pub(super) sync_failed: AtomicBool,
    /// Whether the file system can be asked for cached bytes only.
    asks_cache: AtomicBool,
}

impl Opened {
    pub(super) fn new(file: fs::File, path: &str) -> Opened {
        let path = path.to_owned();
        Opened { file, path, sync_failed: AtomicBool::new(false), asks_cache: AtomicBool::new(true) }
    }

    /// The bytes if all of them are in the page cache. Never waits for the device.
    fn read_cached(&self, offset: u64, length: usize) -> Option<Bytes> {
        if length > CACHED_BYTES_MAX || !self.asks_cache.load(Ordering::Relaxed) {
            return None;
        }
        let mut bytes = vec![0; length];
        match rustix::io::preadv2(
            &self.file,
            &mut [IoSliceMut::new(&mut bytes)],
            offset,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) if read == length => Some(bytes.into()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                self.asks_cache.store(false, Ordering::Relaxed);
                None
            }
            // A part only, nothing, or an error that the full read will tell.
            Ok(_) | Err(_) => None,
        }
    }

    /// The bytes, wherever they are. Fewer at the end of the file.
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.readable(offset, length)?];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    /// How much of a stretch lies in the file, so that a wrong length costs no memory.
    fn readable(&self, offset: u64, length: usize) -> io::Result<usize> {
        if length <= CACHED_BYTES_MAX {
            return Ok(length);
        }
        let left = self.file.metadata()?.len().saturating_sub(offset);
        Ok(length.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    fn write(&self, mut offset: u64, pieces: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let batch = rest.get(..rest.len().min(PIECES_MAX)).unwrap_or_default();
            match rustix::io::pwritev(&self.file, batch, offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync failed, so nothing can be promised any more"));
        }
        self.file.sync_data().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        let present = self.file.metadata()?.len();
        if length > present {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), present, length - present) {
                // Then the zeroes below find the room, or not.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Allocated is not enough: the first write into an allocated stretch changes metadata, which a sync then has
        // to write too.
        for (from, until) in self.holes(present.min(length))? {
            self.zero(from, until)?;
        }
        self.zero(present, length)
    }

    /// Stretches below `end` that were never written.
    pub(super) fn holes(&self, end: u64) -> io::Result<Vec<(u64, u64)>> {
        let mut holes = Vec::new();
        let mut at = 0;
        while at < end {
            let hole = match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Hole(at)) {
                Ok(hole) if hole < end => hole,
                // The file system does not know holes, or there is none.
                Ok(_) | Err(_) => break,
            };
            let data = match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(hole)) {
                Ok(data) => data.min(end),
                Err(rustix::io::Errno::NXIO) => end,
                Err(error) => return Err(error.into()),
            };
            holes.push((hole, data));
            at = data;
        }
        Ok(holes)
    }

    fn zero(&self, from: u64, until: u64) -> io::Result<()> {
        let zeroes = Bytes::from_static(&[0; ZERO_BYTES]);
        let mut at = from;
        while at < until {
            let length = (until - at).min(ZERO_BYTES as u64);
            self.write(at, &[zeroes.slice(..usize::try_from(length).unwrap_or(ZERO_BYTES))])?;
            at += length;
        }
        Ok(())
    }
}

impl OsFile {
    pub(super) fn new(file: fs::File, path: &str) -> OsFile {
        OsFile(Arc::new(Opened::new(file, path)))
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Opened) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let opened = self.0.clone();
        blocking(move || work(&opened).map_err(|error| told(&error, doing, &opened.path))).await
    }
}

#[async_trait]
impl File for OsFile {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if let Some(bytes) = self.0.read_cached(offset, length) {
            return Ok(bytes);
        }
        self.on_thread("read", move |opened| opened.read(offset, length)).await
    }

    async fn read_many(&self, spans: &[(u64, usize)]) -> io::Result<Vec<Bytes>> {
        let mut left = CACHED_BYTES_MAX;
        let mut found = Vec::with_capacity(spans.len());
        let mut absent = Vec::new();
        for (position, (offset, length)) in spans.iter().copied().enumerate() {
            let cached = if length <= left { self.0.read_cached(offset, length) } else { None };
            left = left.saturating_sub(length);
            if cached.is_none() {
                absent.push((position, offset, length));
            }
            found.push(cached.unwrap_or_default());
        }
        if absent.is_empty() {
            return Ok(found);
        }
        self.on_thread("read", move |opened| {
            for (position, offset, length) in absent {
                if let Some(place) = found.get_mut(position) {
                    *place = opened.read(offset, length)?;
                }
            }
            Ok(found)
        })
        .await
    }

    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.on_thread("write", move |opened| opened.write(offset, &pieces)).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.on_thread("sync", Opened::sync).await
    }

    async fn write_and_sync(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.on_thread("write and sync", move |opened| {
            opened.write(offset, &pieces)?;
            opened.sync()
        })
        .await
    }

    async fn len(&self) -> io::Result<u64> {
        // The inode of an open file is in memory: no wait.
        Ok(self.0.file.metadata()?.len())
    }

    async fn set_len(&self, length: u64) -> io::Result<()> {
        self.on_thread("set the length of", move |opened| opened.file.set_len(length)).await
    }

    async fn preallocate(&self, length: u64) -> io::Result<()> {
        self.on_thread("preallocate", move |opened| opened.preallocate(length)).await
    }
}
