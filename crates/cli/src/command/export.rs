//! `export`: all rows of one version. A file has its name only when it is whole.

use std::io::Write;

use lamina_client::ScanOptions;

use super::import::{partial, summary};
use super::progress::Progress;
use super::scan::range;
use crate::args::{ExportArgs, StoreArgs};
use crate::failure::Failure;
use crate::farewell::Farewell;
use crate::figures::{bytes, count, short};
use crate::output;
use crate::rows::{self, Format};

/// Rows of a page: the store ends a page at 4 MiB all the same.
const PAGE_ROWS: u32 = 5000;

pub async fn export(store: &StoreArgs, args: ExportArgs, farewell: &Farewell) -> Result<(), Failure> {
    let part = args.file.as_ref().filter(|file| file.as_os_str() != "-").map(|file| (file, partial(file)));
    let mut out: Box<dyn Write> = match &part {
        Some((file, part)) => {
            let (file, part_name) = (file.display().to_string(), part.display().to_string());
            farewell.set(move || {
                format!("interrupted; {part_name} is not whole, {file} is as it was; start again")
            });
            Box::new(output::create(part)?)
        }
        None => {
            farewell.set(|| "interrupted; the output is not whole; start again".to_owned());
            Box::new(output::rows())
        }
    };
    let format = Format::of(args.format, args.file.as_deref());
    let options =
        ScanOptions { range: range(&args.range, args.form)?, page_rows: PAGE_ROWS, ..ScanOptions::default() };
    let mut scanner = store.client()?.scan(options);
    let mut progress = Progress::new("export", false);
    let (mut done, mut row_bytes) = (0u64, 0u64);
    let failed = |error| Failure::io("write the rows", &error);
    loop {
        let row = scanner.next().await.map_err(|error| {
            let how = "the export is not whole: start again";
            Failure::Halfway(Box::new(store.failure(error)), how.to_owned())
        })?;
        let Some(row) = row else { break };
        rows::write(&mut out, format, args.form, &row.key, Some(&row.value), row.version.0)
            .map_err(failed)?;
        done += 1;
        row_bytes += (row.key.len() + row.value.len()) as u64;
        if done.is_multiple_of(1000) {
            let rate = done as f64 / progress.elapsed().as_secs_f64().max(1e-3);
            progress.show(None, || {
                format!("{} keys · {} · {} keys/s", count(done), bytes(row_bytes), short(rate))
            });
        }
    }
    out.flush().map_err(failed)?;
    drop(out);
    if let Some((file, part)) = &part {
        output::rename(part, file)?;
    }
    let elapsed = progress.elapsed();
    progress.clear();
    if !args.quiet && (part.is_some() || output::is_watched()) {
        output::say(&format!(
            "{} · version {}",
            summary("exported", done, row_bytes, elapsed),
            scanner.read_at()
        ));
    }
    Ok(())
}
