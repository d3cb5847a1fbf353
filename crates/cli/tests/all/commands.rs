//! The command line from outside: what scripts rely on, as far as it needs no store.

use std::process::{Command, Stdio};

use crate::program::{NOBODY, Up, code, free_ports, lamina, lamina_with, stderr, stdout};

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

#[test]
fn an_endpoint_that_cannot_be_reached_is_one_sentence_without_the_words_of_the_transport() {
    let output = lamina(&["get", "k", "--endpoint", NOBODY, "--timeout", "300ms"]);
    let line = stderr(&output);
    assert!(line.contains("127.0.0.1:1 cannot be reached: Connection refused"), "{line}");
    for word in ["transport error", "tcp connect error", "os error", "hyper", "tonic"] {
        assert!(!line.contains(word), "{line}");
    }
}

#[test]
fn a_condition_that_fails_is_named_by_its_key_and_version() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), free_ports(), &[]);
    let put = up.lamina(&["put", "a\tb", "1", "--output", "json"]);
    assert_eq!(code(&put), 0, "{}", stderr(&put));
    let version: String = stdout(&put).chars().filter(char::is_ascii_digit).collect();
    let cases: &[(&[&str], &str)] = &[
        (&["put", "a\tb", "2", "--if-absent"], "was expected to be absent, and it has version"),
        (&["put", "a\tb", "2", "--if-version", "7"], "was expected to have version 7, and it has version"),
        (&["delete", "a\tb", "--if-version", "7"], "was expected to have version 7, and it has version"),
    ];
    for (arguments, said) in cases {
        let output = up.lamina(arguments);
        let line = stderr(&output);
        assert_eq!((code(&output), line.lines().count()), (1, 1), "{arguments:?}: {line}");
        assert!(
            line.contains(said) && line.contains(&version) && line.contains("CONDITION_FAILED"),
            "{line}"
        );
        assert!(line.contains(r"a\tb"), "{line}");
    }
    let batch = lamina_with(&["batch", "--endpoint", &up.endpoint], b"put c 1\nif-absent d\nif-present e\n");
    let line = stderr(&batch);
    assert_eq!(code(&batch), 1, "{line}");
    assert!(line.contains("the key e was expected to be there, and it is absent"), "{line}");
    assert_eq!(code(&up.lamina(&["get", "c"])), 1);
    up.kill();
}

/// A manifest of the documentation.
const DEVELOPMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/development.yaml");

#[test]
fn a_store_starts_by_the_manifest_that_kubectl_takes_and_says_later_what_it_cannot_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let up = Up::start(&store, free_ports(), &["-f", DEVELOPMENT]);
    let status: serde_json::Value =
        serde_json::from_str(&stdout(&up.lamina(&["status", "-o", "json"]))).unwrap();
    for role in ["frontends", "index", "data"] {
        assert_eq!(status[role]["expected"], 1, "{status}");
    }
    assert_eq!(code(&up.lamina(&["put", "a", "1"])), 0);
    up.kill();
    let larger = dir.path().join("larger.yaml");
    std::fs::write(
        &larger,
        "kind: StorageCluster\napiVersion: lamina.dev/v1alpha1\nmetadata: {name: a}\nspec: {}\n",
    )
    .unwrap();
    let up = Up::start(&store, free_ports(), &["-f", larger.to_str().unwrap()]);
    assert_eq!(stdout(&up.lamina(&["get", "a"])), "1");
    assert!(Command::new("kill").args(["-TERM", &up.pid().to_string()]).status().unwrap().success());
    let (exit, said) = up.end();
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains(
            "cannot be changed yet: profile is Development, not Production, frontend.replicas is 1, not 3"
        ),
        "{said}"
    );
}

#[test]
fn a_manifest_that_kubectl_would_refuse_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, file) = (dir.path().join("store"), dir.path().join("store.yaml"));
    let arguments = ["up", "--dir", store.to_str().unwrap(), "-f", file.to_str().unwrap()];
    let head = "apiVersion: lamina.dev/v1alpha1\nkind: StorageCluster\nmetadata: {name: a}\nspec: ";
    for (text, why) in [
        (format!("{head}{{frontend: {{replicas: 0}}}}"), "spec.frontend.replicas"),
        (format!("{head}{{index: {{nodes: 3}}}}"), "spec.index.nodes"),
        ("kind: Pod".to_owned(), "there is no StorageCluster in this text"),
        ("a: [".to_owned(), "this is no valid YAML"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = lamina(&arguments);
        assert_eq!((code(&output), stderr(&output).lines().count()), (2, 1), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{why}: {}", stderr(&output));
        assert!(!store.exists(), "{why}");
    }
}
