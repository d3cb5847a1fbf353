//! Names and files of segments.

use std::io;
use std::sync::Arc;

use lamina_env::disk::OpenMode;
use lamina_env::{Disk, File, random};

const SUFFIX: &str = ".wal";

/// Low bits of a segment's id are random, so that nobody can put bytes into a value that look like a batch.
const RANDOM_BITS: u32 = 24;

/// A segment that is allocated, empty and durable.
pub struct Prepared {
    /// Its id.
    pub id: u64,
    /// Its file.
    pub file: Arc<dyn File>,
}

/// The name of a segment's file.
pub fn file_name(id: u64) -> String {
    format!("{id:016x}{SUFFIX}")
}

/// The segment of a file's name.
pub fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// An id above `last`.
pub fn id_after(last: u64) -> u64 {
    (((last >> RANDOM_BITS) + 1) << RANDOM_BITS) | (random::u64() & ((1 << RANDOM_BITS) - 1))
}

/// Makes a segment of `bytes`.
///
/// # Errors
/// What the disk says; `StorageFull` if there is no room. No file is left behind then.
pub async fn prepare(disk: &dyn Disk, dir: &str, id: u64, bytes: u64) -> io::Result<Prepared> {
    let path = format!("{dir}/{}", file_name(id));
    let file = disk.open(&path, OpenMode::Create).await?;
    let made = async {
        file.preallocate(bytes).await?;
        file.sync().await?;
        disk.sync_dir(dir).await
    };
    if let Err(error) = made.await {
        // Room that a half-made segment holds is room that nobody else gets.
        disk.remove(&path).await.ok();
        return Err(error);
    }
    Ok(Prepared { id, file })
}
