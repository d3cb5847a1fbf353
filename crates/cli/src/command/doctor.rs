//! `doctor`: every checksum in a directory, offline. Writes nothing (an existing `LOCK` is taken for the time).
//!
//! Of each volume: the identity file; of data nodes every table: name, footer, index part, each data block, the
//! data section as a whole; of frontends the log: that its segments join without a hole and nothing that was synced
//! is damaged; and every frame of every checkpoint, and that each is the one of its replica's group.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::wal::{self, SegmentScan};
use lamina_engine::{Block, FOOTER_BYTES, Footer};
use lamina_env::clock::OsClock;
use lamina_env::disk::os::OsDisk;
use lamina_env::disk::{Disk, EntryKind, File, OpenMode};
use lamina_env::{Env, task};
use lamina_node::identity;
use lamina_types::{CopyStamp, Role, TableId};
use serde::Serialize;

use super::progress::Progress;
use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::farewell::Farewell;
use crate::figures::{bytes, count, duration, plural};
use crate::output;

const IDENTITY: &str = "identity";
const LOCK: &str = "LOCK";
const TABLES: &str = "tables";
const LOG: &str = "log/wal";
const REPLICAS: &str = "log/replicas";
/// Data blocks are read in stretches of about so many bytes.
const STRETCH_BYTES: u64 = 4 << 20;

/// What was found.
#[derive(Default, Serialize)]
struct Findings {
    volumes: u64,
    tables: u64,
    blocks: u64,
    segments: u64,
    checkpoints: u64,
    bytes: u64,
    /// One sentence for each damage, with the file.
    damage: Vec<String>,
    /// What is strange, but no damage.
    notes: Vec<String>,
}

pub async fn doctor(args: DoctorArgs, farewell: &Farewell) -> Result<(), Failure> {
    farewell.set(|| "interrupted; nothing was changed, and not everything was looked at".to_owned());
    let mut findings = Findings::default();
    let mut progress = Progress::new("doctor", false);
    for volume in volumes(&args.dir)? {
        Volume::open(volume)?.check(&mut findings, &mut progress).await;
    }
    let elapsed = progress.elapsed();
    progress.clear();
    if args.json {
        output::line(&serde_json::to_string(&findings).map_err(|error| Failure::Local(error.to_string()))?)?;
    } else {
        let mut lines = findings.damage.iter().map(|line| format!("DAMAGED  {line}")).collect::<Vec<_>>();
        lines.extend(findings.notes.iter().map(|line| format!("note     {line}")));
        lines.push(format!(
            "{} volumes · {} tables · {} blocks · {} log segments · {} checkpoints · {} read in {} · {}",
            findings.volumes,
            count(findings.tables),
            count(findings.blocks),
            count(findings.segments),
            count(findings.checkpoints),
            bytes(findings.bytes),
            duration(elapsed),
            if findings.damage.is_empty() { "no damage" } else { "DAMAGE FOUND" }
        ));
        output::line(&lines.join("\n"))?;
    }
    match findings.damage.len() {
        0 => Ok(()),
        n => Err(Failure::Damage(format!(
            "{} damaged; start the store: what has other copies is repaired from them",
            plural(n as u64, "file is", "files are")
        ))),
    }
}

/// The volumes below a directory: itself, or those in it.
fn volumes(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    if dir.join(IDENTITY).is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let entries = std::fs::read_dir(dir)
        .map_err(|error| Failure::io(&format!("read the directory {}", dir.display()), &error))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join(IDENTITY).is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "{} is no directory of Lamina: neither it nor any directory in it has an identity file",
            dir.display()
        )));
    }
    Ok(found)
}

struct Volume {
    path: PathBuf,
    env: Env,
}

impl Volume {
    fn open(path: PathBuf) -> Result<Volume, Failure> {
        let disk = OsDisk::open(path.clone())
            .map_err(|error| Failure::io(&format!("open {}", path.display()), &error))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        Ok(Volume { path, env: Env { clock: Arc::new(OsClock), disk } })
    }

    fn name(&self, file: &str) -> String {
        self.path.join(file).display().to_string()
    }

