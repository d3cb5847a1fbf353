//! Sealed files that are open for reading.

use std::io;
use std::sync::Arc;

use foldhash::quality::FixedState;
use lamina_env::disk::File;
use lamina_types::{Error, TableId};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

use crate::fault;
use crate::hands::store::Store;
use crate::heart::catalogue::{Catalogue, Sealed};

/// A name can change under a reader when a stamp is raised; then it looks again, so often.
const ATTEMPTS: usize = 8;

/// Open files, by table and generation of its bytes; the least useful are closed.
pub(crate) struct OpenFiles(Cache<(TableId, u64), Arc<dyn File>, UnitWeighter, FixedState>);

/// A sealed file that is open. It stays readable whatever happens to its name.
#[derive(Clone)]
pub(crate) struct OpenTable {
    pub table: TableId,
    pub file: Arc<dyn File>,
    pub sealed: Sealed,
}

/// Why a table could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the table is not here")]
    NotHere,
    #[error("the file cannot be opened: {0}")]
    Io(#[from] io::Error),
}

impl OpenError {
    /// The error for a caller who asked for this table alone.
    pub fn into_error(self, table: TableId) -> Error {
        match self {
            OpenError::NotHere => fault::not_here(table),
            OpenError::Io(error) => fault::disk(&format!("open table {table}"), &error),
        }
    }
}

impl OpenFiles {
    /// At most this many.
    pub fn new(files: usize) -> OpenFiles {
        let mut options = OptionsBuilder::new();
        options.shards(1).weight_capacity(files as u64).estimated_items_capacity(files);
        OpenFiles(match options.build() {
            Ok(options) => {
                Cache::with_options(options, UnitWeighter, FixedState::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with(
                files,
                files as u64,
                UnitWeighter,
                FixedState::default(),
                DefaultLifecycle::default(),
            ),
        })
    }

    /// Opens a table that the catalogue knows.
    pub async fn open(
        &self,
        store: &Store,
        catalogue: &Catalogue,
        table: TableId,
    ) -> Result<OpenTable, OpenError> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..ATTEMPTS {
            let sealed = catalogue.get(table).ok_or(OpenError::NotHere)?;
            if let Some(file) = self.0.get(&(table, sealed.generation)) {
                return Ok(OpenTable { table, file, sealed });
            }
            match store.open_table(table, sealed.stamp).await {
                Ok(file) => {
                    let same = |now: Sealed| (now.generation, now.stamp) == (sealed.generation, sealed.stamp);
                    // Between look and open other bytes may have taken the name.
                    if catalogue.get(table).is_some_and(same) {
                        self.0.insert((table, sealed.generation), file.clone());
                        if catalogue.get(table).is_none_or(|now| now.generation != sealed.generation) {
                            self.forget(table, sealed.generation);
                        }
                        return Ok(OpenTable { table, file, sealed });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    /// Closes a file, so that the room of a deleted one becomes free.
    pub fn forget(&self, table: TableId, generation: u64) {
        self.0.remove(&(table, generation));
    }
}
