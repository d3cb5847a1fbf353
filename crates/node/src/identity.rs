//! The identity file of a volume (protocols §10.3).
//!
//! `identity` holds the node's id, its role, its store and its incarnation, with a checksum over all of it. It is
//! replaced whole: temporary file, sync, rename, sync of the directory. The lock on `LOCK` is held as long as the
//! volume is in use. Nothing is written into a directory that is refused. Bytes: `docs/formats/identity.md`.

use bytes::Bytes;
use lamina_env::disk::{EntryKind, Lock, OpenMode};
use lamina_env::{Env, random};
use lamina_types::wire::{Reader, WireError};
use lamina_types::{ClusterId, Incarnation, Level, NodeId, Role};

const FILE: &str = "identity";
const TEMPORARY: &str = "identity.tmp";
const LOCK: &str = "LOCK";
const MAGIC: &[u8; 8] = b"LAMINAID";
const LENGTH: usize = 8 + 2 + 1 + 16 + 1 + 16 + 8 + 4;

/// Who a volume belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// What it runs.
    pub role: Role,
    /// Its store; `None`: none yet.
    pub cluster: Option<ClusterId>,
    /// The last start.
    pub incarnation: Incarnation,
}

/// Why a node cannot start on a volume. Every message is one clear line; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The volume belongs to somebody else, or to a later format, or is damaged, or is in use.
    #[error("{0}")]
    Refused(String),
    /// The operating system refuses.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the operating system says.
        error: std::io::Error,
    },
}

/// A volume in use: its identity and its lock.
pub struct Volume {
    env: Env,
    identity: Identity,
    _lock: Box<dyn Lock>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.identity.fmt(f)
    }
}

/// Opens the volume for a node of this role: locks it, makes an identity if it is empty, raises the incarnation and
/// makes that durable.
///
/// # Errors
/// [`StartError`]; then nothing was written (but an empty volume may have got an empty `LOCK`).
pub async fn open(env: &Env, role: Role) -> Result<Volume, StartError> {
    // Before the lock is made: a directory that is refused stays as it is.
    read(env, role).await?;
    let lock = env.disk.lock(LOCK).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StartError::Refused(
            "the directory is in use by another process; stop that one first, or name another directory"
                .into(),
        ),
        _ => failed("locking the directory", error),
    })?;
    // Again under the lock: who held it until now may have written, the first identity even.
    let present = read(env, role).await?;
    let before = present.unwrap_or_else(|| Identity {
        node: new_node_id(env.clock.now_ms()),
        role,
        cluster: None,
        incarnation: Incarnation::ZERO,
    });
    let identity = Identity { incarnation: before.incarnation.next(), ..before };
    let mut volume = Volume { env: env.clone(), identity, _lock: lock };
    volume.write(identity).await?;
    Ok(volume)
}

impl Volume {
    /// Who the volume belongs to.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Makes the volume part of a store, durably. The same store again: nothing to do.
    ///
    /// # Errors
    /// It is part of another store already, or the disk refuses.
    pub async fn join(&mut self, cluster: ClusterId) -> Result<(), StartError> {
        match self.identity.cluster {
            Some(present) if present == cluster => Ok(()),
            Some(present) => Err(StartError::Refused(format!(
                "the directory belongs to store {present}, not to store {cluster}; name the directory of this store"
            ))),
            None => self.write(Identity { cluster: Some(cluster), ..self.identity }).await,
        }
    }

    async fn write(&mut self, identity: Identity) -> Result<(), StartError> {
        let disk = &self.env.disk;
        let doing = "writing the identity file";
        match disk.remove(TEMPORARY).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(doing, error)),
            _ => {}
        }
        let file = disk.open(TEMPORARY, OpenMode::Create).await.map_err(|error| failed(doing, error))?;
        file.write_and_sync(0, vec![encode(&identity)]).await.map_err(|error| failed(doing, error))?;
        disk.rename(TEMPORARY, FILE).await.map_err(|error| failed(doing, error))?;
        disk.sync_dir("").await.map_err(|error| failed(doing, error))?;
        self.identity = identity;
        Ok(())
    }
}

/// The identity of a volume, without touching it. `None`: the directory is empty.
///
/// # Errors
/// [`StartError`], as [`open`].
pub async fn read(env: &Env, role: Role) -> Result<Option<Identity>, StartError> {
    let names = env.disk.list("").await.map_err(|error| failed("reading the directory", error))?;
    if !names.iter().any(|entry| entry.name == FILE && entry.kind == EntryKind::File) {
        let foreign =
            names.iter().find(|entry| ![LOCK, TEMPORARY, "lost+found"].contains(&entry.name.as_str()));
        return match foreign {
            None => Ok(None),
            Some(entry) => Err(StartError::Refused(format!(
                "the directory holds {:?} but no identity file, so it is not a Lamina directory; \
                 name an empty directory",
                entry.name
            ))),
        };
    }
    let doing = "reading the identity file";
    let file = env.disk.open(FILE, OpenMode::Read).await.map_err(|error| failed(doing, error))?;
    let bytes = file.read_at(0, LENGTH + 1).await.map_err(|error| failed(doing, error))?;
    let identity = decode(bytes)?;
    if identity.role != role {
        return Err(StartError::Refused(format!(
            "the directory belongs to {} node {}, and this is a {role} node; name the right directory",
            identity.role, identity.node
        )));
    }
    Ok(Some(identity))
}

