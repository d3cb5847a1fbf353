//! Reads the crates of the repository: every Rust file, parsed, and the tree of modules that they form.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemMod, Meta};

/// Directories with crates in them.
const SHELVES: [&str; 2] = ["crates", "services"];
/// Directories at the top that are crates themselves.
const TOPS: [&str; 3] = ["crds", "e2e", "operator"];
/// Directories of a crate whose files are tests.
const TEST_ROOMS: [&str; 4] = ["tests", "benches", "examples", "testing"];

/// One crate.
pub struct Crate {
    /// Its directory, from the root of the repository.
    pub directory: String,
    /// Its files.
    pub files: Vec<File>,
    /// Its modules under `src`, parents before children. Roots (`lib.rs`, `main.rs`) have no parent.
    pub modules: Vec<Module>,
    /// Files under `src` that no module declares.
    pub unreached: Vec<String>,
}

/// One Rust file.
pub struct File {
    /// Its path, from the root of the repository.
    pub path: String,
    /// What it says.
    pub text: String,
    /// What that means.
    pub parsed: syn::File,
    /// Whether the whole file is a test.
    pub is_test: bool,
    /// Lines of items that are compiled for tests only.
    pub test_lines: Vec<RangeInclusive<usize>>,
}

/// One module, in a file of its own or inline.
pub struct Module {
    /// Its name; for a root `crate`.
    pub name: String,
    /// The module that declares it.
    pub parent: Option<usize>,
    /// Its file, as a place in [`Crate::files`].
    pub file: usize,
    /// Its items.
    pub items: Vec<Item>,
    /// Whether it is compiled for tests only.
    pub is_test: bool,
}

impl File {
    /// Whether a line belongs to a test.
    #[must_use]
    pub fn in_test(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|lines| lines.contains(&line))
    }
}

/// All crates under `crates/` and `services/`, and those at the top.
///
/// # Errors
/// A file cannot be read or parsed.
pub fn read(root: &Path) -> anyhow::Result<Vec<Crate>> {
    let mut crates = Vec::new();
    let mut directories: Vec<PathBuf> = TOPS.iter().map(|top| root.join(top)).collect();
    for shelf in SHELVES {
        directories.append(&mut children(&root.join(shelf))?);
    }
    for directory in directories {
        if directory.join("Cargo.toml").exists() {
            crates.push(Reader::new(root, &directory).read()?);
        }
    }
    Ok(crates)
}

/// What is in a directory, by name; nothing if there is none.
///
/// # Errors
/// It cannot be read.
pub fn children(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Every file below a directory, but not what is built or generated.
///
/// # Errors
/// A directory cannot be read.
pub fn files_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in children(directory)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "generated" | "lamina-data") {
                files.append(&mut files_below(&path)?);
            }
        } else if name != ".git" {
            // (In a worktree `.git` is a file.)
            files.push(path);
        }
    }
    Ok(files)
}

/// A path as it is written in findings: from the root, with slashes.
#[must_use]
pub fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Whether an item is compiled for tests only.
#[must_use]
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    })
}

struct Reader<'a> {
    root: &'a Path,
    directory: &'a Path,
    files: Vec<File>,
    modules: Vec<Module>,
    reached: BTreeSet<PathBuf>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Path, directory: &'a Path) -> Reader<'a> {
        Reader { root, directory, files: Vec::new(), modules: Vec::new(), reached: BTreeSet::new() }
    }

    fn read(mut self) -> anyhow::Result<Crate> {
        let source = self.directory.join("src");
        let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
        roots.extend(children(&source.join("bin"))?.into_iter().filter(|path| is_rust(path)));
        for path in roots.into_iter().filter(|path| path.exists()) {
            self.module_file("crate".to_owned(), None, &path, &source, false)?;
        }
        for room in TEST_ROOMS {
            for path in files_below(&self.directory.join(room))?.into_iter().filter(|path| is_rust(path)) {
                if !self.reached.contains(&path) {
                    self.file(&path, true)?;
                }
            }
        }
        let mut unreached = Vec::new();
        for path in files_below(&source)?.into_iter().filter(|path| is_rust(path)) {
            if !self.reached.contains(&path) {
                unreached.push(relative(self.root, &path));
            }
        }
        let directory = relative(self.root, self.directory);
        Ok(Crate { directory, files: self.files, modules: self.modules, unreached })
    }

    fn file(&mut self, path: &Path, is_test: bool) -> anyhow::Result<usize> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        let mut test_lines = Vec::new();
        find_tests(&parsed.items, &mut test_lines);
        self.reached.insert(path.to_owned());
        self.files.push(File { path: relative(self.root, path), text, parsed, is_test, test_lines });
        Ok(self.files.len() - 1)
    }

    /// Reads a module in a file of its own; `below` is where its children's files lie.
    fn module_file(
        &mut self,
        name: String,
        parent: Option<usize>,
        path: &Path,
        below: &Path,
        is_test: bool,
    ) -> anyhow::Result<()> {
        let file = self.file(path, is_test)?;
        let items = self.files.get(file).map(|file| file.parsed.items.clone()).unwrap_or_default();
        self.module(Module { name, parent, file, items, is_test }, below)
    }

    fn module(&mut self, module: Module, below: &Path) -> anyhow::Result<()> {
        let declared: Vec<ItemMod> = module
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Mod(declared) => Some(declared.clone()),
                _ => None,
            })
            .collect();
        let (file, is_test) = (module.file, module.is_test);
        self.modules.push(module);
        let parent = Some(self.modules.len() - 1);
        for child in declared {
            let name = child.ident.to_string();
            let is_test = is_test || is_test_only(&child.attrs);
            match child.content {
                Some((_, items)) => {
                    self.module(
                        Module { name: name.clone(), parent, file, items, is_test },
                        &below.join(&name),
                    )?;
                }
                None => {
                    let path = self.path_of(&child.attrs, file, below, &name);
                    // A name without a file does not compile; the compiler says so better.
                    if path.exists() && !path.components().any(|part| part.as_os_str() == "generated") {
                        self.module_file(name.clone(), parent, &path, &below.join(&name), is_test)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn path_of(&self, attributes: &[Attribute], file: usize, below: &Path, name: &str) -> PathBuf {
        let given = attributes.iter().find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
        let here = self.files.get(file).map(|file| self.root.join(&file.path)).unwrap_or_default();
        let beside = here.parent().unwrap_or(below).to_owned();
        if let Some(given) = given {
            return std::fs::canonicalize(beside.join(&given)).unwrap_or(beside.join(given));
        }
        let plain = below.join(format!("{name}.rs"));
        if plain.exists() { plain } else { below.join(name).join("mod.rs") }
    }
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn find_tests(items: &[Item], found: &mut Vec<RangeInclusive<usize>>) {
    for item in items {
        let span = item.span();
        if is_test_only(attributes(item)) {
            found.push(span.start().line..=span.end().line);
        } else if let Item::Mod(ItemMod { content: Some((_, items)), .. }) = item {
            find_tests(items, found);
        }
    }
}

/// The attributes of an item; of macros and foreign code none are needed.
#[must_use]
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
