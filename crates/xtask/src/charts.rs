//! `cargo xtask charts`: what `helm template` makes of the charts is committed (`helm/goldens`), so that a change of a chart shows
//! what it changes. Without `--write` it compares, and lints the charts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::image::{done, said};

/// Where the charts lie.
pub const CHARTS: &str = "helm";
/// Where the definitions lie that the chart of the kinds takes.
pub const DEFINITIONS: &str = "crds/generated";
/// Where that chart has them.
pub const CHART_DEFINITIONS: &str = "helm/lamina-crds/files";

/// A chart with values, and the name of what comes out.
struct Golden {
    name: &'static str,
    chart: &'static str,
    values: &'static [&'static str],
}

const GOLDENS: [Golden; 5] = [
    Golden { name: "crds", chart: "lamina-crds", values: &[] },
    Golden {
        name: "crds-unprotected",
        chart: "lamina-crds",
        values: &["deletionProtection.enabled=false", "roles.enabled=false"],
    },
    Golden { name: "operator", chart: "lamina-operator", values: &[] },
    Golden {
        name: "operator-namespaced",
        chart: "lamina-operator",
        values: &["watchNamespace=shop", "replicas=2"],
    },
    Golden {
        name: "operator-monitored",
        chart: "lamina-operator",
        values: &[
            "metrics.serviceMonitor.enabled=true",
            "metrics.podMonitor.enabled=true",
            "metrics.rules.enabled=true",
            "metrics.dashboard.enabled=true",
            "labels.team=storage",
            "logFilter=lamina_operator=debug",
            "priorityClassName=system-cluster-critical",
        ],
    },
];

/// `cargo xtask charts`
#[derive(Args, Debug)]
pub struct ChartsArgs {
    /// Write the goldens and the chart's definitions instead of comparing them
    #[arg(long)]
    write: bool,
}

/// Compares or writes.
///
/// # Errors
/// helm is not there, a chart is bad, or what is committed is not fresh.
pub fn run(root: &Path, args: &ChartsArgs) -> anyhow::Result<()> {
    if args.write {
        copy_definitions(root)?;
    }
    for chart in ["lamina-crds", "lamina-operator"] {
        done(Command::new("helm").args(["lint", "--strict", "--quiet"]).arg(root.join(CHARTS).join(chart)))?;
    }
    let mut stale = Vec::new();
    for golden in &GOLDENS {
        let path = root.join(CHARTS).join("goldens").join(format!("{}.yaml", golden.name));
        let made = render(root, golden)?;
        if args.write {
            fs::write(&path, made).with_context(|| format!("cannot write {}", path.display()))?;
        } else if fs::read_to_string(&path).unwrap_or_default() != made {
            stale.push(golden.name);
        }
    }
    if !stale.is_empty() {
        bail!(
            "helm/goldens is not fresh: {}; see what changed with `cargo xtask charts --write`",
            stale.join(", ")
        );
    }
    Ok(())
}

fn render(root: &Path, golden: &Golden) -> anyhow::Result<String> {
    let mut command = Command::new("helm");
    command.args(["template", golden.chart]).arg(root.join(CHARTS).join(golden.chart));
    command.args(["--namespace", "lamina-system", "--kube-version", "1.34.0"]);
    for value in golden.values {
        command.args(["--set", value]);
    }
    said(&mut command)
}

fn copy_definitions(root: &Path) -> anyhow::Result<()> {
    for (name, text) in files(&root.join(DEFINITIONS))? {
        fs::write(root.join(CHART_DEFINITIONS).join(name), text)?;
    }
    Ok(())
}

/// The files of a folder with their texts, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        files.push((PathBuf::from(entry.file_name()), fs::read_to_string(entry.path())?));
    }
    files.sort();
    Ok(files)
}
