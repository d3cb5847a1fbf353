//! `cargo xtask e2e`: builds the programs and images of the stories, then runs them (`e2e/`).

use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::image::{self, Image};

/// Repository of the image under test.
const REPOSITORY: &str = "lamina";
/// Its tag.
const TAG: &str = "e2e";
/// The tag of the same source with a higher version.
const NEXT_TAG: &str = "e2e-next";
/// The image of the pod that makes the load.
const LOAD_IMAGE: &str = "lamina-e2e:e2e";
/// The variable that a build takes for the version of the program.
const BUILD_VERSION: &str = "LAMINA_BUILD_VERSION";

/// `cargo xtask e2e`
#[derive(Args, Debug)]
pub struct E2eArgs {
    /// Use the cluster of KUBECONFIG instead of making one
    #[arg(long)]
    existing: bool,
    /// Leave the cluster, and the namespaces of failed stories, for a look
    #[arg(long)]
    keep: bool,
    /// Stories by name; without any: all
    #[arg(long = "story")]
    stories: Vec<String>,
    /// With which profile the programs are built; `dev` saves CI a second build
    #[arg(long, default_value = "dev")]
    profile: String,
    /// Use this program lamina instead of building it. Its version is then the same in both images
    #[arg(long)]
    lamina: Option<PathBuf>,
    /// Use this program lamina-operator instead of building it
    #[arg(long)]
    operator: Option<PathBuf>,
}

/// Builds, makes the images, and tells the stories; whether all of them held.
///
/// # Errors
/// Something cannot be built.
pub fn run(root: &Path, args: &E2eArgs) -> anyhow::Result<bool> {
    // With the features of the whole workspace, so that nothing is built twice beside the tests.
    let programs = ["lamina", "lamina-operator", "kubectl-lamina", "lamina-e2e"];
    let what: Vec<&str> =
        iter::once("--workspace").chain(programs.iter().flat_map(|it| ["--bin", it])).collect();
    let stories = image::build(root, &args.profile, &what, "lamina-e2e")?;
    let beside = stories.parent().context("a program without a folder")?.to_owned();
    let lamina = args.lamina.clone().unwrap_or_else(|| beside.join("lamina"));
    let operator = args.operator.clone().unwrap_or_else(|| beside.join("lamina-operator"));
    let bytes_max = (args.profile != "dev").then_some(image::BYTES_MAX);
    let product = |tag: &str, lamina: &Path| {
        let tag = format!("{REPOSITORY}:{tag}");
        let programs = [("lamina", lamina), ("lamina-operator", operator.as_path())];
        image::make(&Image { tag: &tag, programs: &programs, bytes_max })
    };
    product(TAG, &lamina)?;
    let programs = [("lamina-e2e", stories.as_path()), ("lamina", lamina.as_path())];
    image::make(&Image { tag: LOAD_IMAGE, programs: &programs, bytes_max: None })?;
    match &args.lamina {
        Some(lamina) => product(NEXT_TAG, lamina)?,
        None => product(NEXT_TAG, &next_version(root, &args.profile, &lamina)?)?,
    };
    let mut command = Command::new(&stories);
    command.arg("run").args(["--repository", REPOSITORY, "--tag", TAG, "--next-tag", NEXT_TAG]);
    command.args(["--load-image", LOAD_IMAGE]);
    command.arg("--charts").arg(root.join("helm"));
    command.arg("--plugin").arg(&beside);
    command.arg("--table").arg(root.join("crds/tests/manifests.yaml"));
    command.arg("--evidence").arg(beside.join("e2e-evidence"));
    command.args(args.existing.then_some("--existing")).args(args.keep.then_some("--keep"));
    for story in &args.stories {
        command.args(["--story", story]);
    }
    let status = command.status().context("cannot run the stories")?;
    Ok(status.success())
}

/// The same source as a program of the next patch version, beside the first one.
fn next_version(root: &Path, profile: &str, lamina: &Path) -> anyhow::Result<PathBuf> {
    let first = lamina.with_extension("first");
    std::fs::rename(lamina, &first).context("cannot put the first program aside")?;
    let version = next_patch(env!("CARGO_PKG_VERSION")).context("the version has no patch number")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).env(BUILD_VERSION, &version);
    let built = image::done(command.args([
        "build",
        "--locked",
        "--profile",
        profile,
        "--workspace",
        "--bin",
        "lamina",
    ]));
    let next = lamina.with_extension("next");
    if built.is_ok() {
        std::fs::rename(lamina, &next).context("cannot put the second program aside")?;
    }
    std::fs::rename(&first, lamina).context("cannot put the first program back")?;
    built.map(|()| next)
}

/// 0.1.0 becomes 0.1.1.
fn next_patch(version: &str) -> Option<String> {
    let (head, patch) = version.rsplit_once('.')?;
    Some(format!("{head}.{}", patch.parse::<u64>().ok()? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_one_patch_higher() {
        assert_eq!(next_patch("0.1.9").as_deref(), Some("0.1.10"));
        assert_eq!(next_patch("nonsense"), None);
    }
}
