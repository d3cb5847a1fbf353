//! No import cycle between modules that stand side by side.
//!
//! A crate is a tree of modules. Where two modules meet, in the module that holds both, an import of anything below the
//! one from anything below the other is an arrow between them; these arrows must not run in a circle, at any height of the
//! tree. What a module shares with its own children is one thought cut into files, and no arrow. Names are followed
//! through re-exports to where they are defined. Tests may import as they like.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, Macro, Path, UseTree};

use crate::tidy::finding::Finding;
use crate::tidy::source::{Crate, attributes, is_test_only};

/// How many re-exports are followed for one name.
const HOPS_MAX: usize = 8;

/// Where a name comes from: path segments and the line.
struct Mention {
    segments: Vec<String>,
    line: usize,
}

/// An arrow between two modules, and one place that draws it.
type Arrows = BTreeMap<(usize, usize), (usize, usize)>;

/// Looks for cycles in a crate.
pub fn check(one: &Crate, findings: &mut Vec<Finding>) {
    let names = Names::of(one);
    let mut arrows_in: BTreeMap<usize, Arrows> = BTreeMap::new();
    for (at, module) in one.modules.iter().enumerate().filter(|(_, module)| !module.is_test) {
        for mention in mentions(&module.items) {
            let Some(target) = names.resolve(at, &mention.segments, HOPS_MAX) else { continue };
            if let Some((holder, from, to)) = names.meet(at, target) {
                arrows_in.entry(holder).or_default().entry((from, to)).or_insert((at, mention.line));
            }
        }
    }
    for arrows in arrows_in.values() {
        for circle in circles(arrows) {
            findings.push(describe(one, arrows, &circle));
        }
    }
}

fn describe(one: &Crate, arrows: &Arrows, circle: &BTreeSet<usize>) -> Finding {
    let name = |at: &usize| one.modules.get(*at).map_or("?", |module| module.name.as_str());
    let path = |at: usize| {
        let file = one.modules.get(at).and_then(|module| one.files.get(module.file));
        file.map_or("?", |file| file.path.as_str())
    };
    let inner = arrows.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
    let told: Vec<String> = inner
        .clone()
        .map(|((from, to), (at, line))| format!("{} → {} ({}:{line})", name(from), name(to), path(*at)))
        .collect();
    let (at, line) = inner.map(|(_, place)| *place).next().unwrap_or_default();
    Finding::refused(
        path(at),
        line,
        format!("modules import each other in a circle: {}", told.join(", ")),
        "move what both need below both, or hand the answer over instead of the house",
    )
}

/// Sets of modules each of which reaches every other.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<usize>> {
    let nodes: BTreeSet<usize> = arrows.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let reach: BTreeMap<usize, BTreeSet<usize>> = nodes.iter().map(|node| (*node, reached(arrows, *node))).collect();
    let reaches = |from: usize, to: usize| reach.get(&from).is_some_and(|set| set.contains(&to));
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for node in nodes.iter().copied() {
        let circle: BTreeSet<usize> =
            nodes.iter().copied().filter(|other| reaches(node, *other) && reaches(*other, node)).collect();
        if circle.len() > 1 && done.insert(circle.clone()) {
            found.push(circle);
        }
    }
    found
}

fn reached(arrows: &Arrows, from: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for (_, to) in arrows.keys().filter(|(start, _)| *start == node) {
            if seen.insert(*to) {
                open.push(*to);
            }
        }
    }
    seen
}

/// Which module holds what.
struct Names {
    parents: Vec<Option<usize>>,
    children: Vec<BTreeMap<String, usize>>,
    exports: Vec<BTreeMap<String, Vec<String>>>,
}

impl Names {
    fn of(one: &Crate) -> Names {
        let count = one.modules.len();
        let mut children = vec![BTreeMap::new(); count];
        for (at, module) in one.modules.iter().enumerate() {
            if let Some(children) = module.parent.and_then(|parent| children.get_mut(parent)) {
                children.insert(module.name.clone(), at);
            }
        }
        let exports = one.modules.iter().map(|module| exports(&module.items)).collect();
        Names { parents: one.modules.iter().map(|module| module.parent).collect(), children, exports }
    }

    fn parent(&self, module: usize) -> Option<usize> {
        self.parents.get(module).copied().flatten()
    }

