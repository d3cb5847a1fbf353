//! The types of conditions, and every reason that a condition can have: stable words that programs may compare.
//!
//! `docs/conditions.md` is written from this file, and a test holds it.

use std::fmt;

/// A type of condition. All are there from the operator's first pass on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConditionType {
    /// Available, not Stalled, and all nodes as the spec wants them.
    Ready,
    /// The store answers.
    Available,
    /// The operator is changing something.
    Progressing,
    /// The store serves with less redundancy than the spec asks for.
    Degraded,
    /// Nothing is left to do for this generation of the spec.
    Reconciled,
    /// The operator cannot go on by itself.
    Stalled,
    /// Each index shard is complete on as many nodes as the spec asks for.
    ShardsFullyReplicated,
    /// All volumes have the size that the spec asks for.
    VolumesResized,
    /// A newer pod template or version could be taken.
    UpgradeAvailable,
    /// The operator leaves the store as it is.
    Paused,
}

impl ConditionType {
    /// All types, in the order in which a status lists them.
    pub const ALL: [ConditionType; 10] = [
        ConditionType::Ready,
        ConditionType::Available,
        ConditionType::Progressing,
        ConditionType::Degraded,
        ConditionType::Reconciled,
        ConditionType::Stalled,
        ConditionType::ShardsFullyReplicated,
        ConditionType::VolumesResized,
        ConditionType::UpgradeAvailable,
        ConditionType::Paused,
    ];

    /// The word that stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::Available => "Available",
            ConditionType::Progressing => "Progressing",
            ConditionType::Degraded => "Degraded",
            ConditionType::Reconciled => "Reconciled",
            ConditionType::Stalled => "Stalled",
            ConditionType::ShardsFullyReplicated => "ShardsFullyReplicated",
            ConditionType::VolumesResized => "VolumesResized",
            ConditionType::UpgradeAvailable => "UpgradeAvailable",
            ConditionType::Paused => "Paused",
        }
    }

    /// What `True` means.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            ConditionType::Ready => {
                "The store is available and nothing stalls; every node that the spec asks for is ready."
            }
            ConditionType::Available => {
                "A probe succeeded: in every group an entry was committed, a leader confirmed and a table read."
            }
            ConditionType::Progressing => "The operator is changing something; the reason says what.",
            ConditionType::Degraded => {
                "The store serves, but with less redundancy than the spec asks for; the operator mends it if it can."
            }
            ConditionType::Reconciled => "For this generation of the spec nothing is left to do.",
            ConditionType::Stalled => {
                "The operator cannot go on by itself; the message says what you can do."
            }
            ConditionType::ShardsFullyReplicated => {
                "Every index shard is complete on as many nodes as index.replicationFactor."
            }
            ConditionType::VolumesResized => "Every volume has the size that the spec asks for.",
            ConditionType::UpgradeAvailable => {
                "This operator would make other pods than those that run, and waits to be told (upgrade.podTemplatePolicy)."
            }
            ConditionType::Paused => "spec.paused is true: the operator leaves the store as it is.",
        }
    }

    /// Whether `True` is how it should be; `None`: neither is better.
    #[must_use]
    pub const fn good(self) -> Option<bool> {
        match self {
            ConditionType::Ready
            | ConditionType::Available
            | ConditionType::Reconciled
            | ConditionType::ShardsFullyReplicated
            | ConditionType::VolumesResized => Some(true),
            ConditionType::Degraded | ConditionType::Stalled => Some(false),
            ConditionType::Progressing | ConditionType::UpgradeAvailable | ConditionType::Paused => None,
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Declares the reasons with what they mean and the conditions that can have them, once.
macro_rules! reasons {
    ($($name:ident $(| $condition:ident)+: $meaning:literal;)+) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// The word that stands in a status.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)+
                }
            }

            /// What it means, and what to do about it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Reason::$name => $meaning,)+
                }
            }

            /// The conditions that can have it.
            #[must_use]
            pub const fn conditions(self) -> &'static [ConditionType] {
                match self {
                    $(Reason::$name => &[$(ConditionType::$condition,)+],)+
                }
            }
        }
    };
}

