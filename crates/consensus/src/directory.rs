//! Directories whose names survive a crash.

use std::io;

use lamina_env::Disk;

/// Makes a directory and those above it, all of them durable: a file that is synced in a directory whose own name is
/// lost in a crash is lost with it.
///
/// # Errors
/// What the disk says.
pub async fn make_durable(disk: &dyn Disk, path: &str) -> io::Result<()> {
    disk.create_dir_all(path).await?;
    let mut above = path;
    while !above.is_empty() {
        above = above.rsplit_once('/').map_or("", |(above, _)| above);
        disk.sync_dir(above).await?;
    }
    Ok(())
}
