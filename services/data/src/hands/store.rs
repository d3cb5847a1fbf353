//! Names and files on the volume. Layout: `docs/formats/data-files.md`.
//!
//! ```text
//! tables/<group>/<table>@<stamp>    sealed: complete, synced, never written again
//! incoming/<n>                      being received; removed at the start
//! ```
//!
//! A file gets its name in `tables` after its content is synced, and counts as sealed after the directory is: so a
//! crash leaves a table sealed or absent, never half (protocols §7.1).

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_env::disk::{DirEntry, Disk, EntryKind, File, OpenMode, Space};
use lamina_types::{CopyStamp, GroupId, TableId};
use parking_lot::Mutex;

/// The directory of a data node.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    tables: String,
    incoming: String,
    /// Groups whose directory is there for sure, also after a crash.
    groups: Mutex<BTreeSet<GroupId>>,
    next: AtomicU64,
}

/// A sealed file that was there at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub table: TableId,
    pub stamp: CopyStamp,
    pub file_bytes: u64,
}

/// A file that is being received. Dropping it leaves the file; [`Store::discard`] removes it.
pub(crate) struct Incoming {
    pub path: String,
    pub file: Arc<dyn File>,
}

impl Store {
    /// Opens or makes the directory, removes what was being received, and tells what is sealed.
    ///
    /// All directories are synced: names that a killed process had not synced yet are durable from here on, or
    /// were never there. A table with two names (a crash between two names of a replaced copy) keeps the one with the
    /// highest stamp. Files with other names are left alone and reported.
    pub async fn open(disk: Arc<dyn Disk>, dir: &str) -> io::Result<(Store, Vec<Found>)> {
        let store = Store {
            tables: join(dir, "tables"),
            incoming: join(dir, "incoming"),
            disk,
            groups: Mutex::default(),
            next: AtomicU64::new(0),
        };
        let disk = &store.disk;
        disk.create_dir_all(&store.tables).await?;
        disk.remove_dir_all(&store.incoming).await?;
        disk.create_dir_all(&store.incoming).await?;
        if !dir.is_empty() {
            sync_parents(disk.as_ref(), dir).await?;
        }
        disk.sync_dir(dir).await?;
        disk.sync_dir(&store.tables).await?;
        let mut found = Vec::new();
        for entry in disk.list(&store.tables).await? {
            let group = u32::from_str_radix(&entry.name, 16).ok().map(GroupId);
            match group.filter(|group| entry.kind == EntryKind::Directory && entry.name == group_name(*group))
            {
                Some(group) => store.open_group(group, &mut found).await?,
                None => stray(&store.tables, &entry),
            }
        }
        Ok((store, found))
    }

    async fn open_group(&self, group: GroupId, found: &mut Vec<Found>) -> io::Result<()> {
        let dir = self.group_dir(group);
        self.disk.sync_dir(&dir).await?;
        let mut here: Vec<Found> = Vec::new();
        for entry in self.disk.list(&dir).await? {
            match parse_name(&entry).filter(|found| found.table.group == group) {
                Some(table) => here.push(table),
                None => stray(&dir, &entry),
            }
        }
        here.sort_by_key(|found| (found.table, found.stamp));
        let mut removed = false;
        for (at, one) in here.iter().enumerate() {
            if here.get(at + 1).is_some_and(|next| next.table == one.table) {
                self.disk.remove(&self.path(one.table, one.stamp)).await?;
                removed = true;
            } else {
                found.push(*one);
            }
        }
        if removed {
            self.disk.sync_dir(&dir).await?;
        }
        self.groups.lock().insert(group);
        Ok(())
    }

    /// The path of a sealed file.
    pub fn path(&self, table: TableId, stamp: CopyStamp) -> String {
        format!("{}/{}/{table}@{stamp}", self.tables, group_name(table.group))
    }

    /// A new file to receive a table in.
    pub async fn begin(&self) -> io::Result<Incoming> {
        let path = format!("{}/{}", self.incoming, self.next.fetch_add(1, Ordering::Relaxed));
        let file = self.disk.open(&path, OpenMode::Create).await?;
        Ok(Incoming { path, file })
    }

