//! The command line from outside: what scripts rely on, as far as it needs no store.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// An address where nobody listens: port 1 of loopback.
const NOBODY: &str = "127.0.0.1:1";

fn lamina(arguments: &[&str]) -> Output {
    lamina_with(arguments, b"")
}

fn lamina_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lamina"))
        .args(arguments)
        .env_remove("LAMINA_ENDPOINT")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn wrong_arguments_end_with_2_and_say_what_is_right() {
    let cases: &[&[&str]] = &[
        &[],
        &["frobnicate"],
        &["put", "only-a-key"],
        &["get"],
        &["put", "k", "v", "--if-absent", "--if-present"],
        &["put", "k", "v", "--ttl", "10y"],
        &["put", "k", "v", "--from", "file"],
        &["scan", "--prefix", "a", "--from", "b"],
        &["scan", "--limit", "-1"],
        &["get", "--hex", "xyz"],
        &["get", "--hex", "--base64", "00"],
        &["get", "--base64", "a"],
        &["get", "k", "--endpoint", "nonsense"],
        &["bench", "nonsense"],
        &["bench", "--target", "mysql://a:1"],
        &["bench", "--key-bytes", "4"],
        &["bench", "scan", "--target", "redis://127.0.0.1:1"],
        &["status", "-o", "yaml"],
        &["up", "--listen", "nonsense"],
        &["frontend", "--name", "a"],
        &["explain", "NO_SUCH_REASON"],
        &["import", "/no/such/file.tsv"],
        &["import", "/"],
        &["doctor", "/no/such/directory"],
    ];
    for arguments in cases {
        let output = lamina(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
        assert!(output.stdout.is_empty(), "{arguments:?} writes a result: {}", stdout(&output));
    }
}

#[test]
fn where_nobody_listens_every_command_ends_with_3_and_one_line_that_says_where_it_looked() {
    let cases: &[(&[&str], &[u8])] = &[
        (&["put", "k", "v"], b""),
        (&["get", "k"], b""),
        (&["delete", "k"], b""),
        (&["scan"], b""),
        (&["batch"], b"put a 1\n"),
        (&["import", "-"], b"a\t1\n"),
        (&["export"], b""),
        (&["status"], b""),
        (&["probe"], b""),
        (&["bench", "read-random"], b""),
    ];
    for (arguments, input) in cases {
        let output =
            lamina_with(&[arguments, &["--endpoint", NOBODY, "--timeout", "300ms"][..]].concat(), input);
        let line = stderr(&output);
        assert_eq!(code(&output), 3, "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
        assert!(line.starts_with("lamina: ") && line.contains(NOBODY), "{arguments:?}: {line}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_bad_line_of_a_batch_or_an_import_is_named_before_anything_is_sent() {
    let output = lamina_with(&["batch", "--endpoint", NOBODY], b"put a 1\nfrobnicate b\n");
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("line 2 of the batch"), "{}", stderr(&output));
    let output = lamina_with(&["import", "-", "--endpoint", NOBODY], b"no tab here\n");
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("- line 1") || stderr(&output).contains("input line 1"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_endpoint_may_stand_in_the_environment_and_an_argument_wins() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lamina"))
            .args(arguments)
            .env("LAMINA_ENDPOINT", NOBODY)
            .output()
            .unwrap();
        stderr(&output)
    };
    assert!(run(&["get", "k", "--timeout", "200ms"]).contains(NOBODY));
    assert!(run(&["get", "k", "--timeout", "200ms", "--endpoint", "127.0.0.1:2"]).contains("127.0.0.1:2"));
}

#[test]
fn reasons_are_explained_one_or_all() {
    let one = lamina(&["explain", "key_empty"]);
    assert_eq!(code(&one), 0);
    assert!(stdout(&one).starts_with("KEY_EMPTY\nThe key is empty"), "{}", stdout(&one));
    let all = lamina(&["explain"]);
    assert!(stdout(&all).lines().count() > 30);
    let near = lamina(&["explain", "KEY_EMPTI"]);
    assert!(
        stderr(&near).contains("did you mean") && stderr(&near).contains("KEY_EMPTY"),
        "{}",
        stderr(&near)
    );
}

#[test]
fn the_version_and_completions_are_printed() {
    for arguments in [&["version"], &["--version"]] {
        assert_eq!(stdout(&lamina(arguments)).trim(), concat!("lamina ", env!("CARGO_PKG_VERSION")));
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = lamina(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("lamina"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lamina"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn a_store_is_refused_where_something_else_lies() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("frontend-0");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("letters.txt"), "mine").unwrap();
    let output = lamina(&["up", "--dir", dir.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), 78, "{}", stderr(&output));
    assert!(stderr(&output).contains("letters.txt"), "{}", stderr(&output));
    let doctor = lamina(&["doctor", dir.path().to_str().unwrap()]);
    assert_eq!(code(&doctor), 2, "{}", stderr(&doctor));
}

#[test]
fn help_fits_in_80_columns() {
    for arguments in
        [&["--help"][..], &["put", "--help"], &["scan", "--help"], &["bench", "--help"], &["up", "--help"]]
    {
        let output = lamina(arguments);
        assert_eq!(code(&output), 0);
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
}
