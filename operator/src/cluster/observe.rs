//! Reads all that a pass is made from: objects by their labels, pods, volumes, and what the store says. Nothing is remembered from
//! pass to pass, and nothing is watched but what wakes the next one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DynamicObject, ListParams, ObjectMeta, Request};
use kube::{Api, Client, Resource};
use lamina_crds::{Bytes, StorageCluster, StorageOperation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::compare::{items, text};
use super::plan::asked::created;
use super::record::{Found, Record};
use super::seen::{Claim, Object, Owner, Place, Pod, Seen, marked};
use super::template;
use crate::kinds::Kind;
use crate::names::{CONTAINER, GIVES_UP, Key, REVISION};
use crate::store::Store;

/// So long a pod is new.
const NEW_SECONDS: i64 = 300;

/// Looks at everything. `now`: in seconds since 1970.
pub async fn observe(
    client: &Client,
    store: &Store,
    key: &Key,
    cluster: &StorageCluster,
    now: i64,
) -> kube::Result<Seen> {
    let mut seen = Seen::default();
    let owner = cluster.metadata.uid.as_deref().unwrap_or_default();
    for kind in Kind::OWNED {
        for json in list::<Value>(client, key, kind).await? {
            let name = text(&json, "/metadata/name").unwrap_or_default().to_owned();
            seen.objects.insert((kind, name), object_of(key, owner, kind, json));
        }
    }
    if let Entry::Vacant(absent) = seen.objects.entry((Kind::ConfigMap, key.record())) {
        // Much depends on its absence, and a list may be late.
        let maps: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &key.namespace, &Kind::ConfigMap.resource());
        if let Some(record) = maps.get_opt(&key.record()).await? {
            let json = serde_json::to_value(&record).unwrap_or_default();
            absent.insert(object_of(key, owner, Kind::ConfigMap, json));
        }
    }
    let ours =
        |name: &str| seen.objects.get(&(Kind::ConfigMap, name.to_owned())).filter(|it| it.owner == Owner::Us);
    seen.record = ours(&key.record()).map_or(Found::Absent, |object| Record::read(&object.json));
    seen.templates = ours(&key.templates()).map(|object| template::read(&object.json)).unwrap_or_default();
    for item in list::<Item<PodSpec>>(client, key, Kind::Pod).await? {
        let name = item.metadata.name.clone().unwrap_or_default();
        if let Some(place) = key.parse_pod(&name) {
            seen.pods.insert(place, pod(name, &item, &cluster.spec.topology.zone_key));
        }
    }
    for item in list::<Item<Value>>(client, key, Kind::Claim).await? {
        let name = item.metadata.name.clone().unwrap_or_default();
        if let Some(place) = key.parse_claim(&name) {
            seen.claims.insert(place, claim(name, &item));
        }
    }
    let operations: Api<StorageOperation> = Api::namespaced(client.clone(), &key.namespace);
    let all = operations.list(&ListParams::default()).await?;
    seen.operations = all.items.into_iter().filter(|it| it.spec.cluster == key.name).collect();
    seen.operations.sort_by_key(|it| (created(it), it.metadata.name.clone()));
    ask_store(store, key, &mut seen).await;
    seen.zones = zones(client, &cluster.spec.topology.zone_key, now, &seen).await;
    Ok(seen)
}

/// As much of an object as is looked at.
#[derive(Deserialize)]
struct Item<Spec> {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Value,
}

/// As much of a pod's spec as is looked at: the rest is as long as its template.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    node_name: String,
}

#[derive(Deserialize)]
struct Listed<T> {
    items: Vec<T>,
}

/// The objects of a kind that bear the labels of the store. Those of others are never read.
async fn list<T: DeserializeOwned>(client: &Client, key: &Key, kind: Kind) -> kube::Result<Vec<T>> {
    let path = DynamicObject::url_path(&kind.resource(), Some(&key.namespace));
    let labels = format!("{},app.kubernetes.io/instance={}", crate::names::managed(), key.name);
    let request = Request::new(path).list(&ListParams::default().labels(&labels));
    let listed: Listed<T> = client.request(request.map_err(kube::Error::BuildRequest)?).await?;
    Ok(listed.items)
}

fn object_of(key: &Key, owner: &str, kind: Kind, mut json: Value) -> Object {
    if let Some(fields) = json.as_object_mut() {
        // The items of a list do not say what they are, and objects are compared with it.
        let resource = kind.resource();
        fields.insert("apiVersion".to_owned(), Value::String(resource.api_version));
        fields.insert("kind".to_owned(), Value::String(resource.kind));
    }
    let controller = items(&json, "/metadata/ownerReferences")
        .iter()
        .find(|it| it.get("controller").and_then(Value::as_bool) == Some(true));
    let said = |of: &Value, field: &str| text(of, field).unwrap_or_default().to_owned();
    let owner = match controller {
        None => Owner::Nobody,
        Some(it) if text(it, "/uid") == Some(owner) => Owner::Us,
        Some(it) if text(it, "/kind") == Some("StorageCluster") && text(it, "/name") == Some(&key.name) => {
            Owner::Predecessor
        }
        Some(it) => Owner::Other(format!("{} {}", said(it, "/kind"), said(it, "/name"))),
    };
    let uid = said(&json, "/metadata/uid");
    let deleting = text(&json, "/metadata/deletionTimestamp").is_some();
    Object { uid, owner, deleting, json }
}

