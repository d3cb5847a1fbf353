//! What the operator may do: one table. The fake API server of the tests refuses whatever is not in it, and the chart's rules are
//! compared with it.

use std::fmt::Write as _;

/// Where a rule has to hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// In each namespace that is watched: a Role is enough. The chart's list `stores`.
    Watched,
    /// In the operator's own namespace. The chart's list `own`.
    Own,
    /// In the whole cluster. Without these the operator works, knows no zones, and cannot tell an old definition. The chart's
    /// list `cluster`.
    Cluster,
}

/// One rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Where.
    pub scope: Scope,
    /// The API group.
    pub group: &'static str,
    /// The resource, or its subresource.
    pub resource: &'static str,
    /// Of these names only; empty: of all.
    pub names: &'static [&'static str],
    /// What may be done.
    pub verbs: &'static [&'static str],
}

const fn rule(
    scope: Scope,
    group: &'static str,
    resource: &'static str,
    names: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule { scope, group, resource, names, verbs }
}

/// The definitions that the operator looks at when it starts.
pub const DEFINITIONS: [&str; 2] = ["storageclusters.lamina.dev", "storageoperations.lamina.dev"];

/// All rules. Server-side apply creates by `patch`, and needs `create` too.
pub const RULES: &[Rule] = &[
    rule(Scope::Watched, "lamina.dev", "storageclusters", &[], &["get", "list", "watch"]),
    rule(Scope::Watched, "lamina.dev", "storageclusters/status", &[], &["patch"]),
    rule(Scope::Watched, "lamina.dev", "storageoperations", &[], &["list", "watch", "delete"]),
    rule(Scope::Watched, "lamina.dev", "storageoperations/status", &[], &["patch"]),
    rule(Scope::Watched, "apps", "statefulsets", &[], &["get", "list", "watch", "create", "patch", "delete"]),
    rule(Scope::Watched, "", "services", &[], &["get", "list", "create", "patch", "delete"]),
    rule(Scope::Watched, "", "serviceaccounts", &[], &["get", "list", "create", "patch", "delete"]),
    rule(Scope::Watched, "", "configmaps", &[], &["get", "list", "create", "patch", "delete"]),
    rule(Scope::Watched, "", "pods", &[], &["list", "watch", "delete"]),
    rule(Scope::Watched, "", "pods/eviction", &[], &["create"]),
    rule(Scope::Watched, "", "persistentvolumeclaims", &[], &["get", "list", "patch", "delete"]),
    rule(
        Scope::Watched,
        "policy",
        "poddisruptionbudgets",
        &[],
        &["get", "list", "create", "patch", "delete"],
    ),
    rule(
        Scope::Watched,
        "networking.k8s.io",
        "networkpolicies",
        &[],
        &["get", "list", "create", "patch", "delete"],
    ),
    rule(Scope::Watched, "events.k8s.io", "events", &[], &["create", "patch"]),
    rule(Scope::Own, "coordination.k8s.io", "leases", &[], &["get", "create", "update"]),
    rule(Scope::Cluster, "", "nodes", &[], &["get"]),
    rule(Scope::Cluster, "apiextensions.k8s.io", "customresourcedefinitions", &DEFINITIONS, &["get"]),
];

/// Whether a request is covered. The fake API server asks this.
#[cfg(test)]
pub fn allows(group: &str, resource: &str, name: &str, verb: &str) -> bool {
    RULES.iter().any(|rule| {
        rule.group == group
            && rule.resource == resource
            && rule.verbs.contains(&verb)
            && (rule.names.is_empty() || rule.names.contains(&name))
    })
}

/// The rules as YAML: a list for each scope, which the chart takes as they are.
pub fn yaml() -> String {
    let mut out = String::new();
    for (scope, name) in [(Scope::Watched, "stores"), (Scope::Own, "own"), (Scope::Cluster, "cluster")] {
        let _ = writeln!(out, "{name}:");
        for rule in RULES.iter().filter(|rule| rule.scope == scope) {
            let _ = writeln!(out, "- apiGroups: [{:?}]", rule.group);
            let _ = writeln!(out, "  resources: [{:?}]", rule.resource);
            if !rule.names.is_empty() {
                let _ = writeln!(out, "  resourceNames: {:?}", rule.names);
            }
            let _ = writeln!(out, "  verbs: {:?}", rule.verbs);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_has_a_wildcard_and_none_touches_secrets() {
        for rule in RULES {
            let words = [rule.group, rule.resource].into_iter().chain(rule.verbs.iter().copied());
            assert!(words.clone().all(|word| !word.contains('*')), "{rule:?}");
            assert_ne!(rule.resource, "secrets");
        }
        assert!(allows("", "pods", "x", "delete"));
        assert!(!allows("", "pods", "x", "create"));
        assert!(allows("apiextensions.k8s.io", "customresourcedefinitions", DEFINITIONS[0], "get"));
        assert!(!allows("apiextensions.k8s.io", "customresourcedefinitions", "others.example.com", "get"));
    }

    #[test]
    fn the_rules_read_as_yaml() {
        let all: serde_json::Value = lamina_crds::yaml::from_text(&yaml()).unwrap();
        let count = |list: &str| all[list].as_array().unwrap().len();
        assert_eq!(count("stores") + count("own") + count("cluster"), RULES.len());
        assert_eq!(all["stores"][0]["apiGroups"][0], "lamina.dev");
    }
}
