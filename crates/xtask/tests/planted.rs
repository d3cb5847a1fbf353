//! A small house that is in order, and one broken rule planted at a time: tidy finds it, and where.

use std::path::Path;

use xtask::tidy::{self, Finding, Weight};

const ARCHITECTURE: &str = "\
# Map

`crates/low/src/lib.rs` is there.

| crate | may import (ours) | never sees |
|---|---|---|
| low | – | tokio, tonic* |
| high | low | – |
";

/// A house in order, with some files in other words; an empty text takes a file away.
fn findings(changes: &[(&str, &str)]) -> Vec<Finding> {
    let house = tempfile::tempdir().unwrap();
    let manifest = |name: &str, dependencies: &str| {
        format!(
            "[package]\nname = \"lamina-{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [lints]\nworkspace = true\n\n[dependencies]\n{dependencies}"
        )
    };
    let high = manifest("high", "lamina-low = { path = \"../low\" }\n");
    let files = [
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n[workspace.lints.rust]\n"),
        ("ARCHITECTURE.md", ARCHITECTURE),
        ("LICENSE", "Apache License, Version 2.0\n"),
        ("crates/low/Cargo.toml", &manifest("low", "")),
        ("crates/low/src/lib.rs", "//! Low.\npub mod base;\npub mod roof;\npub mod wall;\n"),
        ("crates/low/src/base.rs", "pub struct Stone;\n"),
        ("crates/low/src/wall.rs", "use crate::base::Stone;\npub fn wall(_: Stone) {}\n"),
        ("crates/low/src/roof.rs", "pub use super::wall::wall;\n"),
        ("crates/high/Cargo.toml", &high),
        ("crates/high/src/lib.rs", "//! High.\n"),
    ];
    for (path, text) in files.iter().chain(changes) {
        write(&house.path().join(path), text);
    }
    tidy::check(house.path()).unwrap()
}

