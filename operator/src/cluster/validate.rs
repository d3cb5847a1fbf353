//! What the spec asks for and cannot have. Each finding says what to do; none of them makes anything worse: the store stays as
//! it is, and setting the spec back makes it ready again.

use lamina_crds::cluster::PodTemplatePolicy;
use lamina_crds::operation::Component;
use lamina_crds::{Reason, StorageCluster, StorageClusterSpec};
use lamina_types::Settings;

use super::build::Counts;
use super::record::{Found, Record};
use super::seen::{Owner, Seen};
use crate::kinds::Kind;
use crate::names::Key;

/// Why the operator cannot go on by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stall {
    /// In one word.
    pub reason: Reason,
    /// What is the matter, and what to do.
    pub message: String,
}

/// What the spec means for the store that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What stalls.
    pub stalls: Vec<Stall>,
    /// How many nodes there are to be.
    pub counts: Counts,
    /// Templates stay as they are.
    pub frozen: bool,
    /// Nothing is changed at all, but what the store itself needs to heal.
    pub halted: bool,
}

/// Looks for what cannot be.
pub fn validate(key: &Key, cluster: &StorageCluster, seen: &Seen, version: &str) -> Verdict {
    let spec = &cluster.spec;
    let asked = spec.shape().settings;
    let mut verdict =
        Verdict { stalls: Vec::new(), counts: Counts::from(&asked), frozen: false, halted: false };
    // The object may be older than a rule.
    let findings = lamina_crds::check::cluster_rules(cluster, None);
    if !findings.is_empty() {
        let words: Vec<String> = findings.iter().map(ToString::to_string).collect();
        verdict.stall(Reason::InvalidSpec, words.join("; "));
        verdict.halted = true;
    }
    match &seen.record {
        Found::Present(record) => {
            verdict.counts = Counts::from(&record.settings);
            if let Some(message) = differs(&asked, record) {
                verdict.stall(Reason::ScalingUnsupported, message);
            }
        }
        Found::Unreadable(why) => {
            verdict.stall(
                Reason::ApiRefused,
                format!("ConfigMap {} cannot be understood ({why}); restore it, or delete it by hand: it is made anew from the volumes", key.record()),
            );
            verdict.halted = true;
        }
        Found::Absent => {
            if may_have_begun(cluster, seen) {
                verdict.counts = as_found(key, seen);
            }
        }
    }
    if let Some(message) = unsupported(spec, version, seen) {
        verdict.stall(Reason::VersionUnsupported, message);
        verdict.frozen = true;
    }
    if let Some(message) = conflict(key, seen) {
        verdict.stall(Reason::NameConflict, message);
        verdict.halted = true;
    }
    verdict
}

impl Verdict {
    fn stall(&mut self, reason: Reason, message: String) {
        self.stalls.push(Stall { reason, message });
    }
}

/// There is no record, but perhaps a store: somebody has seen it, or volumes are here that are older than the StorageCluster and
/// have not said yet that they are empty. How many nodes it has is not for the spec to say.
fn may_have_begun(cluster: &StorageCluster, seen: &Seen) -> bool {
    let since = cluster.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
    let empty = |place| seen.identities.get(place).is_some_and(|it| it.cluster.is_none());
    cluster.status.as_ref().is_some_and(|status| status.cluster_uuid.is_some())
        || seen.identities.values().any(|it| it.cluster.is_some())
        || seen.claims.iter().any(|(place, claim)| claim.created < since && !empty(place))
}

/// As many nodes as there are: of StatefulSets as they stand, else of volumes. Index nodes, which have none, wait for the record.
fn as_found(key: &Key, seen: &Seen) -> Counts {
    let of = |component| {
        let set = seen.object(Kind::StatefulSet, &key.set(component)).filter(|set| set.owner == Owner::Us);
        let replicas = set.and_then(|it| it.json.pointer("/spec/replicas")?.as_u64()?.try_into().ok());
        let claims = || seen.claims.keys().filter(|it| it.0 == component).map(|it| it.1 + 1).max();
        replicas.or_else(claims).unwrap_or(0)
    };
    Counts { frontend: of(Component::Frontend), index: of(Component::Index), data: of(Component::Data) }
}

/// What the spec says otherwise than was settled when the store began.
fn differs(asked: &Settings, record: &Record) -> Option<String> {
    let differences = record.settings.differences(asked);
    let back: Vec<String> = differences
        .iter()
        .map(|it| {
            // The other fields cannot be changed: such a StorageCluster was made beside volumes of another shape.
            let how = if it.field.ends_with(".replicas") {
                "set it back to"
            } else {
                "delete this StorageCluster (its volumes stay, unless reclaimPolicy is Delete) and apply it again with"
            };
            format!("{} is {}: {how} {}", it.field, it.asked, it.settled)
        })
        .collect();
    (!back.is_empty())
        .then(|| format!("this version cannot change the shape of a store: {}", back.join("; ")))
}

/// A version that this operator does not know how to run, or that those which run cannot be changed to at once. Without a version
/// the operator's own is meant, where its template would be taken.
fn unsupported(spec: &StorageClusterSpec, own: &str, seen: &Seen) -> Option<String> {
    let follows = spec.upgrade.pod_template_policy == PodTemplatePolicy::FollowOperator;
    let asked = spec.version.as_deref().or(follows.then_some(own))?;
    let (Some(asked_is), Some(own_is)) = (parse(asked), parse(own)) else { return None };
    if asked_is.0 != own_is.0 || asked_is.1 > own_is.1 || asked_is.1 + 1 < own_is.1 {
        return Some(format!(
            "version {asked} cannot be run by operator {own}, which knows {}.{}.x and the minor version before it; \
             choose one of these, or another version of the operator",
            own_is.0, own_is.1
        ));
    }
    let running = seen.identities.values().map(|identity| identity.version.as_str());
    let far = running.filter(|version| {
        parse(version).is_some_and(|is| is.0 != asked_is.0 || is.1.abs_diff(asked_is.1) > 1)
    });
    far.min().map(|version| {
        let by = if spec.version.is_some() { "" } else { ", which upgrade.podTemplatePolicy: FollowOperator asks for," };
        format!(
            "version {asked}{by} is more than one minor version from {version}, which runs; go through the versions between, by \
             version"
        )
    })
}

/// Major and minor version.
pub fn parse(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// An object of our name that is somebody else's.
fn conflict(key: &Key, seen: &Seen) -> Option<String> {
    let foreign = seen.objects.iter().find_map(|((kind, name), object)| match &object.owner {
        Owner::Other(who) if *kind != Kind::Pod => Some((kind, name, who.as_str())),
        // Who takes up another record than the store's own takes up another store.
        Owner::Nobody if *kind == Kind::ConfigMap && *name == key.record() => Some((kind, name, "nobody")),
        _ => None,
    })?;
    let (kind, name, who) = foreign;
    Some(format!(
        "{kind} {name} belongs to {who} and not to StorageCluster {}; remove or rename it, or choose another name",
        key.name
    ))
}
