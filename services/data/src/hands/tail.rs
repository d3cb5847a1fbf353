//! Footer and index part, read from the tail of a file, and a small cache of them.

use std::io;
use std::sync::Arc;

use foldhash::quality::FixedState;
use lamina_engine::corruption::Corruption;
use lamina_engine::index_part::IndexPart;
use lamina_engine::table::{FOOTER_BYTES, Footer};
use lamina_env::disk::File;
use lamina_peers::data::Seal;
use lamina_types::TableId;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

/// What a file says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub footer: Footer,
    /// Its handles carry the name under which the file was opened.
    pub part: IndexPart,
}

/// Why a tail could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error("the tail cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the tail is damaged: {0}")]
    Damaged(#[from] Corruption),
}

impl Tail {
    /// Reads and checks the tail of a file of `file_bytes`, known as `table`.
    pub async fn read(file: &dyn File, file_bytes: u64, table: TableId) -> Result<Tail, TailError> {
        let footer = read_footer(file, file_bytes).await?;
        let length = usize::try_from(footer.index.length)
            .map_err(|_| Corruption::new("the index part is too long"))?;
        let bytes = file.read_at(footer.index.offset, length).await?;
        let part = footer.open_index(bytes)?.renamed(table);
        check_blocks(&footer, &part)?;
        Ok(Tail { footer, part })
    }

    /// What stands for the whole file.
    pub fn seal(&self) -> Seal {
        seal(&self.footer)
    }
}

/// What stands for a whole file.
pub(crate) fn seal(footer: &Footer) -> Seal {
    Seal { file_bytes: footer.file_bytes, footer_crc: footer.crc }
}

/// Reads and checks the footer of a file of `file_bytes`.
pub(crate) async fn read_footer(file: &dyn File, file_bytes: u64) -> Result<Footer, TailError> {
    let at = file_bytes
        .checked_sub(FOOTER_BYTES as u64)
        .ok_or(Corruption::new("the file is shorter than a footer"))?;
    let footer = Footer::parse(&file.read_at(at, FOOTER_BYTES).await?)?;
    if footer.file_bytes != file_bytes {
        return Err(
            Corruption::in_table("the file has another length than its footer says", footer.origin).into()
        );
    }
    Ok(footer)
}

/// The blocks fill the data section without gaps: then whoever has verified all blocks has verified all data.
fn check_blocks(footer: &Footer, part: &IndexPart) -> Result<(), Corruption> {
    let (mut at, mut number) = (0u64, 0u32);
    for info in part.infos() {
        if info.handle.offset != at || info.handle.block != number {
            return Err(Corruption::in_table(
                "the blocks of the index part do not follow each other",
                footer.origin,
            ));
        }
        at = at.saturating_add(u64::from(info.handle.length));
        number = number.saturating_add(1);
    }
    if at != footer.data.length {
        return Err(Corruption::in_table("the blocks do not fill the data section", footer.origin));
    }
    Ok(())
}

/// Parsed tails, by table and generation of its bytes, within a budget of memory.
pub(crate) struct Tails(Cache<(TableId, u64), Arc<Tail>, Weigh, FixedState>);

#[derive(Clone)]
struct Weigh;

impl Weighter<(TableId, u64), Arc<Tail>> for Weigh {
    fn weight(&self, _: &(TableId, u64), tail: &Arc<Tail>) -> u64 {
        (tail.part.memory_bytes() + size_of::<Tail>()) as u64
    }
}

impl Tails {
    /// A cache of at most this many bytes.
    pub fn new(bytes: u64) -> Tails {
        // One shard and a fixed hash: two runs of one simulated world keep and drop the same.
        let mut options = OptionsBuilder::new();
        options.shards(1).weight_capacity(bytes).estimated_items_capacity(256);
        let options = options.build();
        Tails(match options {
            Ok(options) => {
                Cache::with_options(options, Weigh, FixedState::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with(256, bytes, Weigh, FixedState::default(), DefaultLifecycle::default()),
        })
    }

    /// The tail, if it is in memory.
    pub fn get(&self, table: TableId, generation: u64) -> Option<Arc<Tail>> {
        self.0.get(&(table, generation))
    }

    /// Keeps a tail.
    pub fn put(&self, table: TableId, generation: u64, tail: Arc<Tail>) {
        self.0.insert((table, generation), tail);
    }

    /// Gives one up.
    pub fn forget(&self, table: TableId, generation: u64) {
        self.0.remove(&(table, generation));
    }
}
