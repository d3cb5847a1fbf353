//! What a cluster does to a store, and what a person does by hand: each leads to a condition that says what to do, and back to
//! Ready when that is done. The rows of the requirements' table of bad input that only a running store can meet.

use serde_json::{Value, json};

use super::api::Api;
use super::world::{Faults, World};
use crate::cluster::pass::Context;

fn new(spec: Value) -> (World, Context) {
    let world = World::new(11, Faults::default());
    let operator = world.operator("lamina:0.1.0");
    world.spec(spec);
    (world, operator)
}

async fn begun(spec: Value) -> (World, Context) {
    let (world, operator) = new(spec);
    world.settle(&operator, 40).await;
    (world, operator)
}

async fn turns(world: &World, operator: &Context, n: usize) {
    for _ in 0..n {
        world.turn(operator).await;
    }
}

fn message(world: &World, condition: &str) -> String {
    world.condition(condition).2
}

#[tokio::test]
async fn a_quota_a_missing_volume_or_a_wrong_image_are_named_and_a_mended_one_goes_on() {
    let (world, operator) = new(json!({}));
    world.api(|api| api.quota = 4);
    turns(&world, &operator, 6).await;
    assert!(
        message(&world, "Ready").contains("see the events of StatefulSet"),
        "{}",
        message(&world, "Ready")
    );
    world.api(|api| api.quota = 0);
    world.settle(&operator, 40).await;

    let (world, operator) = new(json!({}));
    world.api(|api| api.no_volumes = true);
    turns(&world, &operator, 6).await;
    let said = message(&world, "Ready");
    assert!(said.contains("orders-data-0") && said.contains("unbound immediate"), "{said}");
    world.api(|api| api.no_volumes = false);
    world.settle(&operator, 40).await;

    let (world, operator) = new(json!({ "image": { "tag": "bad" } }));
    turns(&world, &operator, 6).await;
    assert!(message(&world, "Ready").contains("ImagePullBackOff"), "{}", message(&world, "Ready"));
    world.spec(json!({ "image": { "tag": "0.1.0" } }));
    world.settle(&operator, 40).await;
    assert_eq!(world.store(|it| it.foundings.len()), 1);
}

#[tokio::test]
async fn a_webhook_that_refuses_is_quoted_and_when_it_gives_in_the_store_goes_on() {
    for resource in ["services", "poddisruptionbudgets", "statefulsets", "networkpolicies"] {
        let (world, operator) = new(json!({}));
        world.api(|api| api.refuses = Some(resource));
        turns(&world, &operator, 6).await;
        let (verdict, reason, message) = world.condition("Stalled");
        assert_eq!((verdict.as_str(), reason.as_str()), ("True", "ApiRefused"), "{resource}");
        assert!(message.contains("admission webhook"), "{message}");
        world.api(|api| api.refuses = None);
        world.settle(&operator, 40).await;
    }
}

#[tokio::test]
async fn objects_of_others_that_have_our_names_are_never_touched() {
    for (group, resource, name) in [
        ("", "serviceaccounts", "orders"),
        ("", "configmaps", "orders-bootstrap"),
        ("", "configmaps", "orders-templates"),
        ("", "services", "orders-data"),
        ("policy", "poddisruptionbudgets", "orders-data"),
        ("networking.k8s.io", "networkpolicies", "orders-nodes"),
    ] {
        let (world, operator) = new(json!({}));
        let object =
            json!({ "apiVersion": "v1", "kind": "Theirs", "metadata": { "name": name }, "theirs": true });
        world.api(|api| api.create(&Api::id(group, resource, name), &object));
        let theirs = world.get(group, resource, name);
        turns(&world, &operator, 12).await;
        assert_eq!(world.condition("Stalled").1, "NameConflict", "{name}: {}", message(&world, "Stalled"));
        assert_eq!(world.get(group, resource, name), theirs);
        assert_eq!(world.store(|it| it.foundings.len() * usize::from(name == "orders-bootstrap")), 0);
        world.take_away(group, resource, name);
        world.settle(&operator, 60).await;
    }
}

