//! A disk in memory that can lose what was not synced, and on which things go wrong as told.
//!
//! There are two images, the one that calls see and the durable one. A sync of a file carries its bytes from the
//! first to the second, a sync of a directory its names. [`MemDisk::crash`] leaves of the rest what a seeded choice
//! leaves: each page of 4 KiB by itself is kept, lost, an earlier state of itself, or torn in sectors of 512 bytes;
//! each change of a name is kept or undone, a rename as a whole. So writes may come back in any order.

mod content;
mod faults;
mod file;
mod names;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{DirEntry, Disk, EntryKind, File, Lock, OpenMode, Space, path};
use crate::{task, time};
pub(super) use content::Written;
use content::{Content, PAGE_BYTES};
use faults::Doing;
pub use faults::Faults;
pub(super) use file::MemFile;
use names::Names;
pub(super) use names::{FileId, Node};

/// A disk in memory. Cheap to clone; clones are the same disk.
#[derive(Clone)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
    /// The life of the disk to which this handle belongs; `None`: any.
    life: Option<u64>,
}

/// How much a crash takes of what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// All of it.
    Everything,
    /// None of it: as when a process is killed, whose written bytes the operating system has.
    Nothing,
    /// What the disk's seed says, page by page and name by name.
    Drawn,
}

/// What was done on a disk since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Reads of stretches.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs of files and of directories.
    pub syncs: u64,
    /// Calls that failed, or did the wrong thing, because of [`Faults`].
    pub faults: u64,
}

struct State {
    rng: StdRng,
    faults: Faults,
    counters: Counters,
    names: Names,
    files: BTreeMap<FileId, Inode>,
    next_file: FileId,
    pages_used: u64,
    /// Crashes so far.
    life: u64,
    /// Who holds which lock.
    locks: BTreeMap<String, u64>,
    next_lock: u64,
}

#[derive(Default)]
struct Inode {
    content: Content,
    handles: u64,
}

fn error(kind: ErrorKind, told: String) -> io::Error {
    io::Error::new(kind, told)
}

