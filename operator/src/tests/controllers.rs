//! What Kubernetes does by itself: StatefulSets make pods and claims, claims are bound and grow, kubelets start and stop programs,
//! and what belongs to nobody any more is collected.

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{Api, Id, time};
use super::fakestore::{FakeStore, Process};
use super::world::NAMESPACE;
use crate::names::Key;

/// One step of everything. `lost`: hosts that answer no more.
pub fn step(api: &mut Api, store: &mut FakeStore, lost: &[String]) {
    collect(api);
    sets(api);
    claims(api, store);
    pods(api, store, lost);
}

fn all(api: &Api, resource: &str) -> Vec<(Id, Arc<Value>)> {
    api.objects.iter().filter(|(id, _)| id.1 == resource).map(|(id, it)| (id.clone(), it.clone())).collect()
}

/// Objects whose owner is gone.
fn collect(api: &mut Api) {
    let uids: Vec<Value> = api.objects.values().map(|it| it["metadata"]["uid"].clone()).collect();
    let orphaned = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|all| !all.is_empty() && all.iter().all(|it| !uids.contains(&it["uid"])))
    };
    let gone: Vec<Id> = api.objects.iter().filter(|(_, it)| orphaned(it)).map(|(id, _)| id.clone()).collect();
    for id in gone {
        api.begin_deletion(&id, false);
    }
}

fn sets(api: &mut Api) {
    for (_, set) in all(api, "statefulsets") {
        let name = set["metadata"]["name"].as_str().unwrap();
        retain(api, &set);
        scale_in(api, &set, name);
        for ordinal in 0..set["spec"]["replicas"].as_u64().unwrap() {
            let pod = Api::id("", "pods", &format!("{name}-{ordinal}"));
            let owner = json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name,
                                 "uid": set["metadata"]["uid"], "controller": true }]);
            if let Some(there) = api.objects.get(&pod) {
                if there["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty) {
                    api.edit(&pod, |it| it["metadata"]["ownerReferences"] = owner);
                }
                continue;
            }
            let there = api.objects.keys().filter(|id| id.1 == "pods").count();
            if (api.quota > 0 && there >= api.quota) || !claim_is_there(api, &set, name, ordinal) {
                continue;
            }
            let mut object = json!({ "apiVersion": "v1", "kind": "Pod" });
            object["metadata"] = set["spec"]["template"]["metadata"].clone();
            object["metadata"]["name"] = json!(pod.3);
            object["metadata"]["ownerReferences"] = owner;
            object["spec"] = set["spec"]["template"]["spec"].clone();
            object["spec"]["nodeName"] = json!(format!("host-{ordinal}"));
            api.create(&pod, &object);
        }
    }
}

/// Deletes pods beyond the number of replicas, the highest first.
fn scale_in(api: &mut Api, set: &Value, name: &str) {
    for (id, _) in all(api, "pods").into_iter().rev() {
        let ordinal = id.3.strip_prefix(&format!("{name}-")).and_then(|it| it.parse::<u64>().ok());
        if ordinal.is_some_and(|it| it >= set["spec"]["replicas"].as_u64().unwrap()) {
            api.begin_deletion(&id, false);
        }
    }
}

/// Claims go with their StatefulSet, or not, as it says.
fn retain(api: &mut Api, set: &Value) {
    let name = set["metadata"]["name"].as_str().unwrap();
    let deletes = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == json!("Delete");
    for (id, claim) in all(api, "persistentvolumeclaims") {
        let owned = claim["metadata"].get("ownerReferences").is_some();
        if !id.3.starts_with(&format!("data-{name}-")) || owned == deletes {
            continue;
        }
        api.edit(&id, |claim| {
            if deletes {
                claim["metadata"]["ownerReferences"] =
                    json!([{ "kind": "StatefulSet", "name": name, "uid": set["metadata"]["uid"] }]);
            } else {
                claim["metadata"].as_object_mut().unwrap().remove("ownerReferences");
            }
        });
    }
}