fn seconds(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second())
}

/// The UID of the object that controls another.
fn controller(metadata: &ObjectMeta) -> Option<String> {
    let owners = metadata.owner_references.iter().flatten();
    owners.filter(|it| it.controller == Some(true)).map(|it| it.uid.clone()).next()
}

fn pod(name: String, item: &Item<PodSpec>, zone_key: &str) -> Pod {
    // Others may stand beside it: sidecars are injected.
    let container =
        items(&item.status, "/containerStatuses").iter().find(|it| text(it, "/name") == Some(CONTAINER));
    let condition =
        |kind: &str| items(&item.status, "/conditions").iter().find(|it| text(it, "/type") == Some(kind));
    let labels = item.metadata.labels.as_ref();
    let label = |name: &str| labels.and_then(|all| all.get(name)).cloned().unwrap_or_default();
    Pod {
        name,
        uid: item.metadata.uid.clone().unwrap_or_default(),
        created: seconds(&item.metadata),
        deleting: item.metadata.deletion_timestamp.is_some(),
        ready: condition("Ready").and_then(|it| text(it, "/status")) == Some("True"),
        running: container.is_some_and(|it| it.pointer("/state/running").is_some()),
        revision: label(REVISION),
        host: item.spec.node_name.clone(),
        zone: label(zone_key),
        set: controller(&item.metadata),
        trouble: trouble(container, condition("PodScheduled")),
    }
}

/// Why a pod does not run, in Kubernetes' words.
fn trouble(container: Option<&Value>, scheduled: Option<&Value>) -> String {
    let said = |at: Option<&Value>, reason: &str, message: &str| {
        let reason = at.and_then(|it| text(it, reason))?;
        let message = at.and_then(|it| text(it, message)).unwrap_or_default();
        let message: String = message.chars().take(120).collect();
        Some(if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") })
    };
    let unscheduled = scheduled.filter(|it| text(it, "/status") == Some("False"));
    said(container, "/state/waiting/reason", "/state/waiting/message")
        .or_else(|| said(container, "/state/terminated/reason", "/state/terminated/message"))
        .or_else(|| said(unscheduled, "/reason", "/message"))
        .unwrap_or_default()
}

fn claim(name: String, item: &Item<Value>) -> Claim {
    let amount = |at: &Value, pointer: &str| text(at, pointer).map_or(0, |it| Bytes::new(it).bytes());
    let annotations = item.metadata.annotations.as_ref();
    Claim {
        name,
        uid: item.metadata.uid.clone().unwrap_or_default(),
        created: seconds(&item.metadata),
        deleting: item.metadata.deletion_timestamp.is_some(),
        requested: amount(&item.spec, "/resources/requests/storage"),
        capacity: amount(&item.status, "/capacity/storage"),
        owned: item.metadata.owner_references.as_ref().is_some_and(|all| !all.is_empty()),
        gives_up: annotations.and_then(|all| all.get(GIVES_UP)).map(|text| marked(text)),
    }
}

/// Asks every node who it is, and those that belong to a store how that is.
async fn ask_store(store: &Store, key: &Key, seen: &mut Seen) {
    let running = seen.pods.iter().filter(|(_, pod)| pod.running && !pod.deleting);
    let asks = running.map(|(place, pod)| async move {
        let identity = store.identify(&key.address(place.0, place.1)).await.ok()?;
        // A name may still lead to whoever had it before.
        (identity.name == pod.name && identity.role == crate::names::role(place.0))
            .then_some((*place, identity))
    });
    let identities: BTreeMap<Place, _> = join_all(asks).await.into_iter().flatten().collect();
    let member = |(place, it): &(&Place, &lamina_peers::admin::Identity)| {
        place.0 == lamina_crds::operation::Component::Frontend && it.cluster.is_some()
    };
    let doors: Vec<String> =
        identities.iter().filter(member).map(|(place, _)| key.address(place.0, place.1)).collect();
    seen.identities = identities;
    if doors.is_empty() {
        return;
    }
    let store = store.through(doors);
    seen.status = store.status().await.ok();
    if seen.status.is_some() {
        seen.probe = Some(store.probe().await);
    }
}

/// Zones of hosts, for nodes whose zone the store does not know yet, and for pods that are new: they may be elsewhere than those
/// before them. Without leave to read hosts there are none.
async fn zones(client: &Client, label: &str, now: i64, seen: &Seen) -> BTreeMap<String, String> {
    let mut zones = BTreeMap::new();
    let Some(status) = seen.store() else { return zones };
    let nodes: Api<Node> = Api::all(client.clone());
    for pod in seen.pods.values().filter(|pod| pod.zone.is_empty() && !pod.host.is_empty() && pod.ready) {
        let unknown = status.view.nodes.iter().any(|node| node.name == pod.name && node.zone.is_empty());
        let new = now - pod.created < NEW_SECONDS;
        if !(unknown || new) || zones.contains_key(&pod.host) {
            continue;
        }
        let Ok(Some(host)) = nodes.get_metadata_opt(&pod.host).await else { continue };
        let zone = host.metadata.labels.and_then(|all| all.get(label).cloned()).unwrap_or_default();
        zones.insert(pod.host.clone(), zone);
    }
    zones
}
