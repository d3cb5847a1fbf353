//! Files of the operating system that get their bytes at a sync only. For tests that kill processes.
//!
//! The page cache survives `kill -9`, so a killed process that had never synced anything loses nothing, and the test
//! proves nothing. Here unsynced bytes and names live in the memory of the process ([`MemDisk`]), and each sync
//! carries what it makes durable to real files: a kill loses all the rest. It guards against the death of the
//! process only, not against power loss: real files are not synced. The whole volume is held in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::memory::{FileId, MemDisk, MemFile, Node, Written};
use super::os::OsDisk;
use super::{DirEntry, Disk, EntryKind, File, Lock, OpenMode, Space, path};
use crate::{random, task};

/// The name under which a new file is written before it gets its own.
const UNFINISHED: &str = ".unsynced";

/// A volume whose real files change at syncs only. Cheap to clone; clones are the same volume.
#[derive(Clone)]
pub struct UnsyncedDisk {
    memory: MemDisk,
    real: OsDisk,
    mirror: Arc<Mutex<Mirror>>,
}

/// The real files, which are always the durable image of the memory.
struct Mirror {
    root: PathBuf,
    names: BTreeMap<String, Node>,
    /// Lock files are real from the beginning, and never replaced: a lock belongs to the file, not to its name.
    locks: BTreeSet<String>,
}

