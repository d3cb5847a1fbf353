//! What was observed of one store, in plain values: all that a plan is made from.

use std::collections::BTreeMap;

use lamina_crds::operation::{Component, StorageOperation};
use lamina_peers::admin::{Identity, Status};
use lamina_types::{Error, NodeId};
use serde_json::Value;

use super::record::{Found, Record};
use super::template::Templates;
use crate::kinds::Kind;

/// A pod or claim by role and ordinal.
pub type Place = (Component, u32);

/// What was observed of one store.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// Objects that are owned by the StorageCluster, or bear its labels.
    pub objects: BTreeMap<(Kind, String), Object>,
    /// Pods by their place.
    pub pods: BTreeMap<Place, Pod>,
    /// Claims by their place.
    pub claims: BTreeMap<Place, Claim>,
    /// The bootstrap record.
    pub record: Found<Record>,
    /// The accepted templates.
    pub templates: Templates,
    /// What each pod answers.
    pub identities: BTreeMap<Place, Identity>,
    /// What the store says of itself; `None`: no frontend could tell.
    pub status: Option<Status>,
    /// Whether a probe succeeded; `None`: there was nobody to ask.
    pub probe: Option<Result<(), Error>>,
    /// Operations on this store that are not over, oldest first.
    pub operations: Vec<StorageOperation>,
    /// Zones of the Kubernetes nodes that pods run on, as far as they can be known.
    pub zones: BTreeMap<String, String>,
}

/// An object of the store.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Its identity: another object of the same name has another.
    pub uid: String,
    /// Who controls it.
    pub owner: Owner,
    /// It is being deleted.
    pub deleting: bool,
    /// All of it, as JSON.
    pub json: Value,
}

/// Who controls an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This StorageCluster.
    Us,
    /// Nobody; it bears our labels.
    Nobody,
    /// A StorageCluster of the same name that was deleted: the garbage collector has not come by yet.
    Predecessor,
    /// Somebody else.
    Other(String),
}

/// A pod of the store.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// It is being deleted.
    pub deleting: bool,
    /// It is ready.
    pub ready: bool,
    /// Its program runs, ready or not.
    pub running: bool,
    /// The revision of its template.
    pub revision: String,
    /// The Kubernetes node that it is on; empty: none yet.
    pub host: String,
    /// The failure domain that Kubernetes wrote on it, if it did.
    pub zone: String,
    /// The UID of the StatefulSet that controls it, if one does.
    pub set: Option<String>,
    /// Why it does not run, in Kubernetes' words: `ImagePullBackOff: …`, `Unschedulable: …`.
    pub trouble: String,
}

/// A volume claim of the store.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// It is being deleted.
    pub deleting: bool,
    /// Bytes that it asks for.
    pub requested: u64,
    /// Bytes that it has; 0: it is not bound yet.
    pub capacity: u64,
    /// Some object owns it: it goes when that goes.
    pub owned: bool,
    /// Nodes whose volume it is, if it is to be given up.
    pub gives_up: Option<Vec<NodeId>>,
}

impl Seen {
    /// An object of a kind.
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Object> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// What the store says, if it is the store of the record.
    pub fn store(&self) -> Option<&Status> {
        let record = self.record.present()?;
        self.status.as_ref().filter(|status| status.view.cluster == record.cluster)
    }

    /// The pods of a role.
    pub fn pods_of(&self, component: Component) -> impl Iterator<Item = (u32, &Pod)> {
        self.pods
            .iter()
            .filter(move |((of, _), _)| *of == component)
            .map(|((_, ordinal), pod)| (*ordinal, pod))
    }
}

/// What is written on a claim that is to be given up: whose volume it is.
pub fn mark(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Whose volume a claim says that it is. What cannot be read names nobody, and nobody's volume is never deleted.
pub fn marked(text: &str) -> Vec<NodeId> {
    let ids = text.split(',').filter(|it| !it.is_empty()).map(str::parse);
    ids.collect::<Result<Vec<_>, _>>().unwrap_or_default()
}