impl MemDisk {
    /// An empty disk; crashes and faults are drawn from `seed`.
    pub fn new(seed: u64) -> MemDisk {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            faults: Faults::default(),
            counters: Counters::default(),
            names: Names::default(),
            files: BTreeMap::new(),
            next_file: 0,
            pages_used: 0,
            life: 0,
            locks: BTreeMap::new(),
            next_lock: 0,
        };
        MemDisk { state: Arc::new(Mutex::new(state)), life: None }
    }

    /// The same disk as one life of a node sees it: after the next crash all calls through this handle fail, so
    /// that nothing left over from before the crash touches the disk.
    pub fn mount(&self) -> MemDisk {
        MemDisk { state: self.state.clone(), life: Some(self.state.lock().life) }
    }

    /// Power loss: unsynced bytes and names are kept or lost as the seed says. All open files, locks and mounts end:
    /// later calls through them fail. The disk itself is there again at once.
    pub fn crash(&self) {
        self.crash_with(Loss::Drawn);
    }

    /// [`MemDisk::crash`] with a say in what is lost.
    pub fn crash_with(&self, loss: Loss) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.life += 1;
        state.locks.clear();
        state.faults.changes_left = None;
        state.names.crash(loss, &mut state.rng);
        for inode in state.files.values_mut() {
            inode.content.crash(loss, &mut state.rng);
            inode.handles = 0;
        }
        state.forget_files();
        state.pages_used = state.files.values().map(|inode| inode.content.allocated()).sum();
    }

    /// The process that had the disk open is gone, the machine is not: open files, locks and mounts end, and nothing
    /// is lost or made durable.
    pub fn unmount(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.locks.clear();
        let unnamed: Vec<FileId> =
            state.files.keys().copied().filter(|file| !state.names.is_named(*file)).collect();
        for file in unnamed {
            let pages = state.files.get(&file).filter(|inode| inode.handles > 0);
            state.pages_used -= pages.map_or(0, |inode| inode.content.allocated());
        }
        for inode in state.files.values_mut() {
            inode.handles = 0;
        }
    }

    /// Changes what goes wrong from now on.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.lock().faults);
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.state.lock().counters
    }

    /// Bytes that are taken, and all that fit.
    pub fn used(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.pages_used * PAGE_BYTES as u64, state.faults.capacity)
    }

    /// The durable bytes of the file that durably has this name: what is there after the worst crash.
    pub fn durable(&self, path: &str) -> Option<Bytes> {
        let state = self.state.lock();
        match state.names.all_durable().get(path)? {
            Node::File(file) => state.files.get(file).map(|inode| inode.content.durable()),
            Node::Directory => None,
        }
    }

    /// The names of all files that are durable, sorted.
    pub fn durable_files(&self) -> Vec<String> {
        let durable = self.state.lock().names.all_durable();
        durable.into_iter().filter(|(_, node)| *node != Node::Directory).map(|(name, _)| name).collect()
    }

    /// Flips the bits of `mask` in one stored byte, in memory and on the disk. False: there is no such byte.
    pub fn rot(&self, path: &str, offset: u64, mask: u8) -> bool {
        let mut state = self.state.lock();
        let Some(Node::File(file)) = state.names.get(path) else {
            return false;
        };
        match state.files.get_mut(&file) {
            Some(inode) if offset < inode.content.len() => {
                inode.content.rot(offset, mask);
                true
            }
            _ => false,
        }
    }

    /// Opens a file as [`Disk::open`] does.
    pub(super) async fn open_file(&self, path: &str, mode: OpenMode) -> io::Result<MemFile> {
        path::check_name(path)?;
        if mode == OpenMode::Create {
            self.change_names(|state| state.create(path).map(drop)).await?;
        }
        let mut state = self.lock_state(self.life)?;
        let file = state.file(path)?;
        if let Some(inode) = state.files.get_mut(&file) {
            inode.handles += 1;
        }
        let life = state.life;
        drop(state);
        let writable = mode != OpenMode::Read;
        Ok(MemFile { disk: self.clone(), life, file, path: path.to_owned(), writable })
    }

    /// Every durable name.
    pub(super) fn durable_names(&self) -> BTreeMap<String, Node> {
        self.state.lock().names.all_durable()
    }

    /// The durable bytes of a file, whatever its name.
    pub(super) fn durable_bytes(&self, file: FileId) -> Bytes {
        self.state.lock().files.get(&file).map(|inode| inode.content.durable()).unwrap_or_default()
    }

    /// Makes the names in a directory durable, at once.
    pub(super) fn sync_names(&self, path: &str) -> io::Result<()> {
        path::check(path)?;
        let state = &mut *self.lock_to_change(self.life)?;
        state.directory(path)?;
        state.names.sync(path);
        state.forget_files();
        state.counters.syncs += 1;
        Ok(())
    }

    fn lock_state(&self, life: Option<u64>) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if life.is_some_and(|life| life != state.life) {
            return Err(error(ErrorKind::Other, "the machine crashed since this was opened".to_owned()));
        }
        if state.faults.is_gone() {
            return Err(error(ErrorKind::Other, "the disk is gone".to_owned()));
        }
        Ok(state)
    }

    /// For a change, which may be the last one before the disk goes.
    fn lock_to_change(&self, life: Option<u64>) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock_state(life)?;
        state.faults.count_change();
        Ok(state)
    }

    /// Waits as long as the effect of a call takes to come; the answer is what it waits afterwards.
    async fn begin(&self, doing: Doing) -> Option<time::Duration> {
        let (before, after) = {
            let state = &mut *self.state.lock();
            state.faults.delays(doing, &mut state.rng)?
        };
        wait(before).await;
        Some(after)
    }

    async fn change_names(&self, change: impl FnOnce(&mut State) -> io::Result<()> + Send) -> io::Result<()> {
        let after = self.begin(Doing::Writing).await;
        let result = change(&mut *self.lock_to_change(self.life)?);
        end(after).await;
        result
    }
}

async fn wait(duration: time::Duration) {
    if duration.is_zero() {
        task::yield_now().await;
    } else {
        time::sleep(duration).await;
    }
}

async fn end(after: Option<time::Duration>) {
    if let Some(after) = after {
        wait(after).await;
    }
}

impl State {
    /// Drops files that no name and no handle can reach.
    fn forget_files(&mut self) {
        let named = self.names.files();
        self.files.retain(|file, inode| inode.handles > 0 || named.contains(file));
    }

    fn file(&self, path: &str) -> io::Result<FileId> {
        match self.names.get(path) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory) => Err(error(ErrorKind::IsADirectory, format!("'{path}' is a directory"))),
            None => Err(error(ErrorKind::NotFound, format!("there is no '{path}'"))),
        }
    }

    fn directory(&self, path: &str) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(error(ErrorKind::NotADirectory, format!("'{path}' is a file"))),
            None => Err(error(ErrorKind::NotFound, format!("there is no directory '{path}'"))),
        }
    }

    fn create(&mut self, path: &str) -> io::Result<FileId> {
        path::check_name(path)?;
        self.directory(path::parent(path))?;
        if self.names.get(path).is_some() {
            return Err(error(ErrorKind::AlreadyExists, format!("'{path}' exists already")));
        }
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, Inode::default());
        self.names.change(vec![(path.to_owned(), Some(Node::File(file)))]);
        Ok(file)
    }

    /// Gives back the room of a file that nothing shows any more.
    fn release(&mut self, file: FileId) {
        if let Some(inode) = self.files.get(&file)
            && inode.handles == 0
            && !self.names.is_named(file)
        {
            self.pages_used -= inode.content.allocated();
        }
    }

    /// Pages that fit on the disk, so that counting them cannot overflow.
    fn pages_free(&self) -> u64 {
        (self.faults.capacity / PAGE_BYTES as u64).saturating_sub(self.pages_used)
    }
}

