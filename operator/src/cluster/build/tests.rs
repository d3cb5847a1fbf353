use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use lamina_crds::StorageClusterSpec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pod::PodOptions;
use super::statefulset::SetOptions;
use super::*;
use crate::cluster::compare;

fn key() -> Key {
    Key { namespace: "shop".into(), name: "orders".into() }
}

fn spec(json: Value) -> StorageClusterSpec {
    serde_json::from_value(json).unwrap()
}

fn full() -> StorageClusterSpec {
    spec(json!({
        "image": { "pullSecrets": [{ "name": "reg" }] },
        "topology": { "spread": "Required", "zoneKey": "rack" },
        "network": {
            "allowFrom": [{ "namespaceSelector": {} }, { "podSelector": { "matchLabels": { "a": "b" } } }],
            "service": { "type": "LoadBalancer", "annotations": { "x/y": "z" } },
        },
        "data": { "storage": { "size": "20Gi", "storageClassName": "fast" } },
        "reclaimPolicy": "Delete",
        "overrides": { "data": {
            "labels": { "team": "a" },
            "annotations": { "note": "b" },
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "k", "operator": "Exists" }],
            "priorityClassName": "high",
            "env": [{ "name": "RUST_BACKTRACE", "value": "1" }],
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
                { "topologyKey": "rack", "labelSelector": { "matchLabels": { "app": "noisy" } } },
            ] } },
        } },
    }))
}

fn template(spec: &StorageClusterSpec, component: Component) -> Value {
    let options = PodOptions {
        image: "lamina:1".into(),
        pull_policy: "Never".into(),
        restarted_at: Some("now".into()),
    };
    pod::template(&key(), spec, component, &options)
}

fn set(spec: &StorageClusterSpec, component: Component) -> Value {
    let options = SetOptions {
        replicas: 3,
        template: template(spec, component),
        size: Some("20Gi".into()),
        keep_volumes: false,
    };
    statefulset::set(&key(), "uid-1", spec, component, options)
}

/// Every field is one that Kubernetes knows, at its place: nothing gets lost on the way through its types.
fn is_known<T: DeserializeOwned + Serialize>(object: Value) {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    let back = serde_json::to_value(typed).unwrap();
    assert!(compare::has(&back, &object), "{object:#}\nbecomes\n{back:#}");
}

#[test]
fn every_field_of_every_object_is_one_that_kubernetes_knows() {
    for spec in [spec(json!({})), full()] {
        for component in Component::ALL {
            is_known::<StatefulSet>(hashed(set(&spec, component)));
            is_known::<Service>(services::headless(&key(), "u", component));
            is_known::<PodDisruptionBudget>(budgets::budget(&key(), "u", component, true));
        }
        is_known::<Service>(services::client(&key(), "u", &spec));
        is_known::<ServiceAccount>(services::account(&key(), "u"));
        is_known::<NetworkPolicy>(network::nodes(&key(), "u", "ops"));
        is_known::<NetworkPolicy>(network::clients(&key(), "u", &spec));
        let outside = json!([{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }]);
        let mut open = spec.clone();
        open.network.allow_from = serde_json::from_value(outside.clone()).unwrap();
        let policy = network::clients(&key(), "u", &open);
        assert_eq!(policy["spec"]["ingress"][0]["from"][1], outside[0]);
        is_known::<NetworkPolicy>(policy);
    }
    is_known::<ConfigMap>(crate::cluster::template::object(&key(), "u", &Default::default()));
}

#[test]
fn what_cannot_be_changed_later_is_right_from_the_beginning() {
    for component in Component::ALL {
        let set = set(&spec(json!({})), component);
        assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
        assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Retain");
        assert_eq!(set["spec"].get("volumeClaimTemplates").is_some(), component != Component::Index);
    }
    assert_eq!(
        set(&full(), Component::Data)["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"],
        "Delete"
    );
}

#[test]
fn pods_pass_the_restricted_profile_and_hold_no_token() {
    for component in Component::ALL {
        let template = template(&full(), component);
        let pod = &template["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    }
}

#[test]
fn a_node_is_told_its_name_its_address_and_frontends_by_name() {
    let template = template(&spec(json!({})), Component::Index);
    let args: Vec<&str> = template["spec"]["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert_eq!(args[0], "index");
    assert!(args.contains(&"--advertise=$(POD_NAME).orders-index.shop.svc:4700"), "{args:?}");
    assert!(args.contains(&"--memory=1073741824"), "{args:?}");
    let seeds = args.iter().find_map(|it| it.strip_prefix("--seeds=")).unwrap();
    let seeds: Vec<&str> = seeds.split(',').collect();
    assert_eq!(seeds.len(), 4);
    assert_eq!(seeds[0], "orders-frontend-0.orders-frontend.shop.svc:4700");
    assert_eq!(seeds[3], "orders-frontend.shop.svc:4700");
}

#[test]
fn a_users_additions_stand_beside_those_of_the_operator() {
    let template = template(&full(), Component::Data);
    assert_eq!(template["metadata"]["labels"]["team"], "a");
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/component"], "data");
    assert_eq!(template["metadata"]["annotations"]["lamina.dev/restartedAt"], "now");
    let apart =
        &template["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(apart.as_array().unwrap().len(), 2);
}

#[test]
fn the_hash_changes_when_a_field_goes_although_others_left_nothing_to_compare() {
    let one = hashed(json!({"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}}));
    let other = hashed(json!({"metadata": {"name": "a"}, "spec": {"x": 1}}));
    assert!(!compare::has(&one, &other));
}
