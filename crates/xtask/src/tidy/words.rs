//! Names and words: what must not stand in the code, and where it must not.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemUse, Macro, UseTree};

use crate::tidy::finding::Finding;
use crate::tidy::source::{Crate, File, files_below, relative};

/// Names of modules that say nothing.
const EMPTY_NAMES: [&str; 9] =
    ["util", "utils", "common", "commons", "helper", "helpers", "misc", "miscellaneous", "utilities"];
/// Macros that stand for something that is not there.
const ABSENT: [&str; 2] = ["todo", "unimplemented"];
/// Marks of something that is not finished. Written in halves, because this file is checked too.
const MARKS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];
/// Directories at the root of somebody's machine.
const MACHINE: [&str; 3] = ["work", "root", "home"];
/// What is read for paths of one machine.
const TEXTS: [&str; 10] = ["rs", "md", "toml", "yaml", "yml", "json", "proto", "sh", "service", "tpl"];

/// Reads the code of a crate.
pub fn check(one: &Crate, findings: &mut Vec<Finding>) {
    for path in &one.unreached {
        findings.push(Finding::refused(path, 0, "no `mod` leads to this file", "declare it, or delete it"));
    }
    for module in &one.modules {
        let Some(file) = one.files.get(module.file) else { continue };
        if EMPTY_NAMES.contains(&module.name.as_str()) {
            let mend = "call it after what it holds";
            findings.push(Finding::refused(&file.path, 0, format!("a module named `{}`", module.name), mend));
        }
    }
    for file in &one.files {
        if file.path.ends_with("/mod.rs") {
            let mend = "name the file after its module, beside its directory: `foo.rs` and `foo/`";
            findings.push(Finding::refused(&file.path, 0, "a file named `mod.rs`", mend));
        }
        Code { file, findings }.visit_file(&file.parsed);
        comments(file, findings);
    }
}

struct Code<'a> {
    file: &'a File,
    findings: &'a mut Vec<Finding>,
}

impl Code<'_> {
    fn refuse(&mut self, line: usize, what: &str, mend: &str) {
        self.findings.push(Finding::refused(&self.file.path, line, what, mend));
    }
}

impl<'ast> Visit<'ast> for Code<'_> {
    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        let line = import.span().start().line;
        if has_glob(&import.tree) && !self.file.in_test(line) {
            self.refuse(line, "a glob import outside tests", "name what is imported");
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("ignore") {
            let line = attribute.span().start().line;
            self.refuse(line, "a test that is never run", "mend it, or delete it");
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        let mut found = calls_within(call.tokens.clone());
        if ABSENT.contains(&name.as_str()) {
            found.push((call.path.span().start().line, name));
        }
        for (line, name) in found {
            if self.file.in_test(line) {
                continue;
            }
            self.refuse(line, &format!("`{name}!`"), "write it, or leave the feature out and say so");
        }
        visit::visit_macro(self, call);
    }
}

fn has_glob(tree: &UseTree) -> bool {
    match tree {
        UseTree::Glob(_) => true,
        UseTree::Path(path) => has_glob(&path.tree),
        UseTree::Group(group) => group.items.iter().any(has_glob),
        UseTree::Name(_) | UseTree::Rename(_) => false,
    }
}

/// Calls of forbidden macros inside another macro's tokens, which are not parsed as code.
fn calls_within(tokens: TokenStream) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut before: Option<(usize, String)> = None;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                found.append(&mut calls_within(group.stream()));
                before = None;
            }
            TokenTree::Punct(punct) if punct.as_char() == '!' => found.extend(before.take()),
            TokenTree::Ident(ident) if ABSENT.contains(&ident.to_string().as_str()) => {
                before = Some((ident.span().start().line, ident.to_string()));
            }
            _ => before = None,
        }
    }
    found
}

/// Marks in comments: in everything that is no token, and in doc comments.
fn comments(file: &File, findings: &mut Vec<Finding>) {
    let Ok(tokens) = file.text.parse::<TokenStream>() else { return };
    let mut code = vec![false; file.text.len()];
    cover(tokens, &file.text, &mut code);
    let mut from = 0;
    for (number, line) in file.text.split_inclusive('\n').enumerate() {
        let plain: String = line
            .char_indices()
            .map(|(at, letter)| if code.get(from + at).copied().unwrap_or(false) { ' ' } else { letter })
            .collect();
        from += line.len();
        for mark in MARKS {
            if plain
                .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .any(|word| word == mark)
            {
                findings.push(Finding::refused(
                    &file.path,
                    number + 1,
                    format!("a comment says {mark}"),
                    "mend it, or write down as a fact what is missing",
                ));
            }
        }
    }
}

/// Marks the bytes of all tokens. A doc comment comes as tokens that lie where the comment does: it stays a comment.
fn cover(tokens: TokenStream, text: &str, code: &mut [bool]) {
    for token in tokens {
        if let TokenTree::Group(group) = token {
            cover(group.stream(), text, code);
            continue;
        }
        let range = token.span().byte_range();
        let is_comment =
            text.get(range.clone()).is_some_and(|it| it.starts_with("//") || it.starts_with("/*"));
        if let (false, Some(bytes)) = (is_comment, code.get_mut(range)) {
            bytes.fill(true);
        }
    }
}

/// Reads every text of the repository for paths that exist on one machine only.
///
/// # Errors
/// A file cannot be read.
pub fn check_texts(root: &Path, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for path in files_below(root)? {
        let known = path.extension().is_none_or(|extension| TEXTS.contains(&&*extension.to_string_lossy()));
        if !known {
            continue;
        }
        let Ok(text) = String::from_utf8(std::fs::read(&path)?) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = machine_path(line) {
                findings.push(Finding::refused(
                    &relative(root, &path),
                    number + 1,
                    format!("the path /{found} exists on one machine only"),
                    "write it from the root of the repository, or take it from the environment",
                ));
            }
        }
    }
    Ok(())
}

fn machine_path(line: &str) -> Option<&'static str> {
    MACHINE.into_iter().find(|name| {
        line.match_indices(&format!("/{name}")).any(|(at, found)| {
            let before = line.get(..at).and_then(|before| before.chars().next_back());
            let after = line.get(at + found.len()..).and_then(|after| after.chars().next());
            let starts =
                before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-/$}*~>".contains(letter));
            starts && after.is_none_or(|letter| !letter.is_alphanumeric() && !"_-.".contains(letter))
        })
    })
}
