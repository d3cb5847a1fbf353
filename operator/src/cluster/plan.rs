//! The next steps, as a pure function of the spec and of what was observed: no IO, no clock, no memory.
//!
//! | module | plans |
//! |---|---|
//! | [`action`] | – (what a step is, and its class) |
//! | [`objects`] | objects that are not as they should be |
//! | [`bootstrap`] | the beginning of a store, exactly once; taking up a store whose volumes were found |
//! | [`members`] | what the store needs to be told: zones, grants that nobody wants, nodes whose volume is gone |
//! | [`volumes`] | growth of volumes |
//! | [`rollout`] | pods that are replaced, one after the other |
//! | [`replace`] | a node that is given up with its volume |
//! | [`operations`] | what is said of StorageOperations |
//! | [`asked`], [`nodes`] | – (what operations ask for; which node a pod is) |
//!
//! At most one step of a plan takes redundancy away (*disrupt*), and it comes after all that heals. A store for which
//! nothing is left to do has an empty plan.

use lamina_crds::{Reason, StorageCluster};
use lamina_types::ClusterId;

use super::seen::Seen;
use super::template::{self, Choice};
use super::validate::{Stall, Verdict, validate};
use crate::names::Key;
use crate::options::Images;

pub mod action;
pub mod asked;
pub mod bootstrap;
pub mod members;
pub mod nodes;
pub mod objects;
pub mod operations;
pub mod replace;
pub mod rollout;
pub mod volumes;

pub use action::{Action, Class};

/// What a plan is made from.
pub struct Input<'a> {
    /// The store's name.
    pub key: &'a Key,
    /// The StorageCluster.
    pub cluster: &'a StorageCluster,
    /// What was observed.
    pub seen: &'a Seen,
    /// Images of stores that name none.
    pub images: &'a Images,
    /// Where the operator runs.
    pub operator_namespace: &'a str,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// The name of the store, should it begin now.
    pub fresh: ClusterId,
}

impl Input<'_> {
    /// The UID of the StorageCluster.
    pub fn owner(&self) -> &str {
        self.cluster.metadata.uid.as_deref().unwrap_or_default()
    }
}

/// What to do next, and why there is not more.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps, in order.
    pub actions: Vec<Action>,
    /// What stalls.
    pub stalls: Vec<Stall>,
    /// What is under way, or waited for: the first is the most important.
    pub progress: Vec<(Reason, String)>,
    /// What the spec means.
    pub verdict: Verdict,
    /// The templates in force.
    pub choice: Choice,
}

/// Plans.
pub fn plan(input: &Input<'_>) -> Plan {
    let verdict = validate(input.key, input.cluster, input.seen, &input.images.version);
    let choice = template::choose(
        input.key,
        input.cluster,
        &input.seen.templates,
        input.images,
        verdict.frozen || verdict.halted,
    );
    let stalls = verdict.stalls.clone();
    let mut plan = Plan { actions: Vec::new(), stalls, progress: Vec::new(), verdict, choice };
    if input.cluster.spec.paused || objects::waits_for_predecessor(input, &mut plan) {
        return plan;
    }
    if !plan.verdict.halted {
        objects::plan(input, &mut plan);
        bootstrap::plan(input, &mut plan);
    }
    members::plan(input, &mut plan);
    if !plan.verdict.halted {
        volumes::plan(input, &mut plan);
        replace::plan(input, &mut plan);
        rollout::plan(input, &mut plan);
        operations::plan(input, &mut plan);
    }
    plan.actions.sort_by_key(Action::rank);
    plan
}

impl Plan {
    fn add(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn waits(&mut self, reason: Reason, message: impl Into<String>) {
        self.progress.push((reason, message.into()));
    }

    fn stall(&mut self, reason: Reason, message: impl Into<String>) {
        self.stalls.push(Stall { reason, message: message.into() });
    }
}

#[cfg(test)]
mod tests;