    /// Removes a file that was being received. One that cannot be removed is removed at the next start.
    pub async fn discard(&self, path: &str) {
        if let Err(error) = self.disk.remove(path).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path, %error, "cannot remove a file that was being received; the next start will");
        }
    }

    /// Gives a received file, whose content is synced, its sealed name; replaces a file that has it. Durable when it
    /// returns.
    pub async fn install(&self, incoming: &str, table: TableId, stamp: CopyStamp) -> io::Result<()> {
        self.make_group(table.group).await?;
        self.disk.rename(incoming, &self.path(table, stamp)).await?;
        self.sync_group(table.group).await?;
        // The directory that the name has left, too: that is what makes a rename durable by contract. On a
        // journalled file system the sync before has done it already.
        self.disk.sync_dir(&self.incoming).await
    }

    /// Gives a sealed file a name with another stamp; durable after [`Store::sync_group`].
    pub async fn restamp(&self, table: TableId, from: CopyStamp, to: CopyStamp) -> io::Result<()> {
        self.disk.rename(&self.path(table, from), &self.path(table, to)).await
    }

    /// Gives a sealed file a second name. Durable when it returns. A name that is there, though nobody knows of it,
    /// is left from a step that failed half-way: it is replaced.
    pub async fn link(&self, old: (TableId, CopyStamp), new: (TableId, CopyStamp)) -> io::Result<()> {
        self.make_group(new.0.group).await?;
        let (from, to) = (self.path(old.0, old.1), self.path(new.0, new.1));
        match self.disk.link(&from, &to).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&to).await?;
                self.disk.link(&from, &to).await?;
            }
            other => other?,
        }
        self.sync_group(new.0.group).await
    }

    /// Removes a sealed name; durable after [`Store::sync_group`]. One that is gone counts as removed.
    pub async fn remove(&self, table: TableId, stamp: CopyStamp) -> io::Result<()> {
        match self.disk.remove(&self.path(table, stamp)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes the names of a group's tables durable.
    pub async fn sync_group(&self, group: GroupId) -> io::Result<()> {
        self.disk.sync_dir(&self.group_dir(group)).await
    }

    /// Opens a sealed file for reading.
    pub async fn open_table(&self, table: TableId, stamp: CopyStamp) -> io::Result<Arc<dyn File>> {
        self.disk.open(&self.path(table, stamp), OpenMode::Read).await
    }

    /// Room on the volume.
    pub async fn space(&self) -> io::Result<Space> {
        self.disk.space().await
    }

    async fn make_group(&self, group: GroupId) -> io::Result<()> {
        if self.groups.lock().contains(&group) {
            return Ok(());
        }
        self.disk.create_dir_all(&self.group_dir(group)).await?;
        self.disk.sync_dir(&self.tables).await?;
        self.groups.lock().insert(group);
        Ok(())
    }

    fn group_dir(&self, group: GroupId) -> String {
        format!("{}/{}", self.tables, group_name(group))
    }
}

/// `dir` itself has to be found again after a crash, and so do those above it.
async fn sync_parents(disk: &dyn Disk, dir: &str) -> io::Result<()> {
    let mut above = dir;
    while let Some((parent, _)) = above.rsplit_once('/') {
        disk.sync_dir(parent).await?;
        above = parent;
    }
    disk.sync_dir("").await
}

fn group_name(group: GroupId) -> String {
    format!("{:x}", group.0)
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

fn parse_name(entry: &DirEntry) -> Option<Found> {
    if entry.kind != EntryKind::File {
        return None;
    }
    let (table, stamp) = entry.name.split_once('@')?;
    let found = Found { table: table.parse().ok()?, stamp: stamp.parse().ok()?, file_bytes: entry.length };
    // Only the one way in which we write a name: another one would be a second name of the same table.
    (entry.name == format!("{}@{}", found.table, found.stamp)).then_some(found)
}

fn stray(dir: &str, entry: &DirEntry) {
    tracing::warn!(dir, name = entry.name, "a file that is no table lies among the tables; it is left alone");
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_types::Reign;

    fn file(name: &str) -> DirEntry {
        DirEntry { name: name.to_owned(), kind: EntryKind::File, length: 9 }
    }

    #[test]
    fn only_the_one_way_to_write_a_name_is_a_table() {
        let table = TableId { group: GroupId(1), reign: Reign(0xab), n: 16 };
        let stamp = CopyStamp { reign: Reign(0xac), n: 2 };
        assert_eq!(parse_name(&file("1-ab-10@ac-2")), Some(Found { table, stamp, file_bytes: 9 }));
        for stray in [
            "1-AB-10@ac-2",
            "01-ab-10@ac-2",
            "1-ab-10",
            "1-ab@ac-2",
            "1-ab-10@ac",
            "1-ab-10@ac-2~",
            "+1-ab-10@ac-2",
        ] {
            assert_eq!(parse_name(&file(stray)), None, "{stray}");
        }
        assert_eq!(parse_name(&DirEntry { kind: EntryKind::Directory, ..file("1-ab-10@ac-2") }), None);
    }
}
