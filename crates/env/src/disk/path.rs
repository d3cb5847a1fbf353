//! Paths inside a volume.

use std::io;

/// Refuses paths that leave the volume or that have two spellings. `""` stands for the volume itself.
pub(super) fn check(path: &str) -> io::Result<()> {
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if path.is_empty() || path.split('/').all(good) {
        return Ok(());
    }
    let told =
        format!("'{path}' is not a path inside a volume: parts joined by '/', none of them '.' or '..'");
    Err(io::Error::new(io::ErrorKind::InvalidInput, told))
}

/// As [`check`], and the path must name something inside the volume.
pub(super) fn check_name(path: &str) -> io::Result<()> {
    check(path)?;
    if path.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the empty path names the volume itself"));
    }
    Ok(())
}

/// The directory that a name is in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether `path` lies below `directory`.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    if directory.is_empty() {
        return !path.is_empty();
    }
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}
