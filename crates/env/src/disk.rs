//! Files of one volume, as a port: what is written may be lost in a crash until it is synced, and so may the name
//! of a file until its directory is synced.
//!
//! Paths are relative to the volume, with `/` between parts; none begins with `/` or holds `..`.
//!
//! | form | what it is |
//! |---|---|
//! | [`os::OsDisk`] | files of the operating system below a directory |
//! | [`memory::MemDisk`] | memory, with crashes and faults: the disk of the simulator |
//! | [`unsynced::UnsyncedDisk`] | files of the operating system that get their bytes at a sync only: for tests that kill processes |

#[cfg(test)]
mod conformance;
pub mod memory;
pub mod os;
mod path;
pub mod unsynced;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// One volume.
#[async_trait]
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` (`Read`, `Write`), `AlreadyExists` (`Create`), or what the operating system says.
    async fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name; replaces a file that has it. Durable once both directories are synced.
    async fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name. Durable once the directory is synced. `AlreadyExists` if the name is taken.
    async fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. A file that is open stays readable through its handle.
    async fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes a directory and those above it; nothing if it is there.
    async fn create_dir_all(&self, path: &str) -> io::Result<()>;

    /// Removes a directory and all in it; nothing if it is not there.
    async fn remove_dir_all(&self, path: &str) -> io::Result<()>;

    /// The files and directories in a directory (`""`: the volume itself), sorted by name.
    async fn list(&self, path: &str) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in a directory durable.
    async fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Takes a lock that ends with the process, or when the answer is dropped. `WouldBlock` if it is taken.
    async fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>>;

    /// Room on the volume.
    async fn space(&self) -> io::Result<Space>;
}

/// One open file.
#[expect(clippy::len_without_is_empty, reason = "a length that has to be asked for is no container's")]
#[async_trait]
pub trait File: Send + Sync + 'static {
    /// Up to `length` bytes from `offset` on; fewer only at the end of the file.
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// Several reads at once, in the order of `spans` (offset, length).
    async fn read_many(&self, spans: &[(u64, usize)]) -> io::Result<Vec<Bytes>>;

    /// Writes the pieces one behind the other from `offset` on. An error leaves any part of them written.
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// The caller must take any error as fatal for what it wrote: it must not try again.
    async fn sync(&self) -> io::Result<()>;

    /// [`File::write_at`] and [`File::sync`] in one step, which saves a change of thread.
    async fn write_and_sync(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()>;

    /// The present length in bytes.
    async fn len(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeroes) the file.
    async fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes sure that the first `length` bytes have room and are written zeroes where nothing was written, so that
    /// later writes there neither fail for lack of room nor change what `sync` has to write of the file's metadata.
    async fn preallocate(&self, length: u64) -> io::Result<()>;
}

/// Held as long as it lives.
pub trait Lock: Send + Sync {}

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing.
    Create,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// The last part of the path. Names that are not UTF-8 are left out of lists.
    pub name: String,
    /// What the name stands for.
    pub kind: EntryKind,
    /// Bytes of a file; 0 for others.
    pub length: u64,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a link, a socket, a device.
    Other,
}

/// Room on a volume, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// All that there is.
    pub total: u64,
}
