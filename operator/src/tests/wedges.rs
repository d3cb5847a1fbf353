//! What once could wedge a store: each is named, and has a way out that needs no deletion by hand.

use serde_json::{Value, json};

use super::api::Api;
use super::world::{Faults, World};
use crate::cluster::pass::Context;

fn new(spec: Value) -> (World, Context) {
    let world = World::new(13, Faults::default());
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

fn uid(world: &World, resource: &str, name: &str) -> Value {
    world.get("", resource, name).unwrap()["metadata"]["uid"].clone()
}

fn operation(world: &World, name: &str) -> (String, String) {
    let status = world.get(lamina_crds::GROUP, "storageoperations", name).unwrap()["status"].clone();
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    (text("phase"), text("message"))
}

fn replaces(pod: &str) -> Value {
    json!({ "type": "ReplaceNode", "replaceNode": { "node": pod } })
}

#[tokio::test]
async fn index_pods_that_run_and_are_never_ready_are_replaced_when_the_template_is_mended() {
    let (world, operator) = begun(json!({})).await;
    world.spec(json!({ "image": { "tag": "lame" } }));
    turns(&world, &operator, 60).await;
    assert!(!world.is("Ready"));
    let ready = world.condition("Ready").2;
    assert!(ready.contains("2 of 3 index nodes are ready: orders-index-2 is not ready"), "{ready}");
    world.spec(json!({ "image": { "tag": "0.1.1" } }));
    world.settle(&operator, 200).await;

    // Two of them, because both were killed while the template was bad.
    let (world, operator) = begun(json!({})).await;
    world.spec(json!({ "image": { "tag": "lame" } }));
    turns(&world, &operator, 60).await;
    world.take_away("", "pods", "orders-index-1");
    turns(&world, &operator, 10).await;
    world.spec(json!({ "image": { "tag": "0.1.1" } }));
    world.settle(&operator, 200).await;
}

#[tokio::test]
async fn a_lost_index_node_is_replaced_without_its_host() {
    let (world, operator) = begun(json!({})).await;
    let before = uid(&world, "pods", "orders-index-1");
    world.operate("early", replaces("orders-index-1"));
    turns(&world, &operator, 5).await;
    assert_eq!(operation(&world, "early").0, "Pending", "{:?}", operation(&world, "early"));
    assert_eq!(uid(&world, "pods", "orders-index-1"), before);
    world.lose_host("host-1");
    // Kubernetes asks for the deletion of pods on a lost host, and waits for it for ever.
    world.take_away("", "pods", "orders-index-1");
    turns(&world, &operator, 12).await;
    assert_ne!(uid(&world, "pods", "orders-index-1"), before, "{:?}", operation(&world, "early"));
    world.find_hosts();
    world.settle(&operator, 60).await;
    turns(&world, &operator, 2).await;
    assert_eq!(operation(&world, "early").0, "Succeeded", "{:?}", operation(&world, "early"));
}

#[tokio::test]
async fn a_replacement_of_a_node_that_runs_does_not_stay_armed() {
    let (world, operator) = begun(json!({})).await;
    let before = uid(&world, "persistentvolumeclaims", "data-orders-data-1");
    world.operate("armed", replaces("orders-data-1"));
    turns(&world, &operator, 20).await;
    assert_eq!(operation(&world, "armed").0, "Pending");
    turns(&world, &operator, 50).await;
    let (phase, message) = operation(&world, "armed");
    assert_eq!(phase, "Failed", "{message}");
    assert!(message.contains("kubectl drain"), "{message}");
    world.lose_host("host-1");
    turns(&world, &operator, 20).await;
    assert_eq!(uid(&world, "persistentvolumeclaims", "data-orders-data-1"), before);
}

#[tokio::test]
async fn a_replacement_does_not_wait_for_the_restart_that_waits_for_it() {
    let (world, operator) = begun(json!({})).await;
    turns(&world, &operator, 2).await;
    world.operate("restart", json!({ "type": "RollingRestart" }));
    turns(&world, &operator, 2).await;
    world.lose_host("host-1");
    turns(&world, &operator, 6).await;
    let before = uid(&world, "persistentvolumeclaims", "data-orders-data-1");
    world.operate("replace", replaces("orders-data-1"));
    world.operate("second", json!({ "type": "RollingRestart" }));
    turns(&world, &operator, 2).await;
    assert!(operation(&world, "second").1.contains("another restart goes first"));
    for _ in 0..60 {
        world.turn(&operator).await;
        let there = world.get("", "persistentvolumeclaims", "data-orders-data-1");
        if there.is_none_or(|it| it["metadata"]["uid"] != before) {
            world.find_hosts();
        }
    }
    assert_ne!(uid(&world, "persistentvolumeclaims", "data-orders-data-1"), before);
    turns(&world, &operator, 250).await;
    for name in ["replace", "restart", "second"] {
        assert_eq!(operation(&world, name).0, "Succeeded", "{name}: {:?}", operation(&world, name));
    }
    assert!(world.is("Ready") && world.is("Reconciled"));
}

#[tokio::test]
async fn an_operation_does_not_outlive_its_store() {
    let (world, operator) = begun(json!({})).await;
    turns(&world, &operator, 2).await;
    world.operate("old", replaces("orders-data-1"));
    turns(&world, &operator, 2).await;
    world.delete();
    (0..4).for_each(|_| world.step());
    world.spec(json!({}));
    world.settle(&operator, 60).await;
    turns(&world, &operator, 2).await;
    let (phase, message) = operation(&world, "old");
    assert_eq!(phase, "Failed");
    assert!(message.contains("earlier StorageCluster"), "{message}");
}

#[tokio::test]
async fn a_store_whose_beginning_was_cut_off_is_finished_under_the_next_storagecluster() {
    let mut seen = 0;
    for call in 1..60 {
        let (world, operator) = new(json!({}));
        world.crash_at(call, true);
        for _ in 0..12 {
            world.turn(&operator).await;
            if !world.crash_is_to_come() {
                break;
            }
        }
        let told = world.store(|it| it.volumes.values().filter(|it| it.record.is_some()).count());
        if told != 1 {
            continue;
        }
        seen += 1;
        world.delete();
        (0..4).for_each(|_| world.step());
        world.spec(json!({}));
        world.settle(&operator, 60).await;
        assert_eq!(world.store(|it| it.foundings.len()), 1);
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn what_somebody_changes_by_hand_is_set_back_and_told_where_it_was() {
    let (world, operator) = begun(json!({})).await;
    turns(&world, &operator, 2).await;
    world.edit("", "services", "orders-client", |it| it["spec"]["type"] = json!("NodePort"));
    world.edit("policy", "poddisruptionbudgets", "orders-data", |it| it["spec"]["maxUnavailable"] = json!(3));
    turns(&world, &operator, 2).await;
    let events = world.events().join("\n");
    for note in
        ["Service orders-client was changed at spec.type", "orders-data was changed at spec.maxUnavailable"]
    {
        assert!(events.contains(note), "{note}: {events}");
    }
    let told = world.events().len();
    world.settle(&operator, 10).await;
    turns(&world, &operator, 5).await;
    assert_eq!(world.events().iter().filter(|it| it.contains("was changed at")).count(), 2, "{told}");
}

#[tokio::test]
async fn what_a_webhook_writes_over_is_named_costs_no_writes_and_holds_up_no_rollout() {
    let (world, operator) = begun(json!({})).await;
    let image = "/spec/template/spec/containers/0/image";
    world.api(|api| api.writes_over = Some(("statefulsets", image, json!("mirror/lamina:0.1.0"))));
    world.spec(json!({ "overrides": { "index": { "labels": { "a": "b" } } } }));
    turns(&world, &operator, 80).await;
    for n in 0..3 {
        let pod = world.get("", "pods", &format!("orders-index-{n}")).unwrap();
        assert_eq!(pod["metadata"]["labels"]["a"], "b");
        assert_eq!(pod["spec"]["containers"][0]["image"], "mirror/lamina:0.1.0");
    }
    assert!(world.is("Ready"));
    let (_, reason, message) = world.condition("Progressing");
    assert_eq!(reason, "Applying");
    assert!(message.contains("spec.template.spec.containers[lamina].image of StatefulSet"), "{message}");
    world.forget_writes();
    turns(&world, &operator, 10).await;
    assert_eq!(world.writes(), Vec::<String>::new());
    world.api(|api| api.writes_over = None);
    world.settle(&operator, 100).await;
}

#[tokio::test]
async fn a_step_that_keeps_failing_is_quoted() {
    let (world, operator) = new(json!({}));
    world.api(|api| api.fails = Some("statefulsets"));
    turns(&world, &operator, 4).await;
    let (verdict, _, message) = world.condition("Progressing");
    assert_eq!(verdict, "True");
    assert!(message.contains("StatefulSet") && message.contains("no route to host"), "{message}");
    world.api(|api| api.fails = None);
    world.settle(&operator, 40).await;
}

#[tokio::test]
async fn volumes_that_cannot_grow_hold_up_no_rollout() {
    let (world, operator) = begun(json!({})).await;
    world.refuse_growth();
    let spec = json!({ "data": { "storage": { "size": "20Gi" } }, "overrides": { "index": { "labels": { "a": "b" } } } });
    world.spec(spec);
    turns(&world, &operator, 80).await;
    assert_eq!(world.condition("Stalled").1, "ResizeUnsupported");
    for n in 0..3 {
        let pod = world.get("", "pods", &format!("orders-index-{n}")).unwrap();
        assert_eq!(pod["metadata"]["labels"]["a"], "b");
    }
}

#[tokio::test]
async fn growth_and_a_new_template_at_once_leave_no_pod_without_its_statefulset() {
    // The fake API server refuses to evict a pod that nobody would make anew.
    let (world, operator) = begun(json!({})).await;
    world.spec(json!({
        "data": { "storage": { "size": "20Gi" } },
        "overrides": { "data": { "labels": { "a": "b" } } },
    }));
    world.settle(&operator, 100).await;
}

#[tokio::test]
async fn nothing_is_taken_up_from_pods_that_are_about_to_be_collected() {
    let (world, operator) = begun(json!({ "reclaimPolicy": "Delete" })).await;
    let uuid = world.cluster()["status"]["clusterUUID"].clone();
    world.store(|it| it.given_up = true);
    world.delete();
    // The collector has taken the StatefulSets, and has not come to their pods yet.
    for role in ["data", "index", "frontend"] {
        world.api(|api| api.remove(&Api::id("apps", "statefulsets", &format!("orders-{role}"))));
    }
    world.api(|api| {
        let ours = ["configmaps", "services", "serviceaccounts", "poddisruptionbudgets", "networkpolicies"];
        let gone: Vec<_> = api.objects.keys().filter(|id| ours.contains(&id.1.as_str())).cloned().collect();
        gone.iter().for_each(|id| api.remove(id));
    });
    world.spec(json!({}));
    world.pass(&operator).await;
    world.pass(&operator).await;
    assert!(world.get("", "configmaps", "orders-bootstrap").is_none());
    world.settle(&operator, 60).await;
    assert_ne!(world.cluster()["status"]["clusterUUID"], uuid);
}

#[tokio::test]
async fn objects_whose_labels_were_taken_away_are_found_again() {
    let (world, operator) = begun(json!({})).await;
    turns(&world, &operator, 2).await;
    let pods =
        || -> Vec<Value> { (0..3).map(|n| uid(&world, "pods", &format!("orders-data-{n}"))).collect() };
    let before = pods();
    for (group, resource, name) in [
        ("apps", "statefulsets", "orders-data"),
        ("", "services", "orders-client"),
        ("policy", "poddisruptionbudgets", "orders-index"),
    ] {
        world.edit(group, resource, name, |it| {
            it["metadata"].as_object_mut().unwrap().remove("labels");
        });
    }
    turns(&world, &operator, 1).await;
    world.settle(&operator, 20).await;
    for (group, resource, name) in
        [("apps", "statefulsets", "orders-data"), ("", "services", "orders-client")]
    {
        let labels = world.get(group, resource, name).unwrap()["metadata"]["labels"].clone();
        assert_eq!(labels["app.kubernetes.io/instance"], "orders", "{name}");
    }
    assert_eq!(pods(), before);
}