impl UnsyncedDisk {
    /// The volume below `root`, which is made if it is not there. Reads all of it.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn open(root: PathBuf) -> io::Result<UnsyncedDisk> {
        let real = OsDisk::open(root.clone())?;
        let memory = MemDisk::new(random::u64());
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            for entry in real.list(&directory).await? {
                let path =
                    if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
                match entry.kind {
                    EntryKind::Directory => {
                        memory.create_dir_all(&path).await?;
                        directories.push(path);
                    }
                    EntryKind::File if path == UNFINISHED => real.remove(&path).await?,
                    EntryKind::File => {
                        let length = usize::try_from(entry.length).unwrap_or(usize::MAX);
                        let bytes = real.open(&path, OpenMode::Read).await?.read_at(0, length).await?;
                        let file = memory.open(&path, OpenMode::Create).await?;
                        file.write_and_sync(0, vec![bytes]).await?;
                    }
                    EntryKind::Other => {}
                }
            }
            memory.sync_dir(&directory).await?;
        }
        let mirror = Mirror { root, names: memory.durable_names(), locks: BTreeSet::new() };
        Ok(UnsyncedDisk { memory, real, mirror: Arc::new(Mutex::new(mirror)) })
    }

    /// Does `work` where it may wait, with nobody else at the real files.
    async fn carry<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Mirror, &MemDisk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (memory, mirror) = (self.memory.clone(), self.mirror.clone());
        let carried = task::compute(move || work(&mut mirror.lock(), &memory)).await;
        carried.map_err(|error| io::Error::other(format!("a call to the disk did not end: {error}")))?
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the port to the file system")]
impl Mirror {
    fn find(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Carries what a sync of a file wrote, if the file has a durable name.
    fn write(&self, file: FileId, written: &Written) -> io::Result<()> {
        let Some((name, _)) = self.names.iter().find(|(_, node)| **node == Node::File(file)) else {
            return Ok(());
        };
        let real = fs::OpenOptions::new().write(true).open(self.find(name))?;
        if let Some(cut) = written.cut {
            real.set_len(cut)?;
        }
        for (offset, page) in &written.pages {
            real.write_all_at(page, *offset)?;
        }
        real.set_len(written.length)
    }

    /// Gives and takes real names, until they are the durable ones. `names` is true at each step.
    fn rename(&mut self, memory: &MemDisk) -> io::Result<()> {
        let wanted = memory.durable_names();
        for (name, node) in &wanted {
            if self.names.get(name) == Some(node) || self.locks.contains(name) {
                continue;
            }
            match node {
                Node::Directory => fs::create_dir_all(self.find(name))?,
                Node::File(file) => self.place(name, *file, &wanted, memory)?,
            }
            self.names.insert(name.clone(), *node);
        }
        let unwanted = self.names.iter().filter(|(name, _)| !wanted.contains_key(*name));
        let unwanted: Vec<(String, Node)> = unwanted.map(|(name, node)| (name.clone(), *node)).collect();
        for (name, node) in unwanted.into_iter().rev() {
            match node {
                Node::Directory => fs::remove_dir(self.find(&name))?,
                Node::File(_) => fs::remove_file(self.find(&name))?,
            }
            self.names.remove(&name);
        }
        Ok(())
    }

    /// Gives a file one more name: in one step, with all its durable bytes.
    fn place(
        &mut self,
        name: &str,
        file: FileId,
        wanted: &BTreeMap<String, Node>,
        memory: &MemDisk,
    ) -> io::Result<()> {
        let present = self.names.iter().filter(|(_, node)| **node == Node::File(file));
        let present: Vec<String> = present.map(|(name, _)| name.clone()).collect();
        let unfinished = self.find(UNFINISHED);
        if let Some(moved) = present.iter().find(|present| !wanted.contains_key(*present)) {
            fs::rename(self.find(moved), self.find(name))?;
            self.names.remove(moved);
            return Ok(());
        }
        match present.first() {
            Some(other) => fs::hard_link(self.find(other), &unfinished)?,
            None => fs::write(&unfinished, memory.durable_bytes(file))?,
        }
        fs::rename(unfinished, self.find(name))
    }
}

#[async_trait]
impl Disk for UnsyncedDisk {
    async fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let memory = Arc::new(self.memory.open_file(path, mode).await?);
        Ok(Arc::new(UnsyncedFile { memory, disk: self.clone() }))
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to).await
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.link(from, to).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.memory.remove(path).await
    }

    async fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.memory.create_dir_all(path).await
    }

    async fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        self.memory.remove_dir_all(path).await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.memory.list(path).await
    }

    async fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path = path.to_owned();
        self.carry(move |mirror, memory| {
            memory.sync_names(&path)?;
            mirror.rename(memory)
        })
        .await
    }

    async fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        path::check_name(path)?;
        let memory = self.memory.lock(path).await?;
        let parent = self.mirror.lock().find(path::parent(path));
        fs::create_dir_all(parent)?;
        let real = self.real.lock(path).await?;
        self.mirror.lock().locks.insert(path.to_owned());
        Ok(Box::new(BothLocks { _memory: memory, _real: real }))
    }

    async fn space(&self) -> io::Result<Space> {
        self.real.space().await
    }
}

struct BothLocks {
    _memory: Box<dyn Lock>,
    _real: Box<dyn Lock>,
}

impl Lock for BothLocks {}

struct UnsyncedFile {
    memory: Arc<MemFile>,
    disk: UnsyncedDisk,
}

#[async_trait]
impl File for UnsyncedFile {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.memory.read_at(offset, length).await
    }

    async fn read_many(&self, spans: &[(u64, usize)]) -> io::Result<Vec<Bytes>> {
        self.memory.read_many(spans).await
    }

    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.memory.write_at(offset, pieces).await
    }

    async fn sync(&self) -> io::Result<()> {
        let memory = self.memory.clone();
        self.disk
            .carry(move |mirror, _| {
                let written = memory.sync_now()?;
                mirror.write(memory.id(), &written)
            })
            .await
    }

    async fn write_and_sync(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.write_at(offset, pieces).await?;
        self.sync().await
    }

    async fn len(&self) -> io::Result<u64> {
        self.memory.len().await
    }

    async fn set_len(&self, length: u64) -> io::Result<()> {
        self.memory.set_len(length).await
    }

    async fn preallocate(&self, length: u64) -> io::Result<()> {
        self.memory.preallocate(length).await
    }
}

#[cfg(test)]
mod tests;