#[tokio::test]
async fn a_deleted_store_takes_its_volumes_with_it_if_it_was_to_and_another_begins_empty() {
    let (world, operator) = begun(json!({ "reclaimPolicy": "Delete" })).await;
    let uuid = world.cluster()["status"]["clusterUUID"].clone();
    world.store(|it| it.given_up = true);
    world.delete();
    (0..8).for_each(|_| world.step());
    assert!(world.get("", "persistentvolumeclaims", "data-orders-data-0").is_none());
    world.spec(json!({}));
    world.settle(&operator, 60).await;
    assert_ne!(world.cluster()["status"]["clusterUUID"], uuid);
    assert_eq!(world.store(|it| it.foundings.len()), 2);
}

#[tokio::test]
async fn a_store_that_is_made_again_with_another_number_of_nodes_keeps_those_that_it_has() {
    let (world, operator) = begun(json!({})).await;
    world.delete();
    (0..6).for_each(|_| world.step());
    world.spec(
        json!({ "frontend": { "replicas": 5 }, "index": { "replicas": 4 }, "data": { "replicas": 4 } }),
    );
    for _ in 0..30 {
        world.turn(&operator).await;
        for extra in ["orders-frontend-3", "orders-index-3", "orders-data-3"] {
            assert!(world.get("", "pods", extra).is_none(), "{extra} was started");
        }
    }
    assert_eq!(world.condition("Stalled").1, "ScalingUnsupported", "{}", message(&world, "Stalled"));
    world.spec(json!({}));
    world.settle(&operator, 40).await;
    assert_eq!(world.store(|it| it.foundings.len()), 1);
}

#[tokio::test]
async fn a_lost_host_degrades_the_store_allows_no_eviction_and_destroys_nothing() {
    let (world, operator) = begun(json!({})).await;
    world.lose_host("host-2");
    turns(&world, &operator, 8).await;
    assert_eq!(world.condition("Degraded").0, "True");
    assert!(message(&world, "Degraded").contains("-2 is not seen"), "{}", message(&world, "Degraded"));
    let budget = world.get("policy", "poddisruptionbudgets", "orders-data").unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 0);
    assert!(world.is("Available"));
    world.find_hosts();
    world.settle(&operator, 40).await;
    assert_eq!(world.condition("Degraded").0, "False");
    let budget = world.get("policy", "poddisruptionbudgets", "orders-data").unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
}

#[tokio::test]
async fn a_spec_that_changes_all_the_time_ends_as_the_last_one_says() {
    let (world, operator) = begun(json!({})).await;
    for n in 0..20 {
        world.spec(json!({ "overrides": { "index": { "labels": { "n": n.to_string() } } } }));
        world.turn(&operator).await;
    }
    world.settle(&operator, 100).await;
    for n in 0..3 {
        let pod = world.get("", "pods", &format!("orders-index-{n}")).unwrap();
        assert_eq!(pod["metadata"]["labels"]["n"], "19");
    }
}

#[tokio::test]
async fn a_record_or_a_status_that_somebody_removed_is_made_anew_from_the_store() {
    let (world, operator) = begun(json!({})).await;
    let uuid = world.cluster()["status"]["clusterUUID"].clone();
    world.edit("lamina.dev", "storageclusters", "orders", |it| {
        it.as_object_mut().unwrap().remove("status");
    });
    world.settle(&operator, 10).await;
    assert_eq!(world.cluster()["status"]["clusterUUID"], uuid);
    world.edit("", "configmaps", "orders-bootstrap", |it| it["data"] = json!({}));
    turns(&world, &operator, 3).await;
    assert!(message(&world, "Stalled").contains("cannot be understood"), "{}", message(&world, "Stalled"));
    world.take_away("", "configmaps", "orders-bootstrap");
    world.settle(&operator, 10).await;
    assert_eq!(world.cluster()["status"]["clusterUUID"], uuid);
    assert_eq!(world.store(|it| it.foundings.len()), 1);
}
