//! Single stories, each from an empty cluster.

use serde_json::{Value, json};

use super::world::{Faults, World};
use crate::cluster::pass::Context;

const IMAGE: &str = "lamina:0.1.0";

async fn begun(spec: Value) -> (World, Context) {
    let world = World::new(7, Faults::default());
    let operator = world.operator(IMAGE);
    world.spec(spec);
    world.settle(&operator, 40).await;
    (world, operator)
}

fn pods(world: &World) -> Vec<(String, String)> {
    let mut pods = Vec::new();
    for role in ["data", "frontend", "index"] {
        for n in 0..3 {
            let pod = world.get("", "pods", &format!("orders-{role}-{n}")).unwrap();
            let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
            pods.push((format!("{role}-{n}"), uid));
        }
    }
    pods
}

fn claim(world: &World, pod: &str) -> Value {
    world.get("", "persistentvolumeclaims", &format!("data-orders-{pod}")).unwrap()
}

async fn turns(world: &World, operator: &Context, n: usize) {
    for _ in 0..n {
        world.turn(operator).await;
    }
}

#[tokio::test]
async fn a_store_begins_once_and_then_nothing_is_written_any_more() {
    let (world, operator) = begun(json!({})).await;
    assert_eq!(world.store(|it| it.foundings.len()), 1);
    let conditions = world.cluster()["status"]["conditions"].as_array().unwrap().len();
    assert_eq!(conditions, 10);
    turns(&world, &operator, 5).await;
    world.forget_writes();
    let events = world.events().len();
    turns(&world, &operator, 20).await;
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.events().len(), events);
    let restarted = world.operator(IMAGE);
    turns(&world, &restarted, 5).await;
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_template_replaces_pods_one_after_the_other_data_first() {
    let (world, operator) = begun(json!({})).await;
    let before = pods(&world);
    world.spec(json!({ "overrides": {
        "data": { "labels": { "a": "b" } }, "index": { "labels": { "a": "b" } }, "frontend": { "labels": { "a": "b" } },
    } }));
    let mut order: Vec<String> = Vec::new();
    for _ in 0..200 {
        world.turn(&operator).await;
        let gone = |pod: &str, uid: &str| {
            world.get("", "pods", &format!("orders-{pod}")).is_none_or(|it| {
                it["metadata"]["uid"] != *uid || it["metadata"].get("deletionTimestamp").is_some()
            })
        };
        for (pod, uid) in &before {
            if gone(pod, uid) && !order.contains(pod) {
                order.push(pod.clone());
            }
        }
        if world.is("Ready") && world.is("Reconciled") {
            break;
        }
    }
    let wanted = [
        "data-2",
        "data-1",
        "data-0",
        "index-2",
        "index-1",
        "index-0",
        "frontend-2",
        "frontend-1",
        "frontend-0",
    ];
    assert_eq!(order, wanted);
    assert_eq!(world.store(|it| it.grants.len()), 9);
    assert!(world.store(|it| it.granted().is_none()));
}

