//! The bootstrap record on this volume (protocols §10.1): written once, before the store begins, and never changed.
//!
//! It tells a first member where the others are until the meta group's own state does.

use bytes::Bytes;
use lamina_env::Env;
use lamina_env::disk::OpenMode;
use lamina_node::StartError;
use lamina_peers::admin::Bootstrap;
use parking_lot::Mutex;

const FILE: &str = "bootstrap";
const TEMPORARY: &str = "bootstrap.tmp";
/// A record with the most members that a store can begin with is far smaller.
const BYTES_MAX: usize = 1 << 16;

/// The bootstrap record of this volume.
pub struct Founding {
    env: Env,
    record: Mutex<Option<Bootstrap>>,
}

impl Founding {
    /// Reads what is on the volume.
    ///
    /// # Errors
    /// The record is damaged, or the disk refuses.
    pub async fn open(env: Env) -> Result<Founding, StartError> {
        let record = match env.disk.open(FILE, OpenMode::Read).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("reading the bootstrap record", error)),
            Ok(file) => {
                let bytes = file
                    .read_at(0, BYTES_MAX)
                    .await
                    .map_err(|error| failed("reading the bootstrap record", error))?;
                Some(decode(&bytes)?)
            }
        };
        Ok(Founding { env, record: Mutex::new(record) })
    }

    /// The record, if this node was given one.
    pub fn record(&self) -> Option<Bootstrap> {
        self.record.lock().clone()
    }

    /// Writes the record, durably, unless it stands already.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn write(&self, record: &Bootstrap) -> Result<(), StartError> {
        if self.record.lock().is_some() {
            return Ok(());
        }
        let doing = "writing the bootstrap record";
        let disk = &self.env.disk;
        match disk.remove(TEMPORARY).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(doing, error)),
            _ => {}
        }
        let file = disk.open(TEMPORARY, OpenMode::Create).await.map_err(|error| failed(doing, error))?;
        file.write_and_sync(0, vec![encode(record)]).await.map_err(|error| failed(doing, error))?;
        disk.rename(TEMPORARY, FILE).await.map_err(|error| failed(doing, error))?;
        disk.sync_dir("").await.map_err(|error| failed(doing, error))?;
        *self.record.lock() = Some(record.clone());
        Ok(())
    }
}

fn encode(record: &Bootstrap) -> Bytes {
    let mut bytes = postcard::to_stdvec(record).unwrap_or_default();
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Bytes::from(bytes)
}

fn decode(bytes: &[u8]) -> Result<Bootstrap, StartError> {
    let damaged = || {
        StartError::Refused(
            "the bootstrap record on this volume is damaged; replace the node, its copies are made anew"
                .into(),
        )
    };
    let (record, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(record) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    postcard::from_bytes(record).map_err(|_| damaged())
}

fn failed(doing: &str, error: std::io::Error) -> StartError {
    StartError::Io { doing: doing.to_owned(), error }
}
