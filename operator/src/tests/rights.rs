//! What the operator may do and does, and what it looks at.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use serde_json::json;

use super::api::Api;
use super::world::{Faults, World};
use crate::kinds::Kind;
use crate::lease::Tenant;
use crate::names::MANAGER;
use crate::rbac::RULES;

/// Rights that no request of these tests uses, and why they are there all the same.
const UNSEEN: [(&str, &str, &str); 2] = [
    // Asked once when the program starts, before there is a store.
    ("apiextensions.k8s.io", "customresourcedefinitions", "get"),
    // An event that is told again within minutes is counted up by kube's recorder.
    ("events.k8s.io", "events", "patch"),
];

/// Begins a store, replaces a node of it, lets its volumes grow, has objects removed that are not wanted any more.
async fn everything(world: &World) {
    let operator = world.operator("lamina:0.1.0");
    world.spec(json!({}));
    world.settle(&operator, 60).await;
    world.operate(
        "lost",
        json!({ "type": "ReplaceNode", "replaceNode": { "node": "orders-data-1" },
                                   "ttlSecondsAfterFinished": 1 }),
    );
    world.lose_host("host-1");
    let claim = || world.get("", "persistentvolumeclaims", "data-orders-data-1");
    let before = claim().unwrap()["metadata"]["uid"].clone();
    while claim().is_none_or(|it| it["metadata"]["uid"] == before) {
        world.turn(&operator).await;
    }
    world.find_hosts();
    world.settle(&operator, 100).await;
    let owner = world.cluster()["metadata"]["uid"].clone();
    for kind in Kind::OWNED.into_iter().filter(|it| *it != Kind::StatefulSet) {
        let (group, version, word, plural) = kind.words();
        let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let labels = World::key().labels(None);
        let owners = json!([{ "apiVersion": "lamina.dev/v1alpha1", "kind": "StorageCluster", "name": "orders",
                              "uid": owner, "controller": true }]);
        let object = json!({ "apiVersion": version, "kind": word, "spec": {},
            "metadata": { "name": "orders-old", "labels": labels, "ownerReferences": owners } });
        world.api(|api| api.create(&Api::id(group, plural, "orders-old"), &object));
    }
    world.spec(json!({ "data": { "storage": { "size": "20Gi" } }, "overrides": { "data": { "labels": { "a": "b" } } } }));
    world.settle(&operator, 100).await;
    for kind in Kind::OWNED {
        assert!(world.get(kind.words().0, kind.words().3, "orders-old").is_none(), "{kind}");
    }
    let tenant =
        Tenant::new(operator.client.clone(), "lamina-system", MANAGER, "one", Arc::new(world.clone()));
    tenant.acquire().await;
    tenant.release().await;
}

#[tokio::test]
async fn no_right_is_unused_and_no_request_is_without_one() {
    // That every request has its right is checked by the API server of the world at each of them.
    let world = World::new(3, Faults::default());
    everything(&world).await;
    watch(&world).await;
    let mut used = world.api(|api| api.used.clone());
    used.extend(UNSEEN.map(|(group, resource, verb)| (group.to_owned(), resource.to_owned(), verb)));
    let granted = RULES.iter().flat_map(|rule| {
        rule.verbs.iter().map(|verb| (rule.group.to_owned(), rule.resource.to_owned(), *verb))
    });
    let unused: Vec<_> = granted.filter(|right| !used.contains(right)).collect();
    assert_eq!(unused, Vec::new());
}

/// Runs the controller until it watches everything.
async fn watch(world: &World) {
    let operator = Arc::new(world.operator("lamina:0.1.0"));
    let mut controller = Box::pin(crate::controller::run(operator, "", std::future::pending()));
    let watches =
        || world.api(|api| api.looks.iter().filter(|it| it.0 == "watch").map(|it| it.1.clone()).collect());
    let wanted =
        BTreeSet::from(["pods", "statefulsets", "storageclusters", "storageoperations"].map(str::to_owned));
    poll_fn(|cx| {
        assert!(controller.as_mut().poll(cx).is_pending(), "the controller has ended");
        let there: BTreeSet<String> = watches();
        if there == wanted { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// So its memory does not depend on what else is in the cluster.
#[tokio::test]
async fn nothing_is_looked_at_but_what_bears_the_operators_label_and_its_own_kinds() {
    let world = World::new(3, Faults::default());
    everything(&world).await;
    watch(&world).await;
    let looks = world.api(|api| api.looks.clone());
    let label = crate::names::managed();
    for (verb, resource, selector) in looks {
        let own = matches!(resource.as_str(), "storageclusters" | "storageoperations");
        assert!(own || selector.starts_with(&label), "{verb} {resource} {selector:?}");
        assert_ne!(resource, "secrets");
    }
}