    async fn check(&self, findings: &mut Findings, progress: &mut Progress) {
        findings.volumes += 1;
        // As long as it is held no node can start here.
        let locked = if self.path.join(LOCK).is_file() { self.env.disk.lock(LOCK).await.ok() } else { None };
        let has_log = self.path.join(LOG).is_dir();
        if locked.is_none() && has_log {
            findings.notes.push(format!(
                "{} is in use: its log and checkpoints are not looked at",
                self.path.display()
            ));
        }
        self.check_identity(findings).await;
        self.check_tables(findings, progress).await;
        if locked.is_some() && has_log {
            self.check_log(findings, progress).await;
            self.check_checkpoints(findings).await;
        }
    }

    /// The file says itself which role it is of; reading it with the wrong one is refused.
    async fn check_identity(&self, findings: &mut Findings) {
        let mut why = None;
        for role in Role::ALL {
            match identity::read(&self.env, role).await {
                Ok(_) => return,
                Err(error) => why = why.or(Some(error.to_string())),
            }
        }
        findings.damage.push(format!("{}: {}", self.name(IDENTITY), why.unwrap_or_default()));
    }

    async fn check_tables(&self, findings: &mut Findings, progress: &mut Progress) {
        let Ok(groups) = self.env.disk.list(TABLES).await else { return };
        for group in groups.into_iter().filter(|group| group.kind == EntryKind::Directory) {
            let dir = format!("{TABLES}/{}", group.name);
            let files = match self.env.disk.list(&dir).await {
                Ok(files) => files,
                Err(error) => {
                    findings.damage.push(format!("{}: {error}", self.name(&dir)));
                    continue;
                }
            };
            for file in files {
                let path = format!("{dir}/{}", file.name);
                let Some(table) = table_of(&file.name) else {
                    findings.notes.push(format!("{} is no table; it is left alone", self.name(&path)));
                    continue;
                };
                findings.tables += 1;
                if let Err(why) = self.check_table(&path, table, file.length, findings, progress).await {
                    findings.damage.push(format!("{}: {why}", self.name(&path)));
                }
            }
        }
    }

    async fn check_table(
        &self,
        path: &str,
        table: TableId,
        length: u64,
        findings: &mut Findings,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let told = |error: std::io::Error| error.to_string();
        let file = self.env.disk.open(path, OpenMode::Read).await.map_err(told)?;
        let at = length.checked_sub(FOOTER_BYTES as u64).ok_or("the file is shorter than a footer")?;
        let footer = read(file.as_ref(), at, FOOTER_BYTES as u64).await?;
        let footer = Footer::parse(&footer).map_err(|corruption| corruption.to_string())?;
        if footer.file_bytes != length {
            return Err(format!("the file has {length} bytes, and its footer says {}", footer.file_bytes));
        }
        let index = read(file.as_ref(), footer.index.offset, footer.index.length).await?;
        let part = footer.open_index(index).map_err(|corruption| corruption.to_string())?.renamed(table);
        let handles: Vec<_> = part.infos().map(|info| info.handle).collect();
        let (mut offset, mut crc) = (0u64, crc32fast::Hasher::new());
        let mut stretch = handles.as_slice();
        while let Some(first) = stretch.first() {
            let fits = stretch
                .iter()
                .take_while(|handle| handle.end() - first.offset <= STRETCH_BYTES)
                .count()
                .max(1);
            let (now, later) = stretch.split_at_checked(fits).unwrap_or((stretch, &[]));
            stretch = later;
            let end = now.last().map_or(first.end(), |last| last.end());
            if first.offset != offset {
                return Err(format!("there is a gap in front of the block at byte {}", first.offset));
            }
            let stored = read(file.as_ref(), first.offset, end - first.offset).await?;
            for handle in now {
                let start = (handle.offset - first.offset) as usize;
                let block = stored.get(start..start + handle.length as usize).unwrap_or_default();
                Block::verify(block, footer.origin, handle.block)
                    .map_err(|corruption| format!("at byte {}: {corruption}", handle.offset))?;
            }
            crc.update(&stored);
            offset = end;
            findings.blocks += now.len() as u64;
            findings.bytes += stored.len() as u64;
            progress.show(None, || format!("{} tables · {}", count(findings.tables), bytes(findings.bytes)));
        }
        if offset != footer.data.length {
            return Err(format!(
                "the blocks end at byte {offset}, and the data section at {}",
                footer.data.length
            ));
        }
        if crc.finalize() != footer.data.crc {
            return Err(
                "the checksum of the data section does not match, though that of each block does".to_owned()
            );
        }
        Ok(())
    }

