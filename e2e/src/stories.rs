//! The stories. Each plays in its own namespace, waits for conditions with deadlines, and says what it has seen.
//!
//! | module | stories |
//! |---|---|
//! | [`begin`] | install and first write; two stores in one namespace; deleted and made again |
//! | [`charts`] | the charts are uninstalled, and installed again |
//! | [`kills`] | each kind of pod killed; all index pods killed; a worker stopped; a node replaced |
//! | [`plugin`] | `kubectl lamina` |
//! | [`rolling`] | rolling restart; version change; bad image; operator killed in the middle |
//! | [`rules`] | scaling refused; who may reach what; protection against deletion |
//! | [`table`] | what the API server takes and refuses |
//! | [`quiet`] | nothing written when nothing is to do; the operator's memory |

use std::pin::Pin;

use crate::stage::Stage;

pub mod begin;
pub mod charts;
pub mod kills;
pub mod plugin;
pub mod quiet;
pub mod rolling;
pub mod rules;
pub mod table;

/// What a story has seen.
#[derive(Clone, Default, Debug)]
pub struct Told {
    /// Figures and facts, in words.
    pub facts: Vec<String>,
    /// Operations of histories that were judged.
    pub operations: u64,
}

impl Told {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Told {
        Told::default()
    }

    /// One more fact.
    pub fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }
}

/// A story under way.
pub type Telling<'s> = Pin<Box<dyn Future<Output = anyhow::Result<Told>> + 's>>;

/// One story.
pub struct Story {
    /// Its name: that of its namespace, too.
    pub name: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// How it goes.
    pub tell: for<'s> fn(&'s Stage<'s>) -> Telling<'s>,
}

/// All stories, in the order in which they are told.
pub const ALL: &[Story] = &[
    Story {
        name: "install",
        shows: "a default store becomes Ready and takes its first write",
        tell: |stage| Box::pin(begin::install(stage)),
    },
    Story {
        name: "crd-rules",
        shows: "the API server takes and refuses what the table says",
        tell: |stage| Box::pin(table::crds(stage)),
    },
    Story {
        name: "network",
        shows: "policies let in the store, its clients and the operator, and nobody else",
        tell: |stage| Box::pin(rules::network(stage)),
    },
    Story {
        name: "two-stores",
        shows: "two stores in one namespace keep apart",
        tell: |stage| Box::pin(begin::two_stores(stage)),
    },
    Story {
        name: "scaling",
        shows: "scaling is refused with a reason, and changes nothing",
        tell: |stage| Box::pin(rules::scaling(stage)),
    },
    Story {
        name: "quiet",
        shows: "nothing is written when nothing is to do",
        tell: |stage| Box::pin(quiet::steady(stage)),
    },
    Story {
        name: "plugin",
        shows: "kubectl lamina shows, plans, restarts, and reads and writes keys",
        tell: |stage| Box::pin(plugin::commands(stage)),
    },
    Story {
        name: "kills",
        shows: "a pod of each kind is killed under load",
        tell: |stage| Box::pin(kills::each_kind(stage)),
    },
    Story {
        name: "index-killed",
        shows: "all index pods are killed at once, and reads go on",
        tell: |stage| Box::pin(kills::all_index(stage)),
    },
    Story {
        name: "restart",
        shows: "a rolling restart fails no operation",
        tell: |stage| Box::pin(rolling::restart(stage)),
    },
    Story {
        name: "version",
        shows: "a version change fails no operation",
        tell: |stage| Box::pin(rolling::version(stage)),
    },
    Story {
        name: "bad-image",
        shows: "a bad image harms nothing, and is mended by the spec alone",
        tell: |stage| Box::pin(rolling::bad_image(stage)),
    },
    Story {
        name: "operator-killed",
        shows: "the operator is killed in the middle of a rolling restart",
        tell: |stage| Box::pin(rolling::operator_killed(stage)),
    },
    Story {
        name: "replace",
        shows: "a data node is replaced by a StorageOperation",
        tell: |stage| Box::pin(kills::replaced(stage)),
    },
    Story {
        name: "worker-stopped",
        shows: "a worker is stopped and comes back",
        tell: |stage| Box::pin(kills::worker(stage)),
    },
    Story {
        name: "made-again",
        shows: "a store is deleted, and made again from its volumes",
        tell: |stage| Box::pin(begin::made_again(stage)),
    },
    Story {
        name: "charts",
        shows: "the charts are uninstalled and installed again, and every store stays",
        tell: |stage| Box::pin(charts::uninstalled(stage)),
    },
    Story {
        name: "idle-memory",
        shows: "1000 pods and 1000 secrets of others cost the operator no memory",
        tell: |stage| Box::pin(quiet::memory(stage)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_and_differ() {
        let mut names: Vec<_> = ALL.iter().map(|story| story.name).collect();
        for name in &names {
            assert!(
                name.len() <= 40 && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'-'),
                "{name}"
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