/// Makes the claim of a pod. No pod is made while its claim is being deleted.
fn claim_is_there(api: &mut Api, set: &Value, name: &str, ordinal: u64) -> bool {
    let Some(template) = set["spec"]["volumeClaimTemplates"].get(0) else { return true };
    let id = Api::id("", "persistentvolumeclaims", &format!("data-{name}-{ordinal}"));
    if let Some(there) = api.objects.get(&id) {
        return there["metadata"].get("deletionTimestamp").is_none();
    }
    let mut claim = template.clone();
    claim["metadata"]["name"] = json!(id.3);
    api.create(&id, &claim);
    true
}

fn claims(api: &mut Api, store: &mut FakeStore) {
    for (id, claim) in all(api, "persistentvolumeclaims") {
        if claim["metadata"].get("deletionTimestamp").is_some() {
            let pod = Api::id("", "pods", id.3.strip_prefix("data-").unwrap());
            if !api.objects.contains_key(&pod) {
                api.remove(&id);
                store.destroy(claim["metadata"]["uid"].as_str().unwrap());
            }
            continue;
        }
        if api.no_volumes && claim["status"]["phase"] != "Bound" {
            continue;
        }
        let size = &claim["spec"]["resources"]["requests"]["storage"];
        tell(api, &id, json!({ "phase": "Bound", "capacity": { "storage": size } }));
    }
}

/// Writes a status, if it is another than before.
fn tell(api: &mut Api, id: &Id, status: Value) {
    if api.objects[id]["status"] != status {
        api.edit(id, |object| object["status"] = status);
    }
}

fn pods(api: &mut Api, store: &mut FakeStore, lost: &[String]) {
    let not_ready = json!([{ "type": "Ready", "status": "False" }]);
    for (id, pod) in all(api, "pods") {
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        if lost.iter().any(|host| pod["spec"]["nodeName"] == **host) {
            store.processes.remove(&uid);
            tell(api, &id, json!({ "conditions": not_ready }));
            continue;
        }
        if pod["metadata"].get("deletionTimestamp").is_some() {
            store.processes.remove(&uid);
            api.remove(&id);
            continue;
        }
        let claim = Api::id("", "persistentvolumeclaims", &format!("data-{}", id.3));
        if api.objects.get(&claim).is_some_and(|it| it["status"]["phase"] != "Bound") {
            let why = "pod has unbound immediate PersistentVolumeClaims";
            let unscheduled = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why });
            tell(api, &id, json!({ "conditions": [not_ready[0], unscheduled] }));
            continue;
        }
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        if image.contains("bad") {
            let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
            tell(api, &id, json!({ "conditions": not_ready, "containerStatuses": containers(&waiting) }));
            continue;
        }
        if !store.processes.contains_key(&uid) {
            let process = process(api, &id.3, &image);
            store.start(&uid, process);
        }
        // Readiness latches, as the program's own does.
        let was = pod["status"]["conditions"][0]["status"] == json!("True");
        let ready = if was || store.is_ready(&uid) { "True" } else { "False" };
        let running = json!({ "running": { "startedAt": time(0) } });
        let conditions = json!([{ "type": "Ready", "status": ready }]);
        tell(api, &id, json!({ "conditions": conditions, "containerStatuses": containers(&running) }));
    }
    let uids: Vec<String> =
        all(api, "pods").iter().map(|(_, it)| it["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    store.processes.retain(|uid, _| uids.contains(uid));
}

/// The container of the node, beside one that somebody has injected and that never runs.
fn containers(state: &Value) -> Value {
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    json!([{ "name": "a-sidecar", "state": waiting }, { "name": "lamina", "state": state }])
}

fn process(api: &Api, pod: &str, image: &str) -> Process {
    let key = Key { namespace: NAMESPACE.to_owned(), name: super::world::NAME.to_owned() };
    let (component, ordinal) = key.parse_pod(pod).unwrap();
    let claim = Api::id("", "persistentvolumeclaims", &format!("data-{pod}"));
    let claim = api.objects.get(&claim).map(|it| it["metadata"]["uid"].as_str().unwrap().to_owned());
    Process {
        pod: pod.to_owned(),
        role: crate::names::role(component),
        address: key.address(component, ordinal),
        claim: claim.unwrap_or_default(),
        version: image.rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default(),
        age: None,
        incarnation: 1,
    }
}
