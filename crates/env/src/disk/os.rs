//! Files of the operating system below one directory.
//!
//! What may wait for a device runs on the runtime's threads for blocking work, one hop for each call. Reads first
//! ask the page cache in place (`preadv2` with `RWF_NOWAIT`, which answers at once or not at all), since a hop costs
//! several times what a cached block does.

mod file;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use file::OsFile;

use super::{DirEntry, Disk, EntryKind, File, Lock, OpenMode, Space, path};
use crate::task;

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
        Ok(Arc::new(OsFile::new(file, path)))
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

#[cfg(test)]
mod tests;
