//! Files of the operating system below one directory.
//!
//! What may wait for a device runs on the runtime's threads for blocking work, one hop for each call. Reads first
//! ask the page cache in place (`preadv2` with `RWF_NOWAIT`, which answers at once or not at all), since a hop costs
//! several times what a cached block does.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::FallocateFlags;
use rustix::io::ReadWriteFlags;

use super::{DirEntry, Disk, EntryKind, File, Lock, OpenMode, Space, path};
use crate::task;

/// Bytes that one call copies from the page cache in place, at most; more goes to a thread.
const CACHED_BYTES_MAX: usize = 256 << 10;

/// Zeroes are written in pieces of this many bytes.
const ZERO_BYTES: usize = 1 << 20;

/// Pieces that one system call takes, at most (`IOV_MAX` of Linux).
const PIECES_MAX: usize = 1024;

/// The volume below one directory. Cheap to clone; clones are the same volume.
#[derive(Clone, Debug)]
pub struct OsDisk {
    root: Arc<Path>,
}

impl OsDisk {
    /// The volume below `root`, which is made if it is not there. Blocks for a moment.
    ///
    /// # Errors
    /// `root` is not a directory and cannot be made one.
    pub fn open(root: PathBuf) -> io::Result<OsDisk> {
        fs::create_dir_all(&root)
            .map_err(|error| told(&error, "create the directory", &root.to_string_lossy()))?;
        Ok(OsDisk { root: root.into() })
    }

    /// The directory that the volume is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn find(&self, path: &str) -> io::Result<PathBuf> {
        path::check(path)?;
        Ok(if path.is_empty() { self.root.to_path_buf() } else { self.root.join(path) })
    }

    fn find_name(&self, path: &str) -> io::Result<PathBuf> {
        path::check_name(path)?;
        self.find(path)
    }

    /// Does `work` with one path on a thread.
    async fn on_path<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let found = self.find(path)?;
        let path = path.to_owned();
        blocking(move || work(&found).map_err(|error| told(&error, doing, &path))).await
    }
}

/// Runs `work` where it may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match task::compute(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(format!("a call to the disk did not end: {error}"))),
    }
}

/// The error with what was done to what. A quota that is used up is a full disk.
fn told(error: &io::Error, doing: &str, path: &str) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        kind => kind,
    };
    io::Error::new(kind, format!("cannot {doing} '{path}': {error}"))
}

/// Refuses directories, which have no second names and no atomic replacement.
fn is_file(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is the port to the file system")]
fn open_dir(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path)
}

#[expect(clippy::disallowed_methods, reason = "this is the port to the file system")]
fn open_file(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::Create);
    let file = options.open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    Ok(file)
}

#[expect(clippy::disallowed_methods, reason = "this is the port to the file system")]
fn open_lock(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(io::Error::new(ErrorKind::WouldBlock, "another process has it, or this one has it already"))
        }
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn list(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed while we read the directory.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        let length = if kind == EntryKind::File { metadata.len() } else { 0 };
        entries.push(DirEntry { name, kind, length });
    }
    entries.sort();
    Ok(entries)
}

#[async_trait]
impl Disk for OsDisk {
    async fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        path::check_name(path)?;
        let file = self.on_path("open", path, move |found| open_file(found, mode)).await?;
        Ok(Arc::new(OsFile(Arc::new(Opened {
            file,
            path: path.to_owned(),
            sync_failed: AtomicBool::new(false),
            asks_cache: AtomicBool::new(true),
        }))))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the port to the file system")]
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        path::check_name(from)?;
        let to = self.find_name(to)?;
        self.on_path("rename", from, move |from| {
            is_file(from)?;
            fs::rename(from, to)
        })
        .await
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        path::check_name(from)?;
        let to = self.find_name(to)?;
        self.on_path("link", from, move |from| {
            is_file(from)?;
            fs::hard_link(from, to)
        })
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the port to the file system")]
    async fn remove(&self, path: &str) -> io::Result<()> {
        path::check_name(path)?;
        self.on_path("remove", path, |found| {
            is_file(found)?;
            fs::remove_file(found)
        })
        .await
    }

    async fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.on_path("create the directory", path, |found| match fs::create_dir_all(found) {
            // A file on the way: said in one word, whatever part of the path it is.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(io::Error::new(ErrorKind::NotADirectory, "a file has this name"))
            }
            result => result,
        })
        .await
    }

    async fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        path::check_name(path)?;
        self.on_path("remove the directory", path, |found| match fs::remove_dir_all(found) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.on_path("list", path, list).await
    }

    async fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.on_path("sync the directory", path, |found| {
            let directory = open_dir(found)?;
            if !directory.metadata()?.is_dir() {
                return Err(io::Error::new(ErrorKind::NotADirectory, "it is a file"));
            }
            directory.sync_all()
        })
        .await
    }

    async fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        path::check_name(path)?;
        let file = self.on_path("lock", path, open_lock).await?;
        Ok(Box::new(OsLock { _file: file }))
    }

    async fn space(&self) -> io::Result<Space> {
        self.on_path("ask for the room of", "", |found| {
            let room = rustix::fs::statvfs(found)?;
            Ok(Space {
                free: room.f_bavail.saturating_mul(room.f_frsize),
                total: room.f_blocks.saturating_mul(room.f_frsize),
            })
        })
        .await
    }
}

/// The lock is the open file's: it ends when the file is closed, also by the end of the process.
struct OsLock {
    _file: fs::File,
}

impl Lock for OsLock {}

struct OsFile(Arc<Opened>);

struct Opened {
    file: fs::File,
    path: String,
    /// After a failed sync the kernel has forgotten which pages it did not write: a second sync would lie.
    sync_failed: AtomicBool,
    /// Whether the file system can be asked for cached bytes only.
    asks_cache: AtomicBool,
}

impl Opened {
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

    fn sync(&self) -> io::Result<()> {
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
    fn holes(&self, end: u64) -> io::Result<Vec<(u64, u64)>> {
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

#[cfg(test)]
mod tests;
