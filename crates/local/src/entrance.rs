//! What is looked at before a store starts in a directory, and before anything is written there.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use lamina_env::Env;
use lamina_env::clock::OsClock;
use lamina_env::disk::os::OsDisk;
use lamina_env::disk::{Disk, EntryKind, Lock};
use lamina_env::time::{self, Duration};
use lamina_node::identity::{self, Identity};
use lamina_peers::admin::Bootstrap;
use lamina_types::{Role, Settings};

use crate::directory::{Directory, names};
use crate::error::{UpError, io};
use crate::volumes::Volumes;

const LOCK: &str = "LOCK";
/// How long nodes of a supervisor that has just been killed may take to notice.
const ORPHANS: Duration = Duration::from_secs(15);
/// How long a process that was killed may take to let go of the directory.
const DYING: Duration = Duration::from_secs(2);
/// What a directory may hold before a store begins in it, beside volumes.
const HARMLESS: [&str; 6] =
    [LOCK, "lost+found", "bootstrap.json.tmp", "endpoints.json", "endpoints.json.tmp", "replaced"];

/// A directory in which a store may start.
pub struct Entered {
    /// The directory.
    pub directory: Arc<Directory>,
    /// The bootstrap record, if the store has begun.
    pub record: Option<Bootstrap>,
    /// What was settled when the store began, or is now.
    pub settings: Settings,
    /// Held as long as the store runs.
    pub lock: Box<dyn Lock>,
}

/// Looks at a directory, locks it, and waits until nobody uses its volumes any more.
///
/// # Errors
/// A store cannot start there. Nothing was written then.
pub async fn enter(path: &Path, volumes: &dyn Volumes, settings: &Settings) -> Result<Entered, UpError> {
    // Before the lock is made: a directory that is refused stays as it is.
    look(path, volumes, settings).await?;
    let directory = Directory::open(path).map_err(io("opening the directory"))?;
    let disk = OsDisk::open(path.to_owned()).map_err(io("opening the directory"))?;
    let lock = lock(&disk, path).await?;
    // Again under the lock: who held it until now may have begun a store.
    let record = look(path, volumes, settings).await?;
    let settings = record.as_ref().map_or_else(|| settings.clone(), |record| record.settings.clone());
    for (_, name) in nodes(&settings) {
        wait_until_unused(&path.join(name)).await?;
    }
    Ok(Entered { directory: Arc::new(directory), record, settings, lock })
}

/// Whether a store may start there; gives its bootstrap record.
async fn look(path: &Path, volumes: &dyn Volumes, settings: &Settings) -> Result<Option<Bootstrap>, UpError> {
    let found = match there(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(refused(format!(
                "{} is no directory; name one that is, or a new one",
                path.display()
            )));
        }
        Err(error) => return Err(io("opening the directory")(error)),
    };
    let directory = Directory::open(path).map_err(io("opening the directory"))?;
    let record = directory.record().await.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => refused(format!("{}: {error}", path.display())),
        _ => io("reading the bootstrap record")(error),
    })?;
    let settings = record.as_ref().map_or(settings, |record| &record.settings);
    if record.is_none() {
        only_volumes(path, found.as_ref()).await?;
    }
    let mut identities = Vec::new();
    for (role, name) in nodes(settings) {
        let dir = path.join(&name);
        if there(&dir).map_err(|error| refused(format!("{}: {error}", dir.display())))?.is_none() {
            continue;
        }
        let disk = volumes.open(dir.clone()).await.map_err(io("opening a volume"))?;
        let env = Env { clock: Arc::new(OsClock), disk };
        match identity::read(&env, role).await {
            Ok(identity) => identities.extend(identity.map(|identity| (name, identity))),
            Err(error) => return Err(refused(format!("{}: {error}", dir.display()))),
        }
    }
    agree(path, record.as_ref(), &identities)?;
    Ok(record)
}