/// A new id: a ULID of this millisecond.
pub fn new_node_id(now_ms: u64) -> NodeId {
    NodeId((u128::from(now_ms) << 80) | (random::u128() >> 48))
}

/// The id of an index node, which has no volume: derived from its store and its name, so that a restart is a
/// reload and not a rebalance.
pub fn derived_node_id(cluster: ClusterId, name: &str) -> NodeId {
    let mut input = cluster.0.to_be_bytes().to_vec();
    input.extend_from_slice(name.as_bytes());
    NodeId(xxhash_rust::xxh3::xxh3_128(&input))
}

fn encode(identity: &Identity) -> Bytes {
    let mut out = Vec::with_capacity(LENGTH);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&Level::FIRST.0.to_le_bytes());
    out.push(role_byte(identity.role));
    out.extend_from_slice(&identity.node.0.to_le_bytes());
    out.push(u8::from(identity.cluster.is_some()));
    out.extend_from_slice(&identity.cluster.map_or(0, |cluster| cluster.0).to_le_bytes());
    out.extend_from_slice(&identity.incarnation.0.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Bytes::from(out)
}

fn decode(bytes: Bytes) -> Result<Identity, StartError> {
    let damaged = |_: WireError| damaged();
    let mut reader = Reader::new(bytes.clone());
    if reader.take(MAGIC.len()).map_err(damaged)?.as_ref() != MAGIC {
        return Err(self::damaged());
    }
    let level = reader.u16().map_err(damaged)?;
    if level > Level::HIGHEST.0 {
        return Err(StartError::Refused(format!(
            "the directory has format level {level}, and this program knows levels up to {}; \
             start a newer version of Lamina",
            Level::HIGHEST.0
        )));
    }
    let role = role_of(reader.u8().map_err(damaged)?)?;
    let node = NodeId(reader.u128().map_err(damaged)?);
    let has_cluster = reader.u8().map_err(damaged)?;
    let cluster = ClusterId(reader.u128().map_err(damaged)?);
    let incarnation = Incarnation(reader.u64().map_err(damaged)?);
    let crc = reader.u32().map_err(damaged)?;
    reader.end().map_err(damaged)?;
    let covered = bytes.get(..LENGTH - 4).ok_or_else(self::damaged)?;
    if crc32fast::hash(covered) != crc || has_cluster > 1 {
        return Err(self::damaged());
    }
    Ok(Identity { node, role, cluster: (has_cluster == 1).then_some(cluster), incarnation })
}

fn role_byte(role: Role) -> u8 {
    match role {
        Role::Frontend => 1,
        Role::Index => 2,
        Role::Data => 3,
    }
}

fn role_of(byte: u8) -> Result<Role, StartError> {
    match byte {
        1 => Ok(Role::Frontend),
        2 => Ok(Role::Index),
        3 => Ok(Role::Data),
        _ => Err(damaged()),
    }
}

fn damaged() -> StartError {
    StartError::Refused(
        "the identity file is damaged, so the node cannot know who it is; \
         replace the node: its copies are made anew from the others"
            .into(),
    )
}

fn failed(doing: &str, error: std::io::Error) -> StartError {
    StartError::Io { doing: doing.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            node: NodeId(7 << 80),
            role: Role::Data,
            cluster: Some(ClusterId(9)),
            incarnation: Incarnation(3),
        }
    }

    #[test]
    fn an_identity_reads_back_and_every_flipped_bit_is_noticed() {
        let good = encode(&identity());
        assert_eq!(decode(good.clone()).unwrap(), identity());
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(Bytes::from(bad)).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(decode(good.slice(..length)).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut newer = encode(&identity()).to_vec();
        newer[8] = 9;
        let StartError::Refused(why) = decode(Bytes::from(newer)).unwrap_err() else { panic!("refused") };
        assert!(why.contains("newer version"), "{why}");
    }

    #[test]
    fn an_index_node_is_the_same_after_each_restart_and_another_in_another_store() {
        let here = derived_node_id(ClusterId(1), "index-0");
        assert_eq!(here, derived_node_id(ClusterId(1), "index-0"));
        assert_ne!(here, derived_node_id(ClusterId(1), "index-1"));
        assert_ne!(here, derived_node_id(ClusterId(2), "index-0"));
    }
}