#[tokio::test]
async fn a_bad_image_stops_after_one_pod_and_a_good_one_goes_on_by_itself() {
    let (world, operator) = begun(json!({})).await;
    let before = pods(&world);
    world.spec(json!({ "image": { "tag": "bad" } }));
    turns(&world, &operator, 40).await;
    let now = pods(&world);
    let changed = before.iter().zip(&now).filter(|(was, is)| was != is).count();
    assert_eq!(changed, 1, "{now:?}");
    assert!(!world.is("Ready"));
    let (verdict, reason, message) = world.condition("Progressing");
    assert_eq!((verdict.as_str(), reason.as_str()), ("True", "Rolling"), "{message}");
    assert!(world.condition("Degraded").2.contains("ImagePullBackOff"), "{:?}", world.condition("Degraded"));
    world.spec(json!({ "image": { "tag": "0.1.1" } }));
    world.settle(&operator, 200).await;
    let image = world.get("", "pods", "orders-data-2").unwrap()["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, "lamina:0.1.1");
    assert_eq!(world.cluster()["status"]["version"], "0.1.1");
}

#[tokio::test]
async fn another_number_of_nodes_stalls_with_the_way_back_and_changes_nothing() {
    let (world, operator) = begun(json!({})).await;
    world.spec(json!({ "index": { "replicas": 5 } }));
    turns(&world, &operator, 10).await;
    let (verdict, reason, message) = world.condition("Stalled");
    assert_eq!((verdict.as_str(), reason.as_str()), ("True", "ScalingUnsupported"));
    assert!(message.contains("index.replicas is 5: set it back to 3"), "{message}");
    assert_eq!(world.get("apps", "statefulsets", "orders-index").unwrap()["spec"]["replicas"], 3);
    assert!(!world.is("Ready"));
    world.spec(json!({}));
    world.settle(&operator, 10).await;
    assert_eq!(world.condition("Stalled").0, "False");
}

#[tokio::test]
async fn a_version_that_the_operator_cannot_run_leaves_the_pods_alone() {
    let (world, operator) = begun(json!({})).await;
    let before = pods(&world);
    world.spec(json!({ "version": "0.7.0" }));
    turns(&world, &operator, 20).await;
    assert_eq!(world.condition("Stalled").1, "VersionUnsupported");
    assert_eq!(pods(&world), before);
    world.spec(json!({}));
    world.settle(&operator, 10).await;
    assert_eq!(pods(&world), before);
}

#[tokio::test]
async fn a_newer_operator_restarts_nothing_until_it_is_followed() {
    let (world, _) = begun(json!({})).await;
    let before = pods(&world);
    let newer = world.operator("lamina:0.1.5");
    turns(&world, &newer, 20).await;
    assert_eq!(pods(&world), before);
    assert_eq!(world.condition("UpgradeAvailable").0, "True");
    assert!(world.is("Ready") && world.is("Reconciled"));
    world.spec(json!({ "upgrade": { "podTemplatePolicy": "FollowOperator" } }));
    world.settle(&newer, 200).await;
    assert!(pods(&world).iter().zip(&before).all(|(is, was)| is != was));
    assert_eq!(world.cluster()["status"]["version"], "0.1.5");
    assert_eq!(world.condition("UpgradeAvailable").0, "False");
}

#[tokio::test]
async fn a_paused_store_is_left_as_it_is() {
    let (world, operator) = begun(json!({})).await;
    world.spec(json!({ "paused": true, "overrides": { "data": { "labels": { "a": "b" } } } }));
    turns(&world, &operator, 3).await;
    world.take_away("", "services", "orders-client");
    world.forget_writes();
    turns(&world, &operator, 10).await;
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.condition("Paused").0, "True");
    assert!(world.get("", "services", "orders-client").is_none());
    world.spec(json!({ "overrides": { "data": { "labels": { "a": "b" } } } }));
    world.settle(&operator, 100).await;
    assert!(world.get("", "services", "orders-client").is_some());
}

#[tokio::test]
async fn objects_that_were_removed_or_changed_by_hand_come_back_and_additions_stay() {
    let (world, operator) = begun(json!({})).await;
    for (group, resource, name) in [
        ("", "services", "orders-index"),
        ("", "serviceaccounts", "orders"),
        ("", "configmaps", "orders-templates"),
        ("policy", "poddisruptionbudgets", "orders-data"),
        ("networking.k8s.io", "networkpolicies", "orders-nodes"),
    ] {
        world.take_away(group, resource, name);
        world.settle(&operator, 20).await;
        assert!(world.get(group, resource, name).is_some(), "{name}");
    }
    world.edit("", "services", "orders-client", |it| {
        it["spec"]["ports"][0]["port"] = json!(1);
        it["metadata"]["labels"]["theirs"] = json!("stays");
    });
    turns(&world, &operator, 3).await;
    let service = world.get("", "services", "orders-client").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 4700);
    assert_eq!(service["metadata"]["labels"]["theirs"], "stays");
    world.spec(json!({ "network": { "policy": "Disabled" } }));
    world.settle(&operator, 20).await;
    assert!(world.get("networking.k8s.io", "networkpolicies", "orders-nodes").is_none());
}