/// Whether the volumes are those of the store.
fn agree(path: &Path, record: Option<&Bootstrap>, volumes: &[(String, Identity)]) -> Result<(), UpError> {
    let dir = path.display();
    let known = || volumes.iter().filter_map(|(name, identity)| Some((name, identity.cluster?)));
    let Some(record) = record else {
        return match known().next() {
            None => Ok(()),
            Some((name, cluster)) => Err(refused(format!(
                "{dir}/{name} is a volume of store {cluster}, but there is no bootstrap.json; put it back"
            ))),
        };
    };
    if let Some((name, other)) = known().find(|(_, cluster)| *cluster != record.cluster) {
        return Err(refused(format!(
            "{dir}/bootstrap.json is of store {}, and {name} beside it of store {other}: \
             name the directory of one store",
            record.cluster
        )));
    }
    let is_listed = |identity: &Identity| record.members.iter().any(|member| member.node == identity.node);
    if known().next().is_none() && !volumes.iter().any(|(_, identity)| is_listed(identity)) {
        return Err(refused(format!(
            "{dir}/bootstrap.json names frontends whose volumes are not in the directory any more (VolumesLost): \
             put the volumes back, or begin a new store in an empty directory"
        )));
    }
    Ok(())
}

/// A directory where no store has begun holds nothing of anybody else's.
async fn only_volumes(path: &Path, disk: &dyn Disk) -> Result<(), UpError> {
    let entries = disk.list("").await.map_err(io("reading the directory"))?;
    let is_volume = |name: &str| {
        Role::ALL.iter().any(|role| {
            let ordinal = name.strip_prefix(role.as_str()).and_then(|rest| rest.strip_prefix('-'));
            ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
        })
    };
    let foreign = entries.iter().find(|entry| {
        let ours = entry.kind == EntryKind::Directory && is_volume(&entry.name);
        !ours && !HARMLESS.contains(&entry.name.as_str())
    });
    match foreign {
        None => Ok(()),
        Some(entry) => Err(refused(format!(
            "{} holds {:?} and no store; name an empty directory, or the one of a store",
            path.display(),
            entry.name
        ))),
    }
}

/// Locks the directory. A process that was killed lets go of it a moment later, when its memory has been given back.
async fn lock(disk: &OsDisk, path: &Path) -> Result<Box<dyn Lock>, UpError> {
    let deadline = time::now() + DYING;
    loop {
        match disk.lock(LOCK).await {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                return Err(UpError::Io { doing: "locking the directory".to_owned(), error });
            }
            Err(_) if time::now() >= deadline => return Err(in_use(path)),
            Err(_) => time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Nodes whose supervisor was killed end by themselves, but not in the same moment.
async fn wait_until_unused(volume: &Path) -> Result<(), UpError> {
    let deadline = time::now() + ORPHANS;
    loop {
        let Some(disk) = there(volume).map_err(io("opening a volume"))? else { return Ok(()) };
        let entries = disk.list("").await.map_err(io("reading a volume"))?;
        if !entries.iter().any(|entry| entry.name == LOCK) {
            return Ok(());
        }
        match disk.lock(LOCK).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(io("locking a volume")(error)),
        }
        if time::now() >= deadline {
            return Err(in_use(volume));
        }
        time::sleep(Duration::from_millis(20)).await;
    }
}

/// The directory as a disk, which would make it: here nothing may be made.
fn there(path: &Path) -> std::io::Result<Option<Box<dyn Disk>>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Some(Box::new(OsDisk::open(path.to_owned())?))),
        Ok(_) => Err(ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The nodes that have a volume.
fn nodes(settings: &Settings) -> impl Iterator<Item = (Role, String)> {
    let of = |role, count| names(role, count).into_iter().map(move |name| (role, name));
    of(Role::Frontend, settings.frontends).chain(of(Role::Data, settings.data_nodes))
}

fn in_use(path: &Path) -> UpError {
    refused(format!(
        "{} is in use by another process; stop that one first, or name another directory",
        path.display()
    ))
}

fn refused(why: String) -> UpError {
    UpError::Refused(why)
}