reasons! {
    AsExpected | Ready | Available | Progressing | Degraded | Reconciled | Stalled | ShardsFullyReplicated | VolumesResized | UpgradeAvailable | Paused:
        "All is as the spec asks for.";
    Bootstrapping | Ready | Available | Progressing | Degraded | Reconciled | ShardsFullyReplicated:
        "The store is being made: its first nodes start.";
    ProbeFailed | Ready | Available:
        "The store did not answer a probe: a group has no leader, cannot commit, or cannot read a table.";
    StoreUnreachable | Ready | Available | Degraded | ShardsFullyReplicated:
        "No frontend can say how the store is. If none answers: see the frontends' logs, and whether a NetworkPolicy stands between. If some do: they wait for each other.";
    NodesNotReady | Ready | Degraded:
        "Nodes are missing, or have not caught up; the message names the first.";
    NodeLost | Degraded:
        "A node has not been seen for long. If it does not come back, replace it with a StorageOperation of type ReplaceNode.";
    TablesUnderReplicated | Degraded:
        "Tables have fewer copies than data.replicationFactor; they are copied.";
    ShardsLoading | ShardsFullyReplicated | Degraded:
        "Index nodes load index parts; reads go on, slower, through the tails of data files.";
    ShardsUnavailable | ShardsFullyReplicated | Degraded:
        "Shards are complete on no index node; reads go on, slower, through the tails of data files.";
    Applying | Progressing | Reconciled:
        "Objects of the store are being created or changed.";
    Rolling | Progressing | Reconciled:
        "Pods are replaced, one after the other, because their template changed.";
    Restarting | Progressing | Reconciled:
        "Pods are restarted, one after the other, because a StorageOperation asks for it.";
    ReplacingNode | Progressing | Reconciled:
        "A node is replaced by one with a new identity and an empty volume.";
    ReplacingBadPod | Progressing | Reconciled:
        "A pod that does not serve is replaced by one of the newest template.";
    ResizingVolumes | Progressing | Reconciled | VolumesResized:
        "Volumes grow to the size that the spec asks for.";
    ResizeUnsupported | Stalled | VolumesResized:
        "The StorageClass does not let volumes grow. Set the old size, or allow expansion in the class.";
    WaitingForGrant | Progressing | Reconciled:
        "A pod is to be replaced, and the store does not allow it yet: redundancy would be lost. It is asked again.";
    ApiRefused | Ready | Reconciled | Stalled:
        "The API server refuses an object of the store; the message says which, and why. Mend the spec, quota or policy.";
    InvalidSpec | Ready | Reconciled | Stalled:
        "The spec breaks a rule that was not there when it was written; the message says which. Mend it.";
    ScalingUnsupported | Ready | Reconciled | Stalled:
        "What a store settles when it begins was changed (a number of nodes, groups or shards, a replication factor, memtableBytes, blockBytes, the profile), which this version cannot do: the store keeps what it has. Set it back.";
    VersionUnsupported | Ready | Reconciled | Stalled:
        "The operator cannot run this version of Lamina. Choose another version, or upgrade the operator.";
    VolumesLost | Ready | Reconciled | Stalled:
        "Too few volumes of frontends know the store that the record names: volumes were lost. Nobody starts an empty store under the old name. Restore the volumes, or begin an empty store: delete the record and all volumes by hand.";
    MixedVolumes | Ready | Reconciled | Stalled:
        "Volumes of two different stores answer. Remove those that do not belong here.";
    NameConflict | Ready | Reconciled | Stalled:
        "An object that the store needs exists, and belongs to somebody else. Remove or rename it.";
    TemplatePinned | UpgradeAvailable:
        "This operator renders another pod template. Set upgrade.podTemplatePolicy to FollowOperator, or change a field of the template, to take it.";
    PausedBySpec | Paused | Progressing | Reconciled:
        "spec.paused is true. Set it to false to go on.";
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_reasons_and_every_word_is_its_own() {
        for condition in ConditionType::ALL {
            let reasons =
                Reason::ALL.iter().filter(|reason| reason.conditions().contains(&condition)).count();
            assert!(reasons >= 2, "{condition} has {reasons} reasons");
        }
        let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }

    #[test]
    fn whatever_stalls_says_what_to_do() {
        for reason in
            Reason::ALL.iter().filter(|reason| reason.conditions().contains(&ConditionType::Stalled))
        {
            if *reason == Reason::AsExpected {
                continue;
            }
            assert!(reason.meaning().matches(". ").count() >= 1, "{reason}: {}", reason.meaning());
        }
    }
}
