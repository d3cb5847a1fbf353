//! The checkpoints of one replica on its volume. One is current; older ones are removed when a newer one is durable.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::wal::LogPoint;
use lamina_env::disk::OpenMode;
use lamina_env::{Disk, File, task};
use lamina_types::GroupId;
use parking_lot::Mutex;

use super::format::{CheckpointError, FRAME_HEADER_BYTES, Frame, Head, body_bytes, decode};
use crate::directory::make_durable;
use crate::machine::Frozen;

const SUFFIX: &str = ".checkpoint";
const TEMPORARY: &str = ".tmp";

/// Bytes that are written, or read, in one step.
const STEP_BYTES: usize = 1 << 20;

/// A checkpoint that is durable. Its file stays readable as long as this lives, even if a newer one replaced it.
pub struct Checkpoint {
    /// What it says about itself.
    pub head: Head,
    /// The bytes of the file.
    pub length: u64,
    file: Arc<dyn File>,
    path: String,
}

/// The checkpoints of one replica.
pub struct Shelf {
    disk: Arc<dyn Disk>,
    dir: String,
    group: GroupId,
    current: Mutex<Option<Arc<Checkpoint>>>,
    /// Held while a file gets its name: our own checkpoint and a snapshot may come at once, and the newer one stays.
    placing: tokio::sync::Mutex<()>,
}

impl Checkpoint {
    /// Bytes of the file, from `offset` on.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.file.read_at(offset, length).await
    }

    /// All pieces of the state, each checked.
    ///
    /// # Errors
    /// The disk refuses, or (`InvalidData`) the bytes are damaged.
    pub async fn pieces(&self) -> io::Result<Vec<Bytes>> {
        read_pieces(self.file.as_ref(), self.length).await.map(|(_, pieces)| pieces)
    }

    fn index(&self) -> Option<u64> {
        self.head.at.map(|at| at.index)
    }
}

impl Shelf {
    /// Opens the directory of a replica; temporary files of an earlier start go.
    ///
    /// # Errors
    /// The disk refuses; `InvalidData`: the newest checkpoint is damaged.
    pub async fn open(disk: Arc<dyn Disk>, dir: String, group: GroupId) -> io::Result<Shelf> {
        make_durable(disk.as_ref(), &dir).await?;
        let mut newest: Option<String> = None;
        let mut others = Vec::new();
        for entry in disk.list(&dir).await? {
            if entry.name.ends_with(TEMPORARY) {
                others.push(entry.name);
            } else if entry.name.ends_with(SUFFIX) {
                // Names are fixed in width, so that they sort by index.
                others.extend(newest.replace(entry.name));
            }
        }
        let current = match newest {
            Some(name) => {
                let path = format!("{dir}/{name}");
                let file = disk.open(&path, OpenMode::Read).await?;
                Some(Arc::new(check(file, path, group).await?))
            }
            None => None,
        };
        for name in others {
            disk.remove(&format!("{dir}/{name}")).await?;
        }
        Ok(Shelf { disk, dir, group, current: Mutex::new(current), placing: tokio::sync::Mutex::new(()) })
    }

    /// The newest durable checkpoint.
    pub fn current(&self) -> Option<Arc<Checkpoint>> {
        self.current.lock().clone()
    }

    /// Writes a picture of the state under a temporary name and syncs it; [`Shelf::check`] and [`Shelf::place`] make it current.
    ///
    /// # Errors
    /// What the disk says, `StorageFull` included. No file is left behind.
    pub async fn write(&self, head: Head, frozen: Box<dyn Frozen>) -> io::Result<Draft> {
        let draft = self.draft(&format!("own-{:020}", head.at.map_or(0, |at| at.index))).await?;
        let result = write_frames(draft.file.as_ref(), head, frozen).await;
        match result {
            Ok(()) => Ok(draft),
            Err(error) => {
                self.discard(draft).await;
                Err(error)
            }
        }
    }

    /// A new temporary file, for bytes that come from elsewhere.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn draft(&self, name: &str) -> io::Result<Draft> {
        let path = format!("{}/{name}{TEMPORARY}", self.dir);
        match self.disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Draft { file: self.disk.open(&path, OpenMode::Create).await?, path })
    }

    /// Removes a temporary file.
    pub async fn discard(&self, draft: Draft) {
        if let Err(error) = self.disk.remove(&draft.path).await {
            tracing::warn!(%error, path = draft.path, "a temporary file cannot be removed");
        }
    }

    /// Syncs a temporary file and looks at all of it.
    ///
    /// # Errors
    /// The disk refuses, or (`InvalidData`) the bytes are no checkpoint of this group. The file is gone then.
    pub async fn check(&self, draft: Draft) -> io::Result<Checked> {
        let checked = async {
            draft.file.sync().await?;
            check(draft.file.clone(), draft.path.clone(), self.group).await
        };
        match checked.await {
            Ok(checkpoint) => Ok(Checked(checkpoint)),
            Err(error) => {
                self.discard(draft).await;
                Err(error)
            }
        }
    }

    /// Gives a checked file its name for good. If a newer checkpoint is current by then, that one stays
    /// (openraft.md trap 2.17), and is the answer.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn place(&self, checked: Checked) -> io::Result<Arc<Checkpoint>> {
        let _one_at_a_time = self.placing.lock().await;
        let Checked(mut checkpoint) = checked;
        if let Some(newer) = self.current().filter(|current| current.index() >= checkpoint.index()) {
            self.discard(Draft { file: checkpoint.file, path: checkpoint.path }).await;
            return Ok(newer);
        }
        let at = checkpoint.head.at.unwrap_or_default();
        let path = format!("{}/{:020}-{:020}{SUFFIX}", self.dir, at.index, at.term);
        self.disk.rename(&checkpoint.path, &path).await?;
        self.disk.sync_dir(&self.dir).await?;
        checkpoint.path = path;
        let checkpoint = Arc::new(checkpoint);
        let older = self.current.lock().replace(checkpoint.clone());
        if let Some(older) = older
            && let Err(error) = self.disk.remove(&older.path).await
        {
            tracing::warn!(%error, path = older.path, "an old checkpoint cannot be removed");
        }
        Ok(checkpoint)
    }

    /// Where the current checkpoint is in the log.
    pub fn at(&self) -> Option<LogPoint> {
        self.current.lock().as_ref().and_then(|current| current.head.at)
    }
}

