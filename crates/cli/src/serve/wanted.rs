//! What `up` is asked for: by options, or by the manifest that `kubectl apply` takes.

use std::io::Read as _;
use std::path::Path;

use lamina_types::Settings;

use crate::args::UpArgs;
use crate::failure::Failure;
use crate::output;

/// The shape of a new store, and the memory of its nodes.
pub struct Wanted {
    pub settings: Settings,
    pub cache_bytes: u64,
    pub index_memory_bytes: u64,
}

/// Reads the options, or the file that they name.
pub fn wanted(args: &UpArgs) -> Result<Wanted, Failure> {
    let Some(file) = &args.file else {
        return Ok(Wanted {
            settings: by_options(args),
            cache_bytes: args.cache,
            index_memory_bytes: args.index_memory,
        });
    };
    let text = read(file)?;
    let refused = |findings: lamina_crds::Findings| {
        let all: Vec<String> = findings.all().iter().map(ToString::to_string).collect();
        Failure::Usage(format!("{} is refused, and nothing was started: {}", file.display(), all.join("; ")))
    };
    let shape = lamina_crds::check::cluster_in(&text).map_err(refused)?.spec.shape();
    Ok(Wanted {
        settings: shape.settings,
        cache_bytes: shape.cache_bytes,
        index_memory_bytes: shape.index_memory_bytes,
    })
}

/// Says what the file wants otherwise than the store has settled: the shape of a store cannot be changed yet.
pub fn tell_differences(file: &Path, wanted: &Settings, settled: &Option<Settings>) {
    let Some(settled) = settled else { return };
    let differences = settled.differences(wanted);
    if !differences.is_empty() {
        let differences: Vec<String> = differences
            .iter()
            .map(|it| format!("{} is {}, not {}", it.field, it.settled, it.asked))
            .collect();
        output::complain(&format!(
            "{} differs from what this store settled when it began, which cannot be changed yet: {}",
            file.display(),
            differences.join(", ")
        ));
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    // One byte more than a manifest may have, so that the check sees that it is too long.
    let most = lamina_crds::yaml::TEXT_BYTES_MAX as u64 + 1;
    let (input, _) = output::input(file)?;
    let doing = format!("read {}", file.display());
    input.take(most).read_to_string(&mut text).map_err(|error| Failure::io(&doing, &error))?;
    Ok(text)
}

/// What a new store of so many nodes settles: as many copies as its nodes allow, up to the usual ones.
fn by_options(args: &UpArgs) -> Settings {
    let usual = Settings::default();
    Settings {
        frontends: args.frontends,
        index_nodes: args.index_nodes,
        data_nodes: args.data_nodes,
        // Two replicas survive nothing that one does not.
        frontend_replication: if args.frontends < usual.frontend_replication {
            1
        } else {
            usual.frontend_replication
        },
        index_replication: usual.index_replication.min(args.index_nodes),
        data_replication: usual.data_replication.min(args.data_nodes),
        memtable_bytes: args.memtables,
        development: args.frontends < usual.frontends || args.data_nodes < usual.data_nodes,
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn up_args(arguments: &[&str]) -> UpArgs {
        let Command::Up(args) = Cli::try_parse_from([&["lamina", "up"], arguments].concat()).unwrap().command
        else {
            panic!("up")
        };
        args
    }

    #[test]
    fn a_store_of_three_of_each_has_the_usual_copies_and_a_single_one_says_that_it_is_for_development() {
        assert_eq!(by_options(&up_args(&[])), Settings::default());
        let single = by_options(&up_args(&["--frontends", "1", "--index-nodes", "1", "--data-nodes", "1"]));
        assert_eq!(
            (single.frontend_replication, single.index_replication, single.data_replication),
            (1, 1, 1)
        );
        assert!(single.development);
        assert_eq!(by_options(&up_args(&["--frontends", "2"])).frontend_replication, 1);
        assert_eq!(by_options(&up_args(&["--frontends", "5"])).frontend_replication, 3);
    }
}
