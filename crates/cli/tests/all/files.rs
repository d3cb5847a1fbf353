//! `import` and `export`: what went in comes out, whatever happens in between.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use crate::program::{PATIENCE, Up, code, command, free_ports, lamina, lamina_with, stderr, stdout, until};
use lamina_env::time;

/// Rows in the order of their keys.
fn rows(count: u32) -> String {
    (0..count).map(|n| format!("row/{n:07}\tvalue {n} {}\n", "y".repeat((n % 50) as usize))).collect()
}

fn exported(up: &Up, to: &Path) -> String {
    let output = up.lamina(&["export", "--quiet", "--prefix", "row/", to.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    fs::read_to_string(to).unwrap()
}

#[test]
fn what_was_imported_comes_out_the_same_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let (file, out) = (dir.path().join("rows.tsv"), dir.path().join("out.tsv"));
    let rows = rows(30_000);
    fs::write(&file, &rows).unwrap();
    let up = Up::start(&store, port, &["--memtables", "6MiB"]);
    let import = up.lamina(&["import", file.to_str().unwrap()]);
    assert_eq!(code(&import), 0, "{}", stderr(&import));
    up.kill();
    let up = Up::start(&store, port, &[]);
    assert!(exported(&up, &out) == rows, "the same comes out");
    up.kill();
}

/// The number behind `--skip`.
fn skip(words: &str) -> u32 {
    let (_, behind) = words.split_once("--skip ").unwrap_or_else(|| panic!("{words} says how to go on"));
    behind.trim().parse().unwrap_or_else(|_| panic!("{words} ends with a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_ends_early_says_how_to_go_on_and_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let (file, out) = (dir.path().join("rows.tsv"), dir.path().join("out.tsv"));
    let rows = rows(20_000);
    fs::write(&file, &rows).unwrap();
    let begin = |up: &Up, from: u32| {
        let skipped = from.to_string();
        let arguments = ["import", "-", "--skip", &skipped, "--timeout", "2s", "--endpoint", &up.endpoint];
        let mut import = command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
        // More rows follow never: it waits for them.
        let upto = if from == 0 { rows.len() / 3 } else { 2 * rows.len() / 3 };
        let input = import.stdin.as_mut().unwrap();
        input.write_all(&rows.as_bytes()[..upto]).unwrap();
        input.flush().unwrap();
        import
    };
    let up = Up::start(&store, port, &["--memtables", "6MiB"]);
    let stored = async |up: &Up, row: &str| {
        let row = row.to_owned();
        until("the row is stored", async || up.client(5).get(row.clone()).await.unwrap()).await;
        // The importer gets its answers in the order of its batches, and soon: meanwhile the store answers others.
        for _ in 0..50 {
            up.client(5).put("other", "work").await.unwrap();
        }
    };

    // Ctrl-C in the middle.
    let mut import = begin(&up, 0);
    stored(&up, "row/0005000").await;
    let interrupt = std::process::Command::new("kill").args(["-INT", &import.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let mut words = String::new();
    import.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(import.wait().unwrap().code(), Some(130), "{words}");
    let first = skip(&words);
    assert!((1..20_000).contains(&first), "{words}");

    // The store is killed in the middle.
    let import = begin(&up, first);
    stored(&up, "row/0012000").await;
    up.kill();
    let mut import = import;
    // It notices when it sends on.
    let rest = &rows.as_bytes()[2 * rows.len() / 3..];
    import.stdin.take().unwrap().write_all(rest).ok();
    let output = import.wait_with_output().unwrap();
    let words = stderr(&output);
    assert_eq!((code(&output), words.lines().count()), (3, 1), "{words}");
    let second = skip(&words);
    assert!((first..20_000).contains(&second), "{words}");

    let up = Up::start(&store, port, &[]);
    let go_on = ["import", file.to_str().unwrap(), "--skip", &second.to_string()].map(str::to_owned);
    let go_on: Vec<&str> = go_on.iter().map(String::as_str).collect();
    let output = lamina(&[&go_on[..], &["--endpoint", &up.endpoint]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(exported(&up, &out) == rows, "nothing is missing, and nothing stands twice");
    up.kill();
}

#[test]
fn the_doctor_looks_at_checkpoints_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let checkpoints = || {
        let mut found = Vec::new();
        let replicas = fs::read_dir(store.join("frontend-1/log/replicas")).unwrap();
        for file in replicas.flat_map(|replica| fs::read_dir(replica.unwrap().path()).unwrap()) {
            let path = file.unwrap().path();
            found.extend(path.extension().is_some_and(|end| end == "checkpoint").then_some(path));
        }
        found
    };
    // A checkpoint is due when the log has grown by twice that.
    let up = Up::start(&store, port, &["--memtables", "6MiB"]);
    let row = format!("k{{n}}\t{}\n", "z".repeat(100_000));
    let rows: String = (0..200).map(|n| row.replace("{n}", &n.to_string())).collect();
    let import = lamina_with(&["import", "-", "--quiet", "--endpoint", &up.endpoint], rows.as_bytes());
    assert_eq!(code(&import), 0, "{}", stderr(&import));
    let deadline = time::now() + PATIENCE;
    while checkpoints().is_empty() {
        assert!(time::now() < deadline, "no checkpoint was made");
        std::thread::yield_now();
    }
    up.kill();
    let doctor = || lamina(&["doctor", store.to_str().unwrap()]);
    assert_eq!(code(&doctor()), 0, "{}", stdout(&doctor()));
    let path = checkpoints().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = doctor();
    assert_eq!(code(&found), 5, "{}", stdout(&found));
    assert!(stdout(&found).contains(path.to_str().unwrap()), "{}", stdout(&found));
}