    /// The module that defines what is named; `None`: it is not of this crate.
    fn resolve(&self, from: usize, segments: &[String], hops: usize) -> Option<usize> {
        let mut rest = segments.iter();
        let first = rest.next()?;
        let mut here = match first.as_str() {
            "crate" => *self.ancestors(from).last()?,
            "self" => from,
            "super" => self.parent(from)?,
            name => *self.children.get(from)?.get(name)?,
        };
        while let Some(segment) = rest.next() {
            if segment == "super" {
                here = self.parent(here)?;
            } else if let Some(child) = self.children.get(here)?.get(segment) {
                here = *child;
            } else if let Some(source) = self.exports.get(here)?.get(segment)
                && hops > 0
            {
                let onward: Vec<String> = source.iter().chain(rest.clone()).cloned().collect();
                return self.resolve(here, &onward, hops - 1).or(Some(here));
            } else {
                break;
            }
        }
        Some(here)
    }

    /// A module and all that hold it, up to the root.
    fn ancestors(&self, module: usize) -> Vec<usize> {
        std::iter::successors(Some(module), |module| self.parent(*module)).collect()
    }

    /// The module in which two meet, and its children towards them; `None` if one holds the other.
    fn meet(&self, from: usize, to: usize) -> Option<(usize, usize, usize)> {
        let (mut ups, mut downs) = (self.ancestors(from), self.ancestors(to));
        let mut holder = None;
        loop {
            match (ups.pop(), downs.pop()) {
                (Some(up), Some(down)) if up == down => holder = Some(up),
                (Some(up), Some(down)) => return holder.map(|holder| (holder, up, down)),
                _ => return None,
            }
        }
    }
}

/// What `use` brings into a module, and from where.
fn exports(items: &[Item]) -> BTreeMap<String, Vec<String>> {
    let mut found = Vec::new();
    for item in items {
        if let Item::Use(import) = item
            && !is_test_only(&import.attrs)
        {
            spread(&import.tree, &mut Vec::new(), &mut found);
        }
    }
    found.into_iter().map(|(name, segments, _)| (name, segments)).collect()
}

/// Every name in a tree of imports: as it is called here, as it is called there, the line.
fn spread(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<(String, Vec<String>, usize)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            spread(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| spread(tree, before, found)),
        UseTree::Name(name) => found.push(named(&name.ident, &name.ident, before)),
        UseTree::Rename(rename) => found.push(named(&rename.ident, &rename.rename, before)),
        UseTree::Glob(glob) => {
            found.push(("*".to_owned(), before.clone(), glob.star_token.spans[0].start().line));
        }
    }
}

fn named(there: &syn::Ident, here: &syn::Ident, before: &[String]) -> (String, Vec<String>, usize) {
    let mut segments = before.to_vec();
    // `use a::{self}` names `a`.
    if there != "self" || segments.is_empty() {
        segments.push(there.to_string());
    }
    let here = if here == "self" { segments.last().cloned().unwrap_or_default() } else { here.to_string() };
    (here, segments, there.span().start().line)
}

/// Every path in a module's own items, but not in its child modules and not in tests.
fn mentions(items: &[Item]) -> Vec<Mention> {
    let mut paths = Paths { found: Vec::new() };
    for item in items {
        if is_test_only(attributes(item)) || matches!(item, Item::Mod(_)) {
            continue;
        }
        if let Item::Use(import) = item {
            let mut spreaded = Vec::new();
            spread(&import.tree, &mut Vec::new(), &mut spreaded);
            paths.found.extend(spreaded.into_iter().map(|(_, segments, line)| Mention { segments, line }));
        } else {
            paths.visit_item(item);
        }
    }
    paths.found
}

struct Paths {
    found: Vec<Mention>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.found.push(Mention { segments, line });
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        let mut spreaded = Vec::new();
        spread(&import.tree, &mut Vec::new(), &mut spreaded);
        self.found.extend(spreaded.into_iter().map(|(_, segments, line)| Mention { segments, line }));
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        paths_within(call.tokens.clone(), &mut self.found);
        visit::visit_macro(self, call);
    }
}

/// Paths inside a macro's tokens, which are not parsed as code.
fn paths_within(tokens: TokenStream, found: &mut Vec<Mention>) {
    let mut current: Option<Mention> = None;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                match &mut current {
                    Some(mention) if colons == 2 => mention.segments.push(word),
                    _ => {
                        found.extend(current.take());
                        current = Some(Mention { segments: vec![word], line: ident.span().start().line });
                    }
                }
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                found.extend(current.take());
                paths_within(group.stream(), found);
            }
            _ => {
                found.extend(current.take());
                colons = 0;
            }
        }
    }
    found.extend(current);
    found.retain(|mention| mention.segments.len() > 1);
}
