//! What lies in the directory of `lamina up`.
//!
//! ```text
//! DIR/bootstrap.json    the bootstrap record: written once, before the store begins
//! DIR/endpoints.json    where everything answers, written at each start
//! DIR/frontend-0/ …     one volume for each frontend
//! DIR/data-0/ …         one volume for each data node
//! DIR/LOCK              held as long as a store runs here
//! DIR/replaced/ …       volumes of nodes whose log was damaged, set aside
//! ```

use std::io;
use std::path::{Path, PathBuf};

use lamina_env::Disk;
use lamina_env::disk::OpenMode;
use lamina_env::disk::os::OsDisk;
use lamina_peers::admin::Bootstrap;
use lamina_types::Role;
use serde::{Deserialize, Serialize};

const RECORD: &str = "bootstrap.json";
const ENDPOINTS: &str = "endpoints.json";
/// A record with the most members that a store can begin with is far smaller.
const BYTES_MAX: usize = 1 << 20;

/// The directory of a store.
pub struct Directory {
    path: PathBuf,
    disk: OsDisk,
}

/// Where everything answers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// For clients.
    pub clients: Vec<String>,
    /// For browsers and Prometheus.
    pub status: Vec<String>,
    /// Every node by its name, where it answers other nodes; empty if they share one process.
    pub nodes: Vec<(String, String)>,
}

impl Directory {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// It is no directory, or the operating system refuses.
    pub fn open(path: &Path) -> io::Result<Directory> {
        Ok(Directory { path: path.to_owned(), disk: OsDisk::open(path.to_owned())? })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bootstrap record.
    ///
    /// # Errors
    /// It is damaged, or the operating system refuses.
    pub async fn record(&self) -> io::Result<Option<Bootstrap>> {
        let file = match self.disk.open(RECORD, OpenMode::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let bytes = file.read_at(0, BYTES_MAX).await?;
        let record = serde_json::from_slice(&bytes).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{RECORD} is damaged ({error}); put it back, or name another directory"),
            )
        })?;
        Ok(Some(record))
    }

    /// Writes the bootstrap record, durably. There must be none.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn write_record(&self, record: &Bootstrap) -> io::Result<()> {
        self.write(RECORD, serde_json::to_vec_pretty(record)?).await
    }

    /// Writes where everything answers.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn write_endpoints(&self, endpoints: &Endpoints) -> io::Result<()> {
        self.write(ENDPOINTS, serde_json::to_vec_pretty(endpoints)?).await
    }

    /// Where everything answered at the last start.
    pub async fn endpoints(&self) -> Option<Endpoints> {
        let file = self.disk.open(ENDPOINTS, OpenMode::Read).await.ok()?;
        serde_json::from_slice(&file.read_at(0, BYTES_MAX).await.ok()?).ok()
    }

    /// Sets the volume of a node aside, so that the node begins with an empty one. Returns where it is now.
    ///
    /// # Errors
    /// The operating system refuses.
    #[expect(
        clippy::disallowed_methods,
        reason = "a whole volume is renamed, which no volume can do to itself"
    )]
    pub fn set_aside(&self, node: &str, now_ms: u64) -> io::Result<PathBuf> {
        let aside = self.path.join("replaced");
        std::fs::create_dir_all(&aside)?;
        let to = aside.join(format!("{node}-{now_ms}"));
        std::fs::rename(self.path.join(node), &to)?;
        Ok(to)
    }

    async fn write(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let temporary = format!("{name}.tmp");
        match self.disk.remove(&temporary).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.open(&temporary, OpenMode::Create).await?;
        file.write_and_sync(0, vec![bytes.into()]).await?;
        self.disk.rename(&temporary, name).await?;
        self.disk.sync_dir("").await
    }
}

/// The names of the nodes of a role.
pub fn names(role: Role, count: u32) -> Vec<String> {
    (0..count).map(|ordinal| format!("{role}-{ordinal}")).collect()
}