fn write(path: &Path, text: &str) {
    if text.is_empty() {
        std::fs::remove_file(path).unwrap();
        return;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The only broken rule of a house with these changes.
fn only(changes: &[(&str, &str)]) -> (String, usize, String) {
    let found = findings(changes);
    let mut refused = found.iter().filter(|it| it.weight == Weight::Refused);
    let first = refused.next().unwrap_or_else(|| panic!("nothing was found in {changes:?}"));
    assert_eq!(refused.next(), None, "more than one rule is broken: {found:?}");
    (first.path.clone(), first.line, first.what.clone())
}

fn lib(with: &str) -> (&'static str, &'static str) {
    let text = format!("//! High.\n{with}");
    ("crates/high/src/lib.rs", Box::leak(text.into_boxed_str()))
}

#[test]
fn a_house_in_order_gives_no_cause() {
    assert_eq!(findings(&[]), []);
}

#[test]
fn a_file_may_have_600_lines_and_not_one_more() {
    let lines = |count: usize| "pub fn f() {}\n".repeat(count);
    let warned = findings(&[("crates/high/src/lib.rs", &lines(600))]);
    assert_eq!(warned.iter().map(|it| it.weight).collect::<Vec<_>>(), [Weight::Warned]);
    let (path, _, what) = only(&[("crates/high/src/lib.rs", &lines(601))]);
    assert_eq!((path.as_str(), what.as_str()), ("crates/high/src/lib.rs", "601 lines of production code"));
}

#[test]
fn tests_inside_a_file_are_no_production_code_but_have_a_bound_of_their_own() {
    let code = "pub fn f() {}\n".repeat(400);
    let tests =
        |count: usize| format!("{code}#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(count));
    assert_eq!(findings(&[("crates/high/src/lib.rs", &tests(147))]), []);
    let (_, line, what) = only(&[("crates/high/src/lib.rs", &tests(148))]);
    assert_eq!((line, what.as_str()), (401, "the test module `tests` has 151 lines"));
}

#[test]
fn a_function_may_have_70_lines_and_braces_in_strings_do_not_count() {
    let function = |count: usize| format!("fn f() {{\n{}}}\n", "    drop(\"}\"); // }\n".repeat(count));
    assert_eq!(findings(&[lib(&function(68))]), []);
    let (_, line, what) = only(&[lib(&function(69))]);
    assert_eq!((line, what.as_str()), (2, "the function `f` has 71 lines"));
    let in_test = findings(&[lib(&format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(69)))]);
    assert_eq!(in_test.iter().map(|it| it.weight).collect::<Vec<_>>(), [Weight::Warned]);
    let method = format!("struct S;\nimpl S {{\n{}}}\n", function(69));
    assert_eq!(only(&[lib(&method)]).1, 4);
}

#[test]
fn files_named_mod_and_modules_whose_names_say_nothing_are_found() {
    let (path, _, what) = only(&[lib("mod room;\n"), ("crates/high/src/room/mod.rs", "fn f() {}\n")]);
    assert_eq!((path.as_str(), what.as_str()), ("crates/high/src/room/mod.rs", "a file named `mod.rs`"));
    for name in ["util", "common", "helper", "misc"] {
        let declared = format!("mod {name} {{}}\n");
        assert_eq!(only(&[lib(&declared)]).2, format!("a module named `{name}`"));
    }
}

#[test]
fn a_crate_at_the_top_of_the_repository_is_read_like_any_other() {
    let manifest = "[package]\nname = \"top\"\nversion = \"0.1.0\"\n";
    let (path, _, what) =
        only(&[("crds/Cargo.toml", manifest), ("crds/src/lib.rs", "//! Top.\nmod util {}\n")]);
    assert_eq!((path.as_str(), what.as_str()), ("crds/src/lib.rs", "a module named `util`"));
}

#[test]
fn a_file_that_no_module_declares_is_found() {
    let (path, _, what) = only(&[("crates/high/src/lost.rs", "fn f() {}\n")]);
    assert_eq!((path.as_str(), what.as_str()), ("crates/high/src/lost.rs", "no `mod` leads to this file"));
}

#[test]
fn glob_imports_are_for_tests_only() {
    assert_eq!(only(&[lib("use std::fmt::*;\n")]).2, "a glob import outside tests");
    assert_eq!(only(&[lib("fn f() {\n    use std::{fmt::*, io};\n}\n")]).1, 3);
    assert_eq!(findings(&[lib("#[cfg(test)]\nmod tests {\n    use super::*;\n}\n")]), []);
    let own_file = ("crates/high/src/tests.rs", "use super::*;\n");
    assert_eq!(findings(&[lib("#[cfg(test)]\nmod tests;\n"), own_file]), []);
    assert_eq!(findings(&[("crates/high/tests/all.rs", "use std::fmt::*;\n")]), []);
}

#[test]
fn what_stands_for_something_absent_is_found() {
    assert_eq!(only(&[lib("fn f() {\n    todo!()\n}\n")]).2, "`todo!`");
    assert_eq!(only(&[lib("fn f() {\n    assert!(g(unimplemented!()));\n}\n")]).2, "`unimplemented!`");
    assert_eq!(only(&[lib("#[test]\n#[ignore]\nfn f() {}\n")]).2, "a test that is never run");
    let why = "#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore = \"slow\"]\n    fn f() {}\n}\n";
    assert_eq!(only(&[lib(why)]).1, 5);
}

#[test]
fn marks_are_found_in_comments_and_only_there() {
    let marks = [["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let comments =
        [("// @: later\n", 2), ("/// @ later.\nfn f() {}\n", 2), ("fn f() {\n    /* @ */\n}\n", 3)];
    for mark in &marks {
        for (comment, at) in comments {
            let (_, line, what) = only(&[lib(&comment.replace('@', mark))]);
            assert_eq!((line, what), (at, format!("a comment says {mark}")));
        }
        let elsewhere = format!("const MARK: &str = \"{mark}\";\n// A{mark} is none.\n");
        assert_eq!(findings(&[lib(&elsewhere)]), []);
    }
}

#[test]
fn paths_of_one_machine_are_found_in_every_text() {
    for name in ["work", "root", "home"] {
        let line = format!("see /{name}/me/notes\n");
        let (path, line, what) = only(&[("docs/notes.md", &line)]);
        assert_eq!((path.as_str(), line), ("docs/notes.md", 1));
        assert!(what.starts_with(&format!("the path /{name} ")), "{what}");
    }
    let fine = "[home](https://example.org/home/x) and $HOME/x and docs/home/x and /rooted\n";
    assert_eq!(findings(&[("docs/notes.md", fine)]), []);
}

#[test]
fn modules_side_by_side_that_import_each_other_are_found() {
    let (path, line, what) =
        only(&[("crates/low/src/base.rs", "pub struct Stone;\nuse crate::wall::wall;\n")]);
    assert_eq!((path.as_str(), line), ("crates/low/src/base.rs", 2));
    assert!(what.contains("base → wall") && what.contains("wall → base"), "{what}");
}

#[test]
fn a_circle_is_found_through_re_exports_paths_macros_and_at_every_height() {
    // roof re-exports wall's function, so base depends on wall, not only on roof.
    let through = "pub struct Stone;\npub fn f() {\n    let _ = crate::roof::wall;\n}\n";
    assert!(only(&[("crates/low/src/base.rs", through)]).2.contains("base → wall"));
    let within = "pub struct Stone;\npub fn f() {\n    assert_eq!(crate::wall::wall(Stone), ());\n}\n";
    assert!(only(&[("crates/low/src/base.rs", within)]).2.contains("base → wall"));
    let deep = [
        lib("mod room;\n"),
        ("crates/high/src/room.rs", "mod bed;\nmod desk;\n"),
        ("crates/high/src/room/bed.rs", "pub struct Bed;\npub fn f() {\n    super::desk::f(Bed);\n}\n"),
        ("crates/high/src/room/desk.rs", "pub fn f(_: super::bed::Bed) {}\n"),
    ];
    let (path, _, what) = only(&deep);
    assert!(path.starts_with("crates/high/src/room/") && what.contains("bed → desk"), "{path}: {what}");
}

#[test]
fn a_parent_with_its_children_and_tests_with_anything_are_no_circle() {
    let family = [
        lib("mod room;\n"),
        ("crates/high/src/room.rs", "mod bed;\npub use bed::Bed;\npub struct Room(Bed);\n"),
        ("crates/high/src/room/bed.rs", "use super::Room;\npub struct Bed(pub Option<Box<Room>>);\n"),
    ];
    assert_eq!(findings(&family), []);
    let tests = "pub struct Stone;\n#[cfg(test)]\nmod tests {\n    use crate::wall::wall;\n}\n";
    assert_eq!(findings(&[("crates/low/src/base.rs", tests)]), []);
}

#[test]
fn an_import_that_the_table_does_not_allow_is_found() {
    let table = ARCHITECTURE.replace("| high | low |", "| high | – |");
    let (path, _, what) = only(&[("ARCHITECTURE.md", &table)]);
    assert_eq!(path, "crates/high/Cargo.toml");
    assert!(what.starts_with("`high` imports `low`"), "{what}");
    let kept_out = "[package]\nname = \"lamina-low\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lints]\n\
                    workspace = true\n\n[dependencies]\ntonic-health = \"1\"\n\n[dev-dependencies]\ntokio = \"1\"\n";
    let (_, _, what) = only(&[("crates/low/Cargo.toml", kept_out)]);
    assert!(what.starts_with("`low` uses `tonic-health`"), "{what}");
}

#[test]
fn the_table_has_a_row_for_every_crate_and_no_other_and_no_more_than_is_used() {
    let without = ARCHITECTURE.replace("| high | low | – |\n", "");
    assert!(only(&[("ARCHITECTURE.md", &without)]).2.contains("no row for `high`"));
    let more = format!("{ARCHITECTURE}| gone | low | – |\n");
    assert!(only(&[("ARCHITECTURE.md", &more)]).2.contains("`gone`, which is no crate"));
    let unused = ARCHITECTURE.replace("| low | – |", "| low | high |");
    let found = findings(&[("ARCHITECTURE.md", &unused)]);
    assert_eq!(found.iter().map(|it| it.weight).collect::<Vec<_>>(), [Weight::Warned]);
}

#[test]
fn a_crate_with_lints_of_its_own_is_found() {
    let bare = "[package]\nname = \"lamina-low\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let (path, _, what) = only(&[("crates/low/Cargo.toml", bare)]);
    assert_eq!(
        (path.as_str(), what.as_str()),
        ("crates/low/Cargo.toml", "it does not take the workspace's lints")
    );
}

#[test]
fn documents_name_only_what_is_there() {
    let gone = ARCHITECTURE.replace("`crates/low/src/lib.rs`", "`crates/low/src/{lib,gone}.rs`");
    let (path, line, what) = only(&[("ARCHITECTURE.md", &gone)]);
    assert_eq!((path.as_str(), line), ("ARCHITECTURE.md", 3));
    assert_eq!(what, "`crates/low/src/gone.rs` does not exist");
    let (_, line, what) = only(&[("docs/page.md", "fine\nsee [it](gone.md#part)\n")]);
    assert_eq!((line, what.as_str()), (2, "`gone.md` does not exist"));
    let there = "see [it](../LICENSE), [that](https://example.org), `crates/*`, `crates/low`\n";
    assert_eq!(findings(&[("docs/page.md", there)]), []);
}

#[test]
fn a_comment_that_names_a_document_is_held_to_it() {
    let gone = ["docs", "formats/gone.md"].join("/");
    let (path, line, what) = only(&[lib(&format!("\n// Bytes: {gone}.\nfn f() {{}}\n"))]);
    assert_eq!((path.as_str(), line), ("crates/high/src/lib.rs", 3));
    assert_eq!(what, format!("`{gone}` does not exist"));
}

#[test]
fn the_map_stays_short_and_the_licence_stays() {
    let long = format!("{ARCHITECTURE}{}", "\nmore\n".repeat(100));
    assert!(only(&[("ARCHITECTURE.md", &long)]).2.contains("lines"));
    assert_eq!(only(&[("LICENSE", "")]).2, "the licence is not there");
    assert_eq!(only(&[("ARCHITECTURE.md", "")]).2, "it is not there");
}
