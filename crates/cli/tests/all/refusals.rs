//! Directories in which no store may start: one clear line, exit code 78, and not a byte is written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::program::{PATIENCE, Up, code, free_ports, lamina, stderr, stdout};
use lamina_env::time;

/// What would show that something was written: of each file its inode, length, times, and the content of small ones.
fn picture(dir: &Path) -> BTreeMap<PathBuf, (u64, u64, [i64; 4], Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        let small = metadata.is_file() && metadata.len() < 64 << 10;
        let content = if small { fs::read(&path).unwrap() } else { Vec::new() };
        all.insert(path.clone(), (metadata.ino(), metadata.len(), times, content));
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all
}

/// Starts a store there, which must be refused.
fn refused(dir: &Path, form: &[&str]) -> String {
    let before = picture(dir);
    let output = lamina(&[&["up", "--listen", "127.0.0.1:0", "--dir", dir.to_str().unwrap()], form].concat());
    let line = stderr(&output);
    assert_eq!(code(&output), 78, "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("lamina: "), "{line}");
    assert!(output.stdout.is_empty());
    assert!(picture(dir) == before, "{}: something was written", dir.display());
    line
}

/// Both forms must refuse, for the same reason.
fn refused_in_both_forms(dir: &Path, why: &str) {
    for form in [&[][..], &["--processes"]] {
        let line = refused(dir, form);
        assert!(line.contains(why), "{form:?}: {line} does not speak of {why}");
    }
}

#[test]
fn what_is_no_directory_of_a_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    refused_in_both_forms(&file, "is no directory");
    fs::remove_file(file).unwrap();
    fs::write(dir.path().join("letters.txt"), "mine").unwrap();
    refused_in_both_forms(dir.path(), "letters.txt");
    fs::remove_file(dir.path().join("letters.txt")).unwrap();
    let volume = dir.path().join("frontend-0");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("letters.txt"), "mine").unwrap();
    refused_in_both_forms(dir.path(), "letters.txt");
    let doctor = lamina(&["doctor", dir.path().to_str().unwrap()]);
    assert_eq!(code(&doctor), 2, "{}", stderr(&doctor));
}

#[test]
fn a_directory_of_another_store_or_format_or_with_damage_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, other) = (dir.path().join("store"), dir.path().join("other"));
    Up::start(&store, free_ports(), &[]).kill();
    Up::start(&other, free_ports(), &[]).kill();

    // Of another cluster: one volume, and the record.
    let identity = |dir: &Path, node: &str| dir.join(node).join("identity");
    let foreign = fs::read(identity(&other, "data-1")).unwrap();
    let own = fs::read(identity(&store, "data-1")).unwrap();
    fs::write(identity(&store, "data-1"), &foreign).unwrap();
    refused_in_both_forms(&store, "name the directory of one store");
    // Of another role.
    fs::write(identity(&store, "data-1"), fs::read(identity(&store, "frontend-1")).unwrap()).unwrap();
    refused_in_both_forms(&store, "this is a data node");
    // Of a newer format: the level stands behind the eight bytes of the magic.
    let mut newer = own.clone();
    newer[8] += 1;
    fs::write(identity(&store, "data-1"), &newer).unwrap();
    refused_in_both_forms(&store, "start a newer version");
    // Damaged, in every field.
    for at in [0, 11, 30, 50, own.len() - 1] {
        let mut damaged = own.clone();
        damaged[at] ^= 4;
        fs::write(identity(&store, "data-1"), &damaged).unwrap();
        refused_in_both_forms(&store, "data-1");
    }
    fs::write(identity(&store, "data-1"), &own[..own.len() / 2]).unwrap();
    refused_in_both_forms(&store, "the identity file is damaged");
    fs::remove_file(identity(&store, "frontend-2")).unwrap();
    fs::write(identity(&store, "data-1"), &own).unwrap();
    refused_in_both_forms(&store, "no identity file");
    fs::copy(identity(&other, "frontend-2"), identity(&store, "frontend-2")).unwrap();
    refused_in_both_forms(&store, "name the directory of one store");

    // The record.
    let record = other.join("bootstrap.json");
    let good = fs::read(&record).unwrap();
    fs::write(&record, &good[..good.len() / 2]).unwrap();
    refused_in_both_forms(&other, "bootstrap.json is damaged");
    fs::remove_file(&record).unwrap();
    refused_in_both_forms(&other, "no bootstrap.json; put it back");
    fs::write(&record, &good).unwrap();
    for node in ["frontend-0", "frontend-1", "frontend-2", "data-0", "data-1", "data-2"] {
        fs::remove_dir_all(other.join(node)).unwrap();
    }
    refused_in_both_forms(&other, "VolumesLost");
}

/// A large process that was killed holds its files until its memory has been given back.
#[test]
fn a_store_starts_while_its_killed_process_still_lets_go_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    Up::start(dir.path(), free_ports(), &[]).kill();
    let held = fs::File::open(dir.path().join("LOCK")).unwrap();
    held.lock().unwrap();
    let dying = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        drop(held);
    });
    Up::start(dir.path(), free_ports(), &[]).kill();
    dying.join().unwrap();
}

#[test]
fn a_store_that_runs_keeps_a_second_one_out_and_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), free_ports(), &[]);
    assert_eq!(code(&up.lamina(&["put", "a", "1"])), 0);
    let names = || {
        let mut names: Vec<_> = picture(dir.path()).into_keys().collect();
        names.retain(|name| !name.to_string_lossy().contains("/log/"));
        names
    };
    for form in [&[][..], &["--processes"]] {
        let before = names();
        let second = lamina(
            &[&["up", "--listen", "127.0.0.1:0", "--dir", dir.path().to_str().unwrap()], form].concat(),
        );
        let line = stderr(&second);
        assert_eq!((code(&second), line.lines().count()), (78, 1), "{line}");
        assert!(line.contains("in use by another process"), "{line}");
        assert_eq!(names(), before);
    }
    let volume = dir.path().join("data-0");
    let node = lamina(&[
        "data",
        "--name",
        "data-0",
        "--listen",
        "127.0.0.1:0",
        "--seeds",
        &up.endpoint,
        "--dir",
        volume.to_str().unwrap(),
    ]);
    assert_eq!(code(&node), 78, "{}", stderr(&node));
    assert!(stderr(&node).contains("in use by another process"), "{}", stderr(&node));
    assert_eq!(stdout(&up.lamina(&["get", "a"])).trim_end(), "1");
    up.kill();
}

#[test]
fn processes_that_outlive_their_supervisor_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_ports();
    let up = Up::start(dir.path(), port, &["--processes"]);
    assert_eq!(code(&up.lamina(&["put", "a", "1"])), 0);
    // Its nodes notice a little later, and end by themselves.
    up.kill();
    let begun = time::now();
    let up = Up::start(dir.path(), port, &["--processes"]);
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(stdout(&up.lamina(&["get", "a"])).trim_end(), "1");
    up.kill();
}
