//! Where the volumes of a store's nodes come from.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_env::Disk;
use lamina_env::disk::os::OsDisk;
use lamina_env::disk::unsynced::UnsyncedDisk;

/// Opens the volume that lies in a directory. Whatever stands between, the bytes lie in files below that directory:
/// a volume is set aside by renaming it.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// The volume in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// What the operating system says.
    async fn open(&self, path: PathBuf) -> io::Result<Arc<dyn Disk>>;
}

impl std::fmt::Debug for dyn Volumes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Volumes")
    }
}

/// Plain files: what every store runs on.
#[derive(Clone, Copy, Default, Debug)]
pub struct OsVolumes;

#[async_trait]
impl Volumes for OsVolumes {
    async fn open(&self, path: PathBuf) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(OsDisk::open(path)?))
    }
}

/// Files that get their bytes at syncs only ([`UnsyncedDisk`]): for tests that kill the process. All volumes are held
/// in memory.
#[derive(Clone, Copy, Default, Debug)]
pub struct UnsyncedVolumes;

#[async_trait]
impl Volumes for UnsyncedVolumes {
    async fn open(&self, path: PathBuf) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(UnsyncedDisk::open(path).await?))
    }
}
