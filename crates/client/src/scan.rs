//! Scans: a range at one version, page by page.

use std::collections::VecDeque;

use bytes::Bytes;
use lamina_peers::kv::{Page, ReadAt, Row, Scan};
use lamina_types::{KeyRange, Result, Version};

use crate::caller::Caller;

/// What a scan reads.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// The keys.
    pub range: KeyRange,
    /// From the last key to the first.
    pub reverse: bool,
    /// Rows in all; `None`: the whole range.
    pub limit: Option<u64>,
    /// Rows of one page; 0: the store's default.
    pub page_rows: u32,
    /// Leaves values out.
    pub keys_only: bool,
    /// Which state to read; the whole scan reads one.
    pub at: ReadAt,
}

impl Default for ScanOptions {
    fn default() -> ScanOptions {
        ScanOptions {
            range: KeyRange::all(),
            reverse: false,
            limit: None,
            page_rows: 0,
            keys_only: false,
            at: ReadAt::Newest,
        }
    }
}

impl ScanOptions {
    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> ScanOptions {
        ScanOptions { range: KeyRange::prefix(prefix), ..ScanOptions::default() }
    }

    /// The keys of a range.
    pub fn range(range: KeyRange) -> ScanOptions {
        ScanOptions { range, ..ScanOptions::default() }
    }
}

/// A scan under way: rows one by one.
pub struct Scanner {
    caller: Caller,
    options: ScanOptions,
    rows: VecDeque<Row>,
    resume: Option<Bytes>,
    begun: bool,
    given: u64,
    read_at: Version,
}

impl Scanner {
    pub(crate) fn new(caller: Caller, options: ScanOptions) -> Scanner {
        Scanner {
            caller,
            options,
            rows: VecDeque::new(),
            resume: None,
            begun: false,
            given: 0,
            read_at: Version::ZERO,
        }
    }

    /// Goes on behind a page of an earlier scan with the same options.
    #[must_use]
    pub fn resume(mut self, token: Bytes) -> Scanner {
        self.resume = Some(token);
        self.begun = true;
        self
    }

    /// The next row; `None`: there are no more.
    ///
    /// # Errors
    /// As [`crate::Client::get`]; `SNAPSHOT_EXPIRED` if the scan rested too long.
    pub async fn next(&mut self) -> Result<Option<Row>> {
        if self.options.limit.is_some_and(|limit| self.given >= limit) {
            return Ok(None);
        }
        while self.rows.is_empty() {
            if self.begun && self.resume.is_none() {
                return Ok(None);
            }
            self.fetch().await?;
        }
        self.given += 1;
        Ok(self.rows.pop_front())
    }

    /// How a later scan goes on behind the rows that were fetched; `None`: at the end.
    pub fn token(&self) -> Option<Bytes> {
        self.resume.clone()
    }

    /// The version that is read, once the first page was fetched.
    pub fn read_at(&self) -> Version {
        self.read_at
    }

    async fn fetch(&mut self) -> Result<()> {
        let left = self.options.limit.map(|limit| limit.saturating_sub(self.given));
        let page_rows = match (self.options.page_rows, left) {
            (rows, None) => rows,
            (0, Some(left)) => u32::try_from(left).unwrap_or(u32::MAX).min(1000),
            (rows, Some(left)) => rows.min(u32::try_from(left).unwrap_or(u32::MAX)),
        };
        let scan = Scan {
            range: self.options.range.clone(),
            reverse: self.options.reverse,
            limit: page_rows,
            keys_only: self.options.keys_only,
            at: self.options.at,
            // Kept until the page is here: after a failure the next call asks for the same page again.
            resume: self.resume.clone(),
        };
        let page: Page = self.caller.read(scan).await?;
        self.begun = true;
        self.read_at = page.read_at;
        self.resume = page.resume;
        self.rows.extend(page.rows);
        Ok(())
    }
}