#[tokio::test]
async fn volumes_grow_and_the_pods_stay() {
    for reclaim in ["Retain", "Delete"] {
        let (world, operator) = begun(json!({ "reclaimPolicy": reclaim })).await;
        let before = pods(&world);
        world.spec(json!({ "reclaimPolicy": reclaim, "data": { "storage": { "size": "20Gi" } } }));
        world.settle(&operator, 40).await;
        assert_eq!(pods(&world), before);
        assert_eq!(claim(&world, "data-1")["spec"]["resources"]["requests"]["storage"], "20Gi");
        assert_eq!(claim(&world, "frontend-1")["spec"]["resources"]["requests"]["storage"], "10Gi");
        let set = world.get("apps", "statefulsets", "orders-data").unwrap();
        assert_eq!(
            set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"],
            "20Gi"
        );
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], reclaim);
        assert!(world.is("VolumesResized"));
    }
}

#[tokio::test]
async fn volumes_that_cannot_grow_are_said_to_and_the_old_size_is_the_way_back() {
    let (world, operator) = begun(json!({})).await;
    world.refuse_growth();
    world.spec(json!({ "data": { "storage": { "size": "20Gi" } } }));
    turns(&world, &operator, 10).await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "ResizeUnsupported");
    assert!(message.contains("set the old size"), "{message}");
    world.spec(json!({}));
    world.settle(&operator, 10).await;
}

#[tokio::test]
async fn a_restart_that_was_asked_for_restarts_each_pod_once() {
    let (world, operator) = begun(json!({})).await;
    let before = pods(&world);
    turns(&world, &operator, 2).await;
    world.operate("again", json!({ "type": "RollingRestart", "rollingRestart": { "components": ["Data"] } }));
    for _ in 0..100 {
        world.turn(&operator).await;
    }
    let operation = world.get("lamina.dev", "storageoperations", "again").unwrap();
    assert_eq!(operation["status"]["phase"], "Succeeded", "{operation:#}");
    let now = pods(&world);
    let changed: Vec<&str> =
        before.iter().zip(&now).filter(|(was, is)| was != is).map(|((name, _), _)| name.as_str()).collect();
    assert_eq!(changed, ["data-0", "data-1", "data-2"]);
    assert_eq!(world.store(|it| it.grants.len()), 3);
}

#[tokio::test]
async fn the_annotation_for_a_restart_restarts_all_pods() {
    let (world, operator) = begun(json!({})).await;
    let before = pods(&world);
    world.edit("lamina.dev", "storageclusters", "orders", |it| {
        it["metadata"]["annotations"] = json!({ "lamina.dev/restartedAt": "2026-11-22" });
    });
    for _ in 0..150 {
        world.turn(&operator).await;
    }
    assert!(world.is("Ready") && world.is("Reconciled"));
    assert!(pods(&world).iter().zip(&before).all(|(is, was)| is != was));
}

