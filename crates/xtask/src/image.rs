//! An image where no registry can be reached: what `Dockerfile` makes, from programs that this machine has built.
//!
//! There is nothing to begin from, so the image holds the programs, the shared libraries that they name (`ldd`), and a user. No
//! shell, no package manager. `docker import` takes it as one layer; the order and times of its files are fixed, so that the same
//! programs give the same layer.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;

/// Who runs the programs; the Dockerfile has the same.
pub const USER: u32 = 65532;
/// Bytes of an image for others, at most.
pub const BYTES_MAX: u64 = 60 << 20;
/// Where programs lie in the image.
pub const PROGRAMS: &str = "/usr/bin";

/// `cargo xtask image`
#[derive(Args, Debug)]
pub struct ImageArgs {
    /// Repository and tag
    #[arg(long, default_value = concat!("lamina:", env!("CARGO_PKG_VERSION")))]
    tag: String,
    /// The program lamina; built with the profile `dist` if absent
    #[arg(long)]
    lamina: Option<PathBuf>,
    /// The program lamina-operator; built with the profile `dist` if absent
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Take an image that is larger than what is wanted: for programs that were built for debugging
    #[arg(long)]
    any_size: bool,
}

/// What goes into an image.
pub struct Image<'a> {
    /// Repository and tag.
    pub tag: &'a str,
    /// Programs by their names in the image; the first one is what it runs.
    pub programs: &'a [(&'a str, &'a Path)],
    /// Bytes at most; `None`: any.
    pub bytes_max: Option<u64>,
}

/// Makes the image of Lamina.
///
/// # Errors
/// A program cannot be built or read, docker refuses, or the image is too large.
pub fn run(root: &Path, args: &ImageArgs) -> anyhow::Result<()> {
    let built = |given: &Option<PathBuf>, package: &str, name: &str| match given {
        Some(path) => Ok(path.clone()),
        None => build(root, "dist", &["--package", package], name),
    };
    let lamina = built(&args.lamina, "lamina-cli", "lamina")?;
    let operator = built(&args.operator, "lamina-operator", "lamina-operator")?;
    let bytes = make(&Image {
        tag: &args.tag,
        programs: &[("lamina", &lamina), ("lamina-operator", &operator)],
        bytes_max: (!args.any_size).then_some(BYTES_MAX),
    })?;
    println!("{}: {:.1} MiB", args.tag, mib(bytes));
    Ok(())
}

/// Builds what is named, and says where one of the programs lies.
///
/// # Errors
/// cargo fails.
pub fn build(root: &Path, profile: &str, what: &[&str], program: &str) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    done(command.current_dir(root).args(["build", "--locked", "--profile", profile]).args(what))?;
    Ok(target(root)?.join(if profile == "dev" { "debug" } else { profile }).join(program))
}

