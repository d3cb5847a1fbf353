//! The kinds of objects that a store is made of.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// A kind of object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Whom pods run as.
    ServiceAccount,
    /// The bootstrap record, and the accepted templates.
    ConfigMap,
    /// Names and addresses.
    Service,
    /// Who may connect.
    NetworkPolicy,
    /// How many pods may be evicted.
    Budget,
    /// The pods of a role.
    StatefulSet,
    /// One node.
    Pod,
    /// One volume.
    Claim,
}

impl Kind {
    /// All, in the order in which they are applied.
    pub const ALL: [Kind; 8] = [
        Kind::ServiceAccount,
        Kind::ConfigMap,
        Kind::Service,
        Kind::NetworkPolicy,
        Kind::Budget,
        Kind::StatefulSet,
        Kind::Pod,
        Kind::Claim,
    ];

    /// The kinds that are owned by the StorageCluster.
    pub const OWNED: [Kind; 6] = [
        Kind::ServiceAccount,
        Kind::ConfigMap,
        Kind::Service,
        Kind::NetworkPolicy,
        Kind::Budget,
        Kind::StatefulSet,
    ];

    /// Group, version, kind and plural.
    pub const fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Kind::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Kind::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Kind::Service => ("", "v1", "Service", "services"),
            Kind::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Kind::Budget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Kind::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Kind::Pod => ("", "v1", "Pod", "pods"),
            Kind::Claim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        }
    }

    /// As the API server names it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.words();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words().2)
    }
}
