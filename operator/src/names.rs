//! What the objects of a store are called, and the labels and annotations by which they are known.

use std::collections::BTreeMap;

use lamina_crds::operation::Component;

/// The field manager of everything that the operator writes, and the value of the label `managed-by`. Never changes: what
/// another manager wrote would stay when it should go.
pub const MANAGER: &str = "lamina-operator";
/// The container of a node in its pod.
pub const CONTAINER: &str = "lamina";
/// The port for calls.
pub const CALL_PORT: u16 = 4700;
/// The port for `/live`, `/ready` and `/metrics`.
pub const HTTP_PORT: u16 = 4780;
/// Hash of what an object was rendered as.
pub const HASH: &str = "lamina.dev/hash";
/// The revision of a pod's template.
pub const REVISION: &str = "lamina.dev/template-revision";
/// Changed by whoever wants all pods restarted.
pub const RESTARTED_AT: &str = "lamina.dev/restartedAt";
/// On a claim that is to be given up: the nodes whose volume it is.
pub const GIVES_UP: &str = "lamina.dev/gives-up";
/// The name of the claim template.
const VOLUME: &str = "data";

/// A store by namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name of the StorageCluster.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Key {
    /// The StatefulSet, the headless Service and the disruption budget of a role.
    pub fn set(&self, component: Component) -> String {
        format!("{}-{}", self.name, component.as_str())
    }

    /// A pod, which is also the node's name inside the store.
    pub fn pod(&self, component: Component, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.set(component))
    }

    /// The claim of a pod.
    pub fn claim(&self, component: Component, ordinal: u32) -> String {
        format!("{VOLUME}-{}", self.pod(component, ordinal))
    }

    /// Where a node answers.
    pub fn address(&self, component: Component, ordinal: u32) -> String {
        format!("{}.{}:{CALL_PORT}", self.pod(component, ordinal), self.domain(component))
    }

    /// The name of the headless Service of a role.
    pub fn domain(&self, component: Component) -> String {
        format!("{}.{}.svc", self.set(component), self.namespace)
    }

    /// Where clients connect.
    pub fn client_address(&self) -> String {
        format!("{}.{}.svc:{CALL_PORT}", self.client_service(), self.namespace)
    }

    /// The Service for clients.
    pub fn client_service(&self) -> String {
        format!("{}-client", self.name)
    }

    /// The ConfigMap with the bootstrap record.
    pub fn record(&self) -> String {
        format!("{}-bootstrap", self.name)
    }

    /// The ConfigMap with the accepted pod templates.
    pub fn templates(&self) -> String {
        format!("{}-templates", self.name)
    }

    /// Role and ordinal of a pod's name.
    pub fn parse_pod(&self, pod: &str) -> Option<(Component, u32)> {
        let rest = pod.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        let (role, ordinal) = rest.rsplit_once('-')?;
        let component = Component::ALL.into_iter().find(|it| it.as_str() == role)?;
        let number: u32 = ordinal.parse().ok()?;
        (number.to_string() == ordinal).then_some((component, number))
    }

    /// Role and ordinal of a claim's name.
    pub fn parse_claim(&self, claim: &str) -> Option<(Component, u32)> {
        self.parse_pod(claim.strip_prefix(VOLUME)?.strip_prefix('-')?)
    }

    /// Labels of an object of the store, of one role or of the whole.
    pub fn labels(&self, component: Option<Component>) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
        labels
    }

    /// Labels that select pods of the store: never changed, because a StatefulSet's selector cannot.
    pub fn selector(&self, component: Option<Component>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "lamina".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.name.clone()),
        ]);
        if let Some(component) = component {
            labels.insert("app.kubernetes.io/component".to_owned(), component.as_str().to_owned());
        }
        labels
    }

    /// The same as the text of a label selector.
    pub fn selector_text(&self, component: Option<Component>) -> String {
        let pairs: Vec<String> =
            self.selector(component).iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }
}

/// The selector of everything that the operator made.
pub fn managed() -> String {
    format!("app.kubernetes.io/managed-by={MANAGER}")
}

/// The store's role for a component.
pub fn role(component: Component) -> lamina_types::Role {
    match component {
        Component::Frontend => lamina_types::Role::Frontend,
        Component::Index => lamina_types::Role::Index,
        Component::Data => lamina_types::Role::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pods_and_claims_read_back_even_where_one_store_is_named_like_anothers_pod() {
        let key = Key { namespace: "ns".into(), name: "orders".into() };
        for component in Component::ALL {
            assert_eq!(key.parse_pod(&key.pod(component, 12)), Some((component, 12)));
            assert_eq!(key.parse_claim(&key.claim(component, 0)), Some((component, 0)));
        }
        assert_eq!(key.parse_pod("orders-data-0-data-1"), None);
        assert_eq!(key.parse_pod("orders-data-01"), None);
        assert_eq!(key.parse_pod("orders2-data-0"), None);
        let other = Key { name: "orders-data".into(), ..key.clone() };
        assert_eq!(other.parse_pod("orders-data-data-1"), Some((Component::Data, 1)));
        assert_eq!(key.parse_pod("orders-data-data-1"), None);
    }
}