/// A file under a temporary name that is a whole checkpoint, and synced.
pub struct Checked(Checkpoint);

impl Checked {
    /// What it says about itself.
    pub fn head(&self) -> &Head {
        &self.0.head
    }
}

/// A file under a temporary name.
pub struct Draft {
    /// The file.
    pub file: Arc<dyn File>,
    path: String,
}

async fn check(file: Arc<dyn File>, path: String, group: GroupId) -> io::Result<Checkpoint> {
    let length = file.len().await?;
    let (head, _) = read_pieces(file.as_ref(), length).await?;
    if head.group != group {
        let text = format!("the checkpoint is one of group {}, not of group {group}", head.group);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Checkpoint { head, length, file, path })
}

/// Reads a whole checkpoint and checks every frame of it; whose state it is. For programs that look at a volume which
/// nobody uses.
///
/// # Errors
/// The disk refuses, or (`InvalidData`) the bytes are damaged or of another format.
pub async fn verify(file: &dyn File) -> io::Result<GroupId> {
    let length = file.len().await?;
    read_pieces(file, length).await.map(|(head, _)| head.group)
}

async fn write_frames(file: &dyn File, head: Head, frozen: Box<dyn Frozen>) -> io::Result<()> {
    let mut pieces = frozen.chunks();
    let mut step = vec![Frame::Head(head).encode(0)];
    let (mut offset, mut number, mut more) = (0, 1, true);
    while more {
        // The machine turns its state into bytes here: not where it would hold up other tasks.
        let made = task::compute(move || {
            let (mut made, mut bytes) = (Vec::new(), 0);
            while bytes < STEP_BYTES {
                let Some(piece) = pieces.next() else { return (made, pieces, false) };
                bytes += piece.len();
                made.push(piece);
            }
            (made, pieces, true)
        });
        let made = made.await.map_err(io::Error::other)?;
        pieces = made.1;
        more = made.2;
        for piece in made.0 {
            step.push(Frame::Piece(piece).encode(number));
            number += 1;
        }
        if !more {
            step.push(Frame::End { pieces: number - 1 }.encode(number));
        }
        let bytes: usize = step.iter().map(Bytes::len).sum();
        file.write_at(offset, std::mem::take(&mut step)).await?;
        offset += bytes as u64;
    }
    file.sync().await
}

async fn read_pieces(file: &dyn File, length: u64) -> io::Result<(Head, Vec<Bytes>)> {
    let damaged = |error: CheckpointError| io::Error::new(io::ErrorKind::InvalidData, error);
    let (mut head, mut pieces) = (None, Vec::new());
    let (mut offset, mut number) = (0u64, 0u64);
    let mut window = Bytes::new();
    loop {
        window = fill(file, window, offset, FRAME_HEADER_BYTES).await?;
        let body = window.get(..FRAME_HEADER_BYTES).ok_or(CheckpointError::Truncated);
        let body = body.and_then(|header| body_bytes(header, number)).map_err(damaged)?;
        window = fill(file, window, offset, FRAME_HEADER_BYTES + body).await?;
        if window.len() < FRAME_HEADER_BYTES + body {
            return Err(damaged(CheckpointError::Truncated));
        }
        let header = window.split_to(FRAME_HEADER_BYTES);
        let frame = decode(&header, window.split_to(body), number).map_err(damaged)?;
        offset += (FRAME_HEADER_BYTES + body) as u64;
        number += 1;
        match frame {
            Frame::Head(found) => head = Some(found),
            Frame::Piece(piece) => pieces.push(piece),
            Frame::End { .. } => break,
        }
    }
    match head {
        Some(head) if offset == length => Ok((head, pieces)),
        _ => Err(damaged(CheckpointError::Damaged(number))),
    }
}

/// Makes sure that `window`, which begins at `offset` of the file, has `wanted` bytes, if the file does.
async fn fill(file: &dyn File, window: Bytes, offset: u64, wanted: usize) -> io::Result<Bytes> {
    if window.len() >= wanted { Ok(window) } else { file.read_at(offset, wanted.max(STEP_BYTES)).await }
}