    async fn check_log(&self, findings: &mut Findings, progress: &mut Progress) {
        let Ok(files) = self.env.disk.list(LOG).await else { return };
        let mut scans: Vec<SegmentScan> = Vec::new();
        for file in files {
            let digits = file.name.strip_suffix(".wal").filter(|digits| digits.len() == 16);
            let Some(id) = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else { continue };
            findings.segments += 1;
            let path = format!("{LOG}/{}", file.name);
            let scan = match self.read_segment(&path, file.length).await {
                Ok(stored) => {
                    findings.bytes += stored.len() as u64;
                    progress
                        .show(None, || format!("{} segments · {}", findings.segments, bytes(findings.bytes)));
                    task::compute(move || wal::scan(id, &stored)).await.map_err(|error| error.to_string())
                }
                Err(why) => Err(why),
            };
            match scan {
                Ok(Ok(scan)) => scans.push(scan),
                Ok(Err(corrupt)) => findings.damage.push(format!("{}: {corrupt}", self.name(&path))),
                Err(why) => findings.damage.push(format!("{}: {why}", self.name(&path))),
            }
        }
        scans.sort_by_key(|scan| scan.segment);
        if let Err(corrupt) = wal::join(&scans) {
            findings.damage.push(format!("{}: {corrupt}; the node must be replaced", self.name(LOG)));
        }
    }

    async fn check_checkpoints(&self, findings: &mut Findings) {
        let Ok(replicas) = self.env.disk.list(REPLICAS).await else { return };
        for replica in replicas.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let dir = format!("{REPLICAS}/{}", replica.name);
            let files = self.env.disk.list(&dir).await.unwrap_or_default();
            for file in files.into_iter().filter(|file| file.name.ends_with(".checkpoint")) {
                let path = format!("{dir}/{}", file.name);
                findings.checkpoints += 1;
                findings.bytes += file.length;
                if let Err(why) = self.check_checkpoint(&path, &replica.name).await {
                    findings.damage.push(format!("{}: {why}; the node must be replaced", self.name(&path)));
                }
            }
        }
    }

    /// The directory of a replica is named `<group>-<replica>`.
    async fn check_checkpoint(&self, path: &str, replica: &str) -> Result<(), String> {
        let told = |error: std::io::Error| error.to_string();
        let file = self.env.disk.open(path, OpenMode::Read).await.map_err(told)?;
        let group = lamina_local::verify_checkpoint(file.as_ref()).await.map_err(told)?;
        let named = replica.split_once('-').map(|(group, _)| group);
        if named != Some(group.to_string().as_str()) {
            return Err(format!("it is one of group {group}"));
        }
        Ok(())
    }

    async fn read_segment(&self, path: &str, length: u64) -> Result<Bytes, String> {
        let file = self.env.disk.open(path, OpenMode::Read).await.map_err(|error| error.to_string())?;
        read(file.as_ref(), 0, length).await
    }
}

async fn read(file: &dyn File, offset: u64, length: u64) -> Result<Bytes, String> {
    let wanted = usize::try_from(length).map_err(|_| "a length that cannot be".to_owned())?;
    let bytes = file.read_at(offset, wanted).await.map_err(|error| error.to_string())?;
    if bytes.len() < wanted {
        return Err(format!("the file ends in the {length} bytes from byte {offset} on"));
    }
    Ok(bytes)
}

/// The table of a file's name, `<table>@<stamp>`.
fn table_of(name: &str) -> Option<TableId> {
    let (table, stamp) = name.split_once('@')?;
    stamp.parse::<CopyStamp>().ok()?;
    table.parse().ok()
}