/// Where cargo puts what it builds.
fn target(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let metadata = said(command.current_dir(root).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is no JSON")?;
    let target = metadata.get("target_directory").and_then(|it| it.as_str());
    Ok(PathBuf::from(target.context("cargo metadata names no target directory")?))
}

/// Makes an image; says how many bytes it has.
///
/// # Errors
/// A program cannot be read, docker refuses, or the image is too large.
pub fn make(image: &Image<'_>) -> anyhow::Result<u64> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let root = dir.path().join("root");
    fill(&root, image.programs)?;
    let tar = dir.path().join("root.tar");
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C"]);
    done(command.arg(&root).arg("-cf").arg(&tar).arg("."))?;
    let (first, _) = image.programs.first().context("an image without a program")?;
    let mut command = Command::new("docker");
    command.arg("import");
    for change in [
        format!("USER {USER}:{USER}"),
        format!("ENTRYPOINT [\"{PROGRAMS}/{first}\"]"),
        "WORKDIR /".to_owned(),
    ] {
        command.args(["--change", &change]);
    }
    said(command.arg(&tar).arg(image.tag))?;
    let bytes = said(Command::new("docker").args(["image", "inspect", "--format", "{{.Size}}", image.tag]))?;
    let bytes = bytes.trim().parse::<u64>().context("docker names no size")?;
    if let Some(most) = image.bytes_max.filter(|most| bytes > *most) {
        bail!("the image {} has {:.1} MiB, and may have {:.0}", image.tag, mib(bytes), mib(most));
    }
    Ok(bytes)
}

/// Lays out the files of an image.
fn fill(root: &Path, programs: &[(&str, &Path)]) -> anyhow::Result<()> {
    for (name, path) in programs {
        ensure!(path.is_file(), "there is no program {}", path.display());
        for library in libraries(path)? {
            put(&library, &inside(root, &library))?;
        }
        let place = inside(root, &Path::new(PROGRAMS).join(name));
        put(path, &place)?;
        done(Command::new("strip").arg(&place)).context("cannot take the debug information out")?;
    }
    let user = format!("nonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n");
    write(root, "etc/passwd", &format!("root:x:0:0:root:/:/sbin/nologin\n{user}"))?;
    write(root, "etc/group", &format!("root:x:0:\nnonroot:x:{USER}:\n"))?;
    // Names of pods are looked up by DNS, after the file that the kubelet writes.
    write(root, "etc/nsswitch.conf", "hosts: files dns\n")?;
    for dir in ["data", "tmp"] {
        fs::create_dir_all(root.join(dir))?;
    }
    Ok(())
}

/// The shared libraries of a program, the loader among them; none if it is linked statically.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.contains("statically linked") || text.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    ensure!(output.status.success(), "ldd {}: {text}", program.display());
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} needs a library that is not here: {}", program.display(), line.trim());
    }
    Ok(named(&text))
}

/// The paths that `ldd` names: `libc.so.6 => /lib/libc.so.6 (0x…)`, or `/lib64/ld-linux.so.2 (0x…)`.
fn named(text: &str) -> Vec<PathBuf> {
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies a file, or what a link leads to.
fn put(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

fn write(root: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = root.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Runs a program whose words are for the reader.
///
/// # Errors
/// It is not there, or fails.
pub fn done(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_os_string();
    let status = command.stdin(Stdio::null()).status().with_context(|| cannot_run(&name))?;
    ensure!(status.success(), "{}: {status}", name.to_string_lossy());
    Ok(())
}

/// Runs a program whose words are its result.
///
/// # Errors
/// It is not there, or fails; its complaint is told.
pub fn said(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_os_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_run(&name))?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{}: {}: {complaint}", name.to_string_lossy(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn cannot_run(name: &OsStr) -> String {
    format!("cannot run {}; is it on PATH?", name.to_string_lossy())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    const LDD: &str = "\
\tlinux-vdso.so.1 (0x00007ffe)
\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f35)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f35)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f36)
";

    #[test]
    fn libraries_are_those_that_have_a_path() {
        let wanted = [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(named(LDD), wanted.map(PathBuf::from));
    }

    #[test]
    fn the_files_of_an_image_are_the_programs_their_libraries_and_a_user() {
        let dir = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        fill(dir.path(), &[("lamina", &program)]).unwrap();
        assert!(
            dir.path().join("usr/bin/lamina").metadata().unwrap().len() < program.metadata().unwrap().len()
        );
        assert!(
            fs::read_to_string(dir.path().join("etc/passwd")).unwrap().contains("nonroot:x:65532:65532:")
        );
        for library in libraries(&program).unwrap() {
            assert!(inside(dir.path(), &library).is_file(), "{}", library.display());
        }
        assert!(!dir.path().join("bin/sh").exists());
    }

    #[test]
    fn the_dockerfile_makes_the_same_image() {
        let dockerfile = fs::read_to_string(repository().join("Dockerfile")).unwrap();
        for line in [
            format!("USER {USER}:{USER}"),
            format!("ENTRYPOINT [\"{PROGRAMS}/lamina\"]"),
            format!("/target/dist/lamina /out{PROGRAMS}/lamina"),
            format!("/target/dist/lamina-operator /out{PROGRAMS}/lamina-operator"),
            format!("nonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin"),
            "hosts: files dns".to_owned(),
        ] {
            assert!(dockerfile.contains(&line), "the Dockerfile lacks `{line}`");
        }
    }
}