#[async_trait]
impl Disk for MemDisk {
    async fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode).await?))
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        path::check_name(from)?;
        path::check_name(to)?;
        self.change_names(|state| {
            let file = state.file(from)?;
            state.directory(path::parent(to))?;
            let replaced = match state.names.get(to) {
                Some(_) => Some(state.file(to)?),
                None => None,
            };
            if replaced == Some(file) {
                return Ok(());
            }
            let moved = vec![(from.to_owned(), None), (to.to_owned(), Some(Node::File(file)))];
            state.names.change(moved);
            if let Some(replaced) = replaced {
                state.release(replaced);
            }
            Ok(())
        })
        .await
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        path::check_name(from)?;
        path::check_name(to)?;
        self.change_names(|state| {
            let file = state.file(from)?;
            state.directory(path::parent(to))?;
            if state.names.get(to).is_some() {
                return Err(error(ErrorKind::AlreadyExists, format!("'{to}' exists already")));
            }
            state.names.change(vec![(to.to_owned(), Some(Node::File(file)))]);
            Ok(())
        })
        .await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        path::check_name(path)?;
        self.change_names(|state| {
            let file = state.file(path)?;
            state.names.change(vec![(path.to_owned(), None)]);
            state.release(file);
            Ok(())
        })
        .await
    }

    async fn create_dir_all(&self, path: &str) -> io::Result<()> {
        path::check(path)?;
        self.change_names(|state| {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            for directory in ends.filter_map(|end| path.get(..end)) {
                match state.names.get(directory) {
                    Some(_) => state.directory(directory)?,
                    None => state.names.change(vec![(directory.to_owned(), Some(Node::Directory))]),
                }
            }
            Ok(())
        })
        .await
    }

    async fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        path::check_name(path)?;
        self.change_names(|state| {
            if state.names.get(path).is_none() {
                return Ok(());
            }
            state.directory(path)?;
            for (name, node) in state.names.below(path).into_iter().rev() {
                state.names.change(vec![(name, None)]);
                if let Node::File(file) = node {
                    state.release(file);
                }
            }
            state.names.change(vec![(path.to_owned(), None)]);
            Ok(())
        })
        .await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        path::check(path)?;
        let state = self.lock_state(self.life)?;
        state.directory(path)?;
        let entries = state.names.list(path).map(|(name, node)| {
            let (kind, length) = match node {
                Node::Directory => (EntryKind::Directory, 0),
                Node::File(file) => {
                    (EntryKind::File, state.files.get(&file).map_or(0, |inode| inode.content.len()))
                }
            };
            DirEntry { name: name.to_owned(), kind, length }
        });
        let mut entries: Vec<DirEntry> = entries.collect();
        // Whole paths sort otherwise than last parts, where a part is the beginning of another.
        entries.sort();
        Ok(entries)
    }

    async fn sync_dir(&self, path: &str) -> io::Result<()> {
        let after = self.begin(Doing::Syncing).await;
        let result = self.sync_names(path);
        end(after).await;
        result
    }

    async fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        path::check_name(path)?;
        let mut state = self.lock_state(self.life)?;
        if state.names.get(path).is_none() {
            state.create(path)?;
        }
        state.file(path)?;
        if state.locks.contains_key(path) {
            return Err(error(ErrorKind::WouldBlock, format!("'{path}' is locked by somebody else")));
        }
        let number = state.next_lock;
        state.next_lock += 1;
        state.locks.insert(path.to_owned(), number);
        Ok(Box::new(MemLock { disk: self.clone(), path: path.to_owned(), number }))
    }

    async fn space(&self) -> io::Result<Space> {
        let state = self.lock_state(self.life)?;
        Ok(Space { free: state.pages_free() * PAGE_BYTES as u64, total: state.faults.capacity })
    }
}

/// A lock that is held.
struct MemLock {
    disk: MemDisk,
    path: String,
    number: u64,
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        // After a crash somebody else may hold it.
        if state.locks.get(&self.path) == Some(&self.number) {
            state.locks.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
