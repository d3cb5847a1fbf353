//! The names of a volume: what is seen, what is durable, and the steps between.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt};

use super::Loss;
use crate::disk::path;

/// Names a file's bytes, whatever names the file has.
pub(in crate::disk) type FileId = u64;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::disk) enum Node {
    Directory,
    File(FileId),
}

pub(super) type Image = BTreeMap<String, Node>;

/// One step: changes of names that happen together or not at all.
struct Step {
    changes: Vec<(String, Option<Node>)>,
    /// Directories with a changed name that have not been synced since.
    unsynced: BTreeSet<String>,
}

impl Step {
    fn touches(&self, names: &BTreeSet<String>) -> bool {
        self.changes.iter().any(|(name, _)| names.contains(name))
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.changes.iter().map(|(name, _)| name.clone())
    }
}

#[derive(Default)]
pub(super) struct Names {
    now: Image,
    durable: Image,
    steps: Vec<Step>,
}

fn apply(image: &mut Image, changes: &[(String, Option<Node>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => {
                image.insert(name.clone(), *node);
            }
            None => {
                if image.remove(name) == Some(Node::Directory) {
                    image.retain(|other, _| !path::is_below(other, name));
                }
            }
        }
    }
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Node> {
        if name.is_empty() { Some(Node::Directory) } else { self.now.get(name).copied() }
    }

    /// What a crash leaves at least: durable names in directories that are durable themselves.
    pub(super) fn all_durable(&self) -> Image {
        let mut reachable = Image::new();
        for (name, node) in &self.durable {
            let parent = path::parent(name);
            // Sorted, so a directory comes before what is in it.
            if parent.is_empty() || reachable.get(parent) == Some(&Node::Directory) {
                reachable.insert(name.clone(), *node);
            }
        }
        reachable
    }

    /// All that is directly in a directory, by the last part of its path.
    pub(super) fn list(&self, directory: &str) -> impl Iterator<Item = (&str, Node)> {
        let inside = self.now.iter().filter(move |(name, _)| path::parent(name) == directory);
        inside.map(|(name, node)| (name.rsplit_once('/').map_or(name.as_str(), |(_, last)| last), *node))
    }

    /// All below a directory, deepest last.
    pub(super) fn below(&self, directory: &str) -> Vec<(String, Node)> {
        let below = self.now.iter().filter(|(name, _)| path::is_below(name, directory));
        below.map(|(name, node)| (name.clone(), *node)).collect()
    }

    /// Changes names in one step, which a crash may undo until all directories of these names are synced.
    pub(super) fn change(&mut self, changes: Vec<(String, Option<Node>)>) {
        apply(&mut self.now, &changes);
        let unsynced = changes.iter().map(|(name, _)| path::parent(name).to_owned()).collect();
        self.steps.push(Step { changes, unsynced });
    }

    /// Makes the names in a directory durable, with the earlier steps that they rest on.
    pub(super) fn sync(&mut self, directory: &str) {
        for step in &mut self.steps {
            step.unsynced.remove(directory);
        }
        // From the last to the first: a durable step takes with it the earlier ones of the same names.
        let mut needed = BTreeSet::new();
        let mut durable = vec![false; self.steps.len()];
        for (step, done) in self.steps.iter().zip(&mut durable).rev() {
            if step.unsynced.is_empty() || step.touches(&needed) {
                needed.extend(step.names());
                *done = true;
            }
        }
        let mut kept = Vec::new();
        for (step, done) in std::mem::take(&mut self.steps).into_iter().zip(durable) {
            if done {
                apply(&mut self.durable, &step.changes);
            } else {
                kept.push(step);
            }
        }
        self.steps = kept;
    }

    /// A crash: any of the steps that were not synced are undone, though none without the later ones of its names.
    pub(super) fn crash(&mut self, loss: Loss, rng: &mut dyn Rng) {
        let mut undone = BTreeSet::new();
        for step in std::mem::take(&mut self.steps) {
            let kept = match loss {
                Loss::Everything => false,
                Loss::Nothing => true,
                Loss::Drawn => !step.touches(&undone) && rng.random_bool(0.5),
            };
            if kept {
                apply(&mut self.durable, &step.changes);
            } else {
                undone.extend(step.names());
            }
        }
        let reachable = self.all_durable();
        self.durable = reachable.clone();
        self.now = reachable;
    }

    /// Every file that has a name, or that could get one back.
    pub(super) fn files(&self) -> BTreeSet<FileId> {
        let changed = self.steps.iter().flat_map(|step| step.changes.iter().filter_map(|(_, node)| *node));
        let nodes = self.now.values().chain(self.durable.values()).copied().chain(changed);
        nodes
            .filter_map(|node| match node {
                Node::File(file) => Some(file),
                Node::Directory => None,
            })
            .collect()
    }

    /// Whether a file has a name now.
    pub(super) fn is_named(&self, file: FileId) -> bool {
        self.now.values().any(|node| *node == Node::File(file))
    }
}
