//! The log of a process: opened once, shared by all replicas that it hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use lamina_engine::wal::Record;
use lamina_env::{Env, task, watch};
use lamina_types::{GroupId, ReplicaId};
use openraft::Raft;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use crate::wal::{LogStats, Spread};

use crate::checkpoint::{Shelf, is_of_another_format};
use crate::error::{LogFailure, OpenError};
use crate::machine::StateMachine;
use crate::options::LogOptions;
use crate::raft::applier::{Applier, Shared};
use crate::raft::config::config;
use crate::raft::log::GroupLog;
use crate::raft::network::Network;
use crate::raft::peers::Peers;
use crate::replica::{Parts, Replica};
use crate::wal::recover::{Recovered, recover};
use crate::wal::{LogTable, Owner, Wal};
use crate::wire::RaftWire;

/// The log of a process: the shared write-ahead log, and a directory for each replica. Cheap to clone.
#[derive(Clone)]
pub struct LogStore(Arc<Inner>);

struct Inner {
    env: Env,
    dir: String,
    options: LogOptions,
    wal: Wal,
    tables: Mutex<BTreeMap<Owner, Arc<LogTable>>>,
    deleted: Mutex<BTreeSet<Owner>>,
    open: Mutex<BTreeMap<Owner, Option<Arc<dyn Stop>>>>,
}

/// A replica that can be stopped, whatever its machine is.
#[async_trait]
trait Stop: Send + Sync {
    async fn stop(&self);
}

#[async_trait]
impl<M: StateMachine> Stop for Replica<M> {
    async fn stop(&self) {
        Replica::stop(self).await;
    }
}

