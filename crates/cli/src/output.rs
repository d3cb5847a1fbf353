//! Standard output and standard error. A reader that goes away (`| head`) ends the program quietly.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

use crate::failure::Failure;

/// Writes one line.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("write the result", &error))
}

/// Writes bytes as they are; on a terminal a line break follows, so that the prompt stands on its own line.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end: &[u8] = if out.is_terminal() { b"\n" } else { b"" };
    out.write_all(bytes)
        .and_then(|()| out.write_all(end))
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("write the result", &error))
}

/// Says on standard error what went wrong.
pub fn complain(text: &str) {
    say(&format!("lamina: {text}"));
}

/// Says something on standard error.
pub fn say(text: &str) {
    // There is nobody left to tell if standard error is closed.
    writeln!(io::stderr(), "{text}").ok();
}

/// Whether somebody looks at standard error.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Standard output for many lines.
pub fn rows() -> BufWriter<io::Stdout> {
    BufWriter::with_capacity(256 << 10, io::stdout())
}

/// A file of the user's, or standard input if it is `-`; with its size if that is known.
#[expect(clippy::disallowed_methods, reason = "a file that the user names, not a volume of the store")]
pub fn input(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let doing = format!("open {}", path.display());
    let file = File::open(path).map_err(|error| Failure::io(&doing, &error))?;
    let known = file.metadata().map_err(|error| Failure::io(&doing, &error))?;
    if known.is_dir() {
        return Err(Failure::Local(format!(
            "cannot read {}: it is a directory; name a file",
            path.display()
        )));
    }
    let size = known.is_file().then_some(known.len());
    Ok((Box::new(BufReader::with_capacity(256 << 10, file)), size))
}

/// A new file of the user's.
#[expect(clippy::disallowed_methods, reason = "a file that the user names, not a volume of the store")]
pub fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file =
        File::create(path).map_err(|error| Failure::io(&format!("make {}", path.display()), &error))?;
    Ok(BufWriter::with_capacity(256 << 10, file))
}

/// Gives a file its final name.
#[expect(clippy::disallowed_methods, reason = "a file that the user names, not a volume of the store")]
pub fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::rename(from, to).map_err(|error| Failure::io(&format!("name {}", to.display()), &error))
}
