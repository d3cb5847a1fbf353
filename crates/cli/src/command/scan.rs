//! `scan`.

use std::io::Write;

use bytes::Bytes;
use lamina_client::{KeyRange, ScanOptions};

use crate::args::{RangeArgs, ScanArgs, StoreArgs};
use crate::failure::Failure;
use crate::form::Form;
use crate::{output, rows};

pub async fn scan(store: &StoreArgs, args: ScanArgs) -> Result<(), Failure> {
    let options = ScanOptions {
        range: range(&args.range, args.form)?,
        reverse: args.reverse,
        limit: args.limit,
        keys_only: args.keys_only,
        ..ScanOptions::default()
    };
    let mut scanner = store.client()?.scan(options);
    let mut out = output::rows();
    let failed = |error| Failure::io("write the rows", &error);
    while let Some(row) = scanner.next().await.map_err(|error| store.failure(error))? {
        let value = (!args.keys_only).then_some(row.value.as_ref());
        rows::write(&mut out, args.format, args.form, &row.key, value, row.version.0).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// The range that was asked for.
pub fn range(args: &RangeArgs, form: Form) -> Result<KeyRange, Failure> {
    if let Some(prefix) = &args.prefix {
        return Ok(KeyRange::prefix(form.read("prefix", prefix)?));
    }
    let from = args.from.as_ref().map(|from| form.read("key", from)).transpose()?;
    let to: Option<Bytes> = args.to.as_ref().map(|to| form.read("key", to)).transpose()?;
    Ok(KeyRange::new(from.unwrap_or_default(), to))
}