impl LogStore {
    /// Opens the log in `dir`, a directory of the node's volume, and begins a new segment in it. The writer belongs
    /// to the caller's task group.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`]: the node must be replaced. Others: the disk refuses.
    pub fn open(env: Env, dir: &str, options: LogOptions) -> BoxFuture<'static, Result<LogStore, OpenError>> {
        // Boxed, so that it is compiled here, and not again wherever it is awaited.
        Box::pin(Self::recover(env, dir.to_owned(), options))
    }

    async fn recover(env: Env, dir: String, options: LogOptions) -> Result<LogStore, OpenError> {
        let Recovered { wal, writer, ledger, tables } =
            recover(env.disk.clone(), &format!("{dir}/wal"), &options).await?;
        let deleted =
            ledger.accounts().filter(|(_, account)| account.deleted).map(|(owner, _)| owner).collect();
        let store = LogStore(Arc::new(Inner {
            env,
            dir,
            options,
            wal,
            tables: Mutex::new(tables),
            deleted: Mutex::new(deleted),
            open: Mutex::default(),
        }));
        // A deletion that a crash interrupted is brought to its end.
        let gone: Vec<Owner> = store.0.deleted.lock().iter().copied().collect();
        for owner in gone {
            store.0.env.disk.remove_dir_all(&store.replica_dir(owner)).await?;
        }
        task::spawn(writer.run());
        Ok(store)
    }

    /// The replicas that have a log here.
    pub fn replicas(&self) -> Vec<(GroupId, ReplicaId)> {
        self.0.tables.lock().keys().map(|owner| (owner.group, owner.replica)).collect()
    }

    /// Opens a replica, or makes it if it has nothing here. A `shut` one loads and replays, but neither votes,
    /// campaigns nor acknowledges until [`Replica::admit`] (protocols §10.3).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_replica<M: StateMachine>(
        &self,
        group: GroupId,
        replica: ReplicaId,
        machine: M,
        wire: Arc<dyn RaftWire>,
        shut: bool,
    ) -> Result<Replica<M>, OpenError> {
        let owner = Owner { group, replica };
        if self.0.deleted.lock().contains(&owner) || self.0.open.lock().insert(owner, None).is_some() {
            return Err(OpenError::IdUsed { group, replica });
        }
        let opened = self.open_owned(owner, machine, wire, shut).await;
        let mut open = self.0.open.lock();
        match opened {
            Ok(replica) => {
                open.insert(owner, Some(Arc::new(replica.clone())));
                Ok(replica)
            }
            Err(error) => {
                open.remove(&owner);
                Err(error)
            }
        }
    }

    async fn open_owned<M: StateMachine>(
        &self,
        owner: Owner,
        machine: M,
        wire: Arc<dyn RaftWire>,
        shut: bool,
    ) -> Result<Replica<M>, OpenError> {
        let Owner { group, replica } = owner;
        let inner = &self.0;
        let known = inner.tables.lock().get(&owner).cloned();
        let is_new = known.is_none();
        let corrupt = |what: String| OpenError::ReplicaCorrupt { group, replica, what };
        let shelf = Shelf::open(inner.env.disk.clone(), self.replica_dir(owner), group).await;
        let shelf = shelf.map_err(|error| match error.kind() {
            _ if is_of_another_format(&error) => OpenError::Level { what: self.replica_dir(owner) },
            io::ErrorKind::InvalidData => corrupt(error.to_string()),
            _ => OpenError::Io(error),
        })?;
        if is_new && shelf.current().is_some() {
            return Err(corrupt(
                "there is a checkpoint, but the log knows nothing of the replica".to_owned(),
            ));
        }
        let table = match known {
            Some(table) => table,
            None => {
                let table = Arc::new(LogTable::default());
                inner.wal.submit_and_wait(table.clone(), vec![Record::Made(owner)]).await?;
                inner.tables.lock().insert(owner, table.clone());
                table
            }
        };
        let purged = table.lock().purged;
        if purged.is_some_and(|purged| shelf.at().is_none_or(|at| at.index < purged.index)) {
            return Err(corrupt(
                "its log was cut, and the checkpoint that holds what was cut is missing".to_owned(),
            ));
        }
        let options = inner.options.clone();
        let failed = |what: String| OpenError::Raft { group, replica, what };
        let config = config(&options, shut).map_err(failed)?;
        let peers = Peers::new(inner.env.clock.clone());
        let log = GroupLog::new(owner, table, inner.wal.clone(), options.append_bytes_max);
        let shared = Arc::new(Shared {
            log: log.clone(),
            shelf,
            applied: watch::channel(0).0,
            stopped: watch::channel(None).0,
            progress: Notify::new(),
            cache_bytes: options.cache_bytes,
        });
        let network = Network { group, me: replica, wire, peers: peers.clone(), options: options.clone() };
        let applier = Applier::new(machine, shared.clone());
        let raft = Raft::new(replica.0, config, network, log, applier).await;
        let raft = raft.map_err(|error| failed(error.to_string()))?;
        Ok(Replica::start(Parts { raft, shared, peers, options, shut }))
    }

    /// Stops a replica and deletes all it has here, after its group has let it go. Its id is never used again (Q1).
    ///
    /// # Errors
    /// What the disk or the log says; do it again.
    pub async fn delete_replica(&self, group: GroupId, replica: ReplicaId) -> io::Result<()> {
        let owner = Owner { group, replica };
        self.close_replica(group, replica).await;
        let table = self.0.tables.lock().get(&owner).cloned().unwrap_or_default();
        self.0.wal.submit_and_wait(table, vec![Record::Deleted(owner)]).await?;
        self.0.deleted.lock().insert(owner);
        self.0.tables.lock().remove(&owner);
        self.0.env.disk.remove_dir_all(&self.replica_dir(owner)).await
    }

    /// Stops a replica, which can be opened again.
    pub async fn close_replica(&self, group: GroupId, replica: ReplicaId) {
        let owner = Owner { group, replica };
        let open = self.0.open.lock().get(&owner).cloned().flatten();
        if let Some(open) = open {
            open.stop().await;
            self.0.open.lock().remove(&owner);
        }
    }

    /// Stops all replicas, and then the log: nothing is written any more.
    pub async fn close(&self) {
        let open: Vec<_> = std::mem::take(&mut *self.0.open.lock()).into_values().flatten().collect();
        for replica in open {
            replica.stop().await;
        }
        self.0.wal.close();
    }

    /// Set once, when the log cannot go on: the process must end, and starts again from what is on disk.
    pub fn failed(&self) -> watch::Receiver<Option<LogFailure>> {
        self.0.wal.shared().failed.subscribe()
    }

    /// Whether the disk has no room for the next segment: proposals are refused until it has.
    pub fn full(&self) -> watch::Receiver<bool> {
        self.0.wal.shared().full.subscribe()
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> LogStats {
        *self.0.wal.shared().stats.lock()
    }

    fn replica_dir(&self, owner: Owner) -> String {
        format!("{}/replicas/{}-{}", self.0.dir, owner.group, owner.replica)
    }
}
