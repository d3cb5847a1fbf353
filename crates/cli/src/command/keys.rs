//! `put`, `get`, `delete`.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use lamina_client::{Batch, Error, Expected, Reason, Version};
use lamina_types::limits::VALUE_BYTES_MAX;
use lamina_workload::octets;

use crate::args::{DeleteArgs, GetArgs, Output, PutArgs, StoreArgs};
use crate::failure::Failure;
use crate::{output, rows};

pub async fn put(store: &StoreArgs, args: PutArgs) -> Result<(), Failure> {
    let key = args.form.read("key", &args.key)?;
    let value = match (&args.value, &args.from) {
        (Some(value), _) => args.form.read("value", value)?,
        (None, Some(path)) => {
            let (input, _) = output::input(path)?;
            let mut bytes = Vec::new();
            let read = input.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
            read.map_err(|error| Failure::io(&format!("read {}", path.display()), &error))?;
            if bytes.len() > VALUE_BYTES_MAX {
                let why = "is longer than 1 MiB (VALUE_TOO_LARGE); cut it into several keys";
                return Err(Failure::Usage(format!("the value in {} {why}", path.display())));
            }
            Bytes::from(bytes)
        }
        (None, None) => Bytes::new(),
    };
    let mut batch = match args.ttl {
        Some(ttl) => Batch::new().put_for(key.clone(), value, ttl),
        None => Batch::new().put(key.clone(), value),
    };
    let condition = &args.condition;
    let expected = match condition.if_version {
        Some(version) => Some(Expected::Version(Version(version))),
        None if condition.if_absent => Some(Expected::Absent),
        None if condition.if_present => Some(Expected::Present),
        None => None,
    };
    if let Some(expected) = expected {
        batch = batch.only_if(key, expected);
    }
    write(store, batch, args.output).await
}

pub async fn delete(store: &StoreArgs, args: DeleteArgs) -> Result<(), Failure> {
    let key = args.form.read("key", &args.key)?;
    let mut batch = Batch::new().delete(key.clone());
    if let Some(version) = args.if_version {
        batch = batch.only_if(key, Expected::Version(Version(version)));
    } else if args.if_present {
        batch = batch.only_if(key, Expected::Present);
    }
    write(store, batch, args.output).await
}

/// Writes a batch. Silence is success, unless the version was asked for.
pub async fn write(store: &StoreArgs, batch: Batch, output: Option<Output>) -> Result<(), Failure> {
    let version = store.client()?.write(batch.clone()).await.map_err(|error| {
        let failed = which_failed(&batch, &error);
        failed.unwrap_or_else(|| store.failure(error))
    })?;
    match output {
        Some(Output::Json) => output::line(&format!("{{\"version\":{version}}}")),
        None => Ok(()),
    }
}

/// Which condition did not hold: the store tells its number, and only who asked knows the key by heart.
fn which_failed(batch: &Batch, error: &Error) -> Option<Failure> {
    if error.reason() != Reason::ConditionFailed {
        return None;
    }
    let (key, expected) = batch.condition(error.detail("condition")?.parse().ok()?)?;
    let expected = match expected {
        Expected::Absent => "to be absent".to_owned(),
        Expected::Present => "to be there".to_owned(),
        Expected::Version(version) => format!("to have version {version}"),
    };
    let is = match error.detail("version") {
        Some(version) => format!("it has version {version}"),
        None => "it is absent".to_owned(),
    };
    Some(Failure::NotFound(format!(
        "the key {} was expected {expected}, and {is} (CONDITION_FAILED); nothing was written",
        shown(key)
    )))
}

pub async fn get(store: &StoreArgs, args: GetArgs) -> Result<(), Failure> {
    let key = args.form.read("key", &args.key)?;
    let found = store.client()?.get(key.clone()).await.map_err(|error| store.failure(error))?;
    let Some(found) = found else {
        return Err(Failure::NotFound(format!("no such key: {}", shown(args.key.as_bytes()))));
    };
    match args.output {
        Some(Output::Json) => {
            let row = rows::json(&key, Some(&found.value), found.version.0, found.expires_ms);
            output::line(&row.map_err(|error| Failure::Local(error.to_string()))?)
        }
        None => output::raw(&args.form.encode(&found.value)),
    }
}

/// A key, fit for a terminal.
fn shown(key: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 200;
    let text = octets::escape(key);
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