#[tokio::test]
async fn a_lost_node_is_replaced_when_somebody_says_so_and_not_before() {
    for pod in ["data-1", "frontend-1"] {
        let (world, operator) = begun(json!({})).await;
        let before = claim(&world, pod)["metadata"]["uid"].clone();
        world.operate(
            "early",
            json!({ "type": "ReplaceNode", "replaceNode": { "node": format!("orders-{pod}") } }),
        );
        turns(&world, &operator, 10).await;
        let operation = world.get("lamina.dev", "storageoperations", "early").unwrap();
        assert_eq!(operation["status"]["phase"], "Pending", "{operation:#}");
        assert!(operation["status"]["message"].as_str().unwrap().contains("kubectl drain"), "{operation:#}");
        assert_eq!(claim(&world, pod)["metadata"]["uid"], before);
        world.lose_host("host-1");
        for _ in 0..60 {
            world.turn(&operator).await;
            let there = world.get("", "persistentvolumeclaims", &format!("data-orders-{pod}"));
            if there.is_none_or(|it| it["metadata"]["uid"] != before) {
                world.find_hosts();
            }
        }
        world.find_hosts();
        world.settle(&operator, 100).await;
        assert_ne!(claim(&world, pod)["metadata"]["uid"], before);
        let operation = world.get("lamina.dev", "storageoperations", "early").unwrap();
        assert_eq!(operation["status"]["phase"], "Succeeded", "{operation:#}");
    }
}

#[tokio::test]
async fn a_deleted_store_keeps_its_volumes_and_comes_back_as_what_it_was() {
    let (world, operator) = begun(json!({})).await;
    let uuid = world.cluster()["status"]["clusterUUID"].clone();
    let before = claim(&world, "data-0")["metadata"]["uid"].clone();
    world.delete();
    for _ in 0..5 {
        world.step();
    }
    assert!(world.get("apps", "statefulsets", "orders-data").is_none());
    world.spec(json!({}));
    world.settle(&operator, 60).await;
    assert_eq!(world.cluster()["status"]["clusterUUID"], uuid);
    assert_eq!(claim(&world, "data-0")["metadata"]["uid"], before);
    assert_eq!(world.store(|it| it.foundings.len()), 1);
}

#[tokio::test]
async fn a_store_made_anew_while_the_old_one_is_still_collected_waits_for_it() {
    let (world, operator) = begun(json!({})).await;
    world.delete();
    world.spec(json!({}));
    world.pass(&operator).await;
    world.pass(&operator).await;
    world.settle(&operator, 60).await;
    assert_eq!(world.store(|it| it.foundings.len()), 1);
}

#[tokio::test]
async fn lost_volumes_stall_the_store_and_nobody_begins_an_empty_one_under_its_name() {
    let (world, operator) = begun(json!({})).await;
    world.store(|it| {
        // As if somebody had removed the disks themselves.
        it.volumes.clear();
        it.processes.clear();
    });
    turns(&world, &operator, 10).await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "VolumesLost", "{message}");
    assert_eq!(world.store(|it| it.foundings.len()), 1);
}

#[tokio::test]
async fn what_data_nodes_remember_does_not_hide_that_the_logs_are_lost() {
    for lost in [3, 2] {
        let (world, operator) = begun(json!({})).await;
        for n in 0..lost {
            let uid = claim(&world, &format!("frontend-{n}"))["metadata"]["uid"].as_str().unwrap().to_owned();
            world.store(|it| {
                it.volumes.remove(&uid);
                it.processes.retain(|_, process| process.claim != uid);
            });
        }
        turns(&world, &operator, 10).await;
        let (verdict, reason, message) = world.condition("Stalled");
        assert_eq!((verdict.as_str(), reason.as_str()), ("True", "VolumesLost"), "{lost}: {message}");
        assert!(
            world.condition("Available").2.contains("frontends answer"),
            "{:?}",
            world.condition("Available")
        );
        assert_eq!(world.store(|it| it.foundings.len()), 1);
    }
}

#[tokio::test]
async fn an_object_of_somebody_else_is_never_touched() {
    let world = World::new(7, Faults::default());
    let operator = world.operator(IMAGE);
    world.spec(json!({}));
    world.foreign_service("orders-client");
    turns(&world, &operator, 10).await;
    let (verdict, reason, message) = world.condition("Stalled");
    assert_eq!((verdict.as_str(), reason.as_str()), ("True", "NameConflict"), "{message}");
    assert_eq!(world.get("", "services", "orders-client").unwrap()["spec"]["ports"], Value::Null);
    world.take_away("", "services", "orders-client");
    world.settle(&operator, 60).await;
}
