//! Protobuf → Rust, with protox instead of protoc. The output is committed, so that nothing is generated while the
//! store is built, and a test proves that it is fresh.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use prost::Message;

/// The files to compile; what they import comes with them.
const FILES: [&str; 6] = [
    "lamina/kv/v1/kv.proto",
    "lamina/index/v1/index.proto",
    "lamina/data/v1/data.proto",
    "lamina/raft/v1/raft.proto",
    "lamina/group/v1/group.proto",
    "lamina/admin/v1/admin.proto",
];

/// The descriptor set for reflection: what tools like grpcurl ask a server for.
const DESCRIPTORS: &str = "descriptors.bin";

/// Generates everything into `crates/proto/src/generated`.
pub fn run() -> anyhow::Result<()> {
    let target = committed();
    for (name, bytes) in generate()? {
        let path = target.join(&name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn proto_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
}

fn committed() -> PathBuf {
    proto_crate().join("src/generated")
}

/// All generated files by name.
fn generate() -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut compiler = protox::Compiler::new([proto_crate().join("proto")])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;
    let with_comments = compiler.file_descriptor_set();
    let mut plain = with_comments.clone();
    for file in &mut plain.file {
        file.source_code_info = None;
    }

    let scratch = tempdir()?;
    tonic_prost_build::configure()
        .out_dir(&scratch)
        .bytes(".")
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .compile_fds(with_comments)?;
    let mut files = BTreeMap::from([(DESCRIPTORS.to_owned(), plain.encode_to_vec())]);
    for entry in std::fs::read_dir(&scratch)? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(files)
}

/// An empty directory of this process alone.
fn tempdir() -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("lamina-protogen-{}", std::process::id()));
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_code_is_what_the_proto_files_say() {
        let fresh = generate().unwrap();
        let mut names: Vec<String> = std::fs::read_dir(committed())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, fresh.keys().cloned().collect::<Vec<_>>(), "run `cargo run -p xtask -- protogen`");
        for (name, bytes) in fresh {
            let there = std::fs::read(committed().join(&name)).unwrap();
            assert!(there == bytes, "{name} is not fresh: run `cargo run -p xtask -- protogen`");
        }
    }
}
