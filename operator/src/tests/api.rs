//! An API server: objects with versions, server-side apply with owners of fields, preconditions, evictions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::request::Request;

/// Group, resource, namespace, name.
pub type Id = (String, String, String, String);

/// An answer: the HTTP code and the body.
pub type Answer = (u16, Value);

/// All objects.
#[derive(Default)]
pub struct Api {
    pub objects: BTreeMap<Id, Arc<Value>>,
    /// What each manager applied to each object, by leaf.
    owned: BTreeMap<(Id, String), BTreeSet<Vec<String>>>,
    /// What was at a place before each of the last changes, newest last.
    history: VecDeque<(Id, Option<Arc<Value>>)>,
    version: u64,
    uids: u64,
    /// The clock, in seconds.
    pub now: i64,
    /// Writes that changed something, by whoever uses the client.
    pub writes: Vec<String>,
    /// Writes that were asked for, whether they changed something or not.
    pub asked: Vec<String>,
    /// Whether volumes may grow.
    pub growth: bool,
    /// Rights that were used: group, resource, verb.
    pub used: BTreeSet<(String, String, &'static str)>,
    /// Lists and watches, with their selectors.
    pub looks: BTreeSet<(&'static str, String, String)>,
    /// So many pods may be made in all; 0: any number.
    pub quota: usize,
    /// Nobody makes volumes.
    pub no_volumes: bool,
    /// A webhook refuses every change of this resource.
    pub refuses: Option<&'static str>,
    /// A webhook writes this at this place of objects of this resource.
    pub writes_over: Option<(&'static str, &'static str, Value)>,
    /// Changes of this resource fail: something behind the API server is broken.
    pub fails: Option<&'static str>,
    /// Events that were published.
    pub events: Vec<String>,
}

/// Changes that a list may not have seen yet.
const HISTORY: usize = 12;

impl Api {
    pub fn id(group: &str, resource: &str, name: &str) -> Id {
        (group.to_owned(), resource.to_owned(), super::world::NAMESPACE.to_owned(), name.to_owned())
    }

    /// Answers a request, as JSON. `stale`: lists show the state of so many writes ago.
    pub fn answer(&mut self, request: &Request, stale: usize) -> (u16, Vec<u8>) {
        self.used.insert((request.group.clone(), request.ruled(), request.verb));
        if matches!(request.verb, "list" | "watch") {
            let selector = request.parameter("labelSelector").unwrap_or_default().to_owned();
            self.looks.insert((request.verb, request.resource.clone(), selector));
        }
        if request.verb == "list" && request.covered() {
            return (200, self.list(request, stale));
        }
        let (code, body) = self.act(request);
        (code, serde_json::to_vec(&body).unwrap())
    }

    fn act(&mut self, request: &Request) -> Answer {
        if !request.covered() {
            panic!("not in the table of rules: {request:?}");
        }
        if request.resource == "events" {
            let note = request.body.pointer("/note").and_then(Value::as_str).unwrap_or_default();
            self.events.push(note.to_owned());
            return (201, request.body.clone());
        }
        if request.writes() && self.refuses == Some(request.resource.as_str()) {
            return (403, status(403, "Forbidden", "admission webhook \"strict\" denied the request: no"));
        }
        if request.writes() && self.fails == Some(request.resource.as_str()) {
            return (500, status(500, "InternalError", "failed calling webhook: no route to host"));
        }
        let id = (
            request.group.clone(),
            request.resource.clone(),
            request.namespace.clone(),
            request.name.clone(),
        );
        if request.writes() {
            self.asked.push(request.says());
        }
        let before = self.version;
        let answer = match (request.verb, request.subresource.as_str()) {
            ("watch", _) => (200, Value::Null),
            ("get", _) => self.objects.get(&id).map_or_else(missing, |it| (200, Value::clone(it))),
            ("create", "eviction") => self.evict(&id, &request.body),
            ("create", _) => self.create(&id, &request.body),
            ("delete", _) => self.delete(&id, &request.body),
            ("patch", sub) if request.content.contains("apply-patch") => {
                let manager = request.parameter("fieldManager").expect("apply names its manager").to_owned();
                assert_eq!(manager, crate::names::MANAGER);
                self.apply(&id, request.body.clone(), &format!("{manager}/{sub}"), sub == "status")
            }
            ("patch", _) => self.merge(&id, &request.body),
            ("update", _) => self.replace(&id, &request.body),
            (verb, _) => panic!("{verb}"),
        };
        if self.version != before && request.writes() {
            self.writes.push(request.says());
        }
        answer
    }

    fn list(&self, request: &Request, stale: usize) -> Vec<u8> {
        let selector = request.parameter("labelSelector").unwrap_or_default();
        let wanted: Vec<(&str, &str)> = selector.split(',').filter_map(|it| it.split_once('=')).collect();
        let matches = |object: &Value| {
            let label = |name: &str| object["metadata"]["labels"].get(name).and_then(Value::as_str);
            wanted.iter().all(|(name, value)| label(name) == Some(value))
        };
        let of = |(id, object): &(&Id, &Arc<Value>)| {
            id.0 == request.group && id.1 == request.resource && id.2 == request.namespace && matches(object)
        };
        let mut items: BTreeMap<&Id, &Arc<Value>> = self.objects.iter().filter(of).collect();
        for (id, was) in self.history.iter().rev().take(stale) {
            match was {
                Some(was) if of(&(id, was)) => items.insert(id, was),
                _ => items.remove(id),
            };
        }
        let metadata = json!({ "resourceVersion": "1" });
        let items = items.into_values().map(|it| Unnamed(it)).collect();
        serde_json::to_vec(&List { api_version: "v1", kind: "List", metadata, items }).unwrap()
    }

    /// Puts an object in its place, if it is another than it was.
    pub fn put(&mut self, id: &Id, mut object: Value) {
        let was = self.objects.get(id);
        if was.is_some_and(|was| **was == object) {
            return;
        }
        if was.is_some_and(|was| was["spec"] != object["spec"]) || was.is_none() {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let was = self.objects.insert(id.clone(), Arc::new(object));
        self.remember(id, was);
    }

    /// Takes an object away.
    pub fn remove(&mut self, id: &Id) {
        self.version += 1;
        self.owned.retain(|(of, _), _| of != id);
        let was = self.objects.remove(id);
        self.remember(id, was);
    }

    /// Changes an object, if it is there.
    pub fn edit(&mut self, id: &Id, edit: impl FnOnce(&mut Value)) {
        let Some(live) = self.objects.get(id) else { return };
        let mut object = Value::clone(live);
        edit(&mut object);
        self.put(id, object);
    }

    fn remember(&mut self, id: &Id, was: Option<Arc<Value>>) {
        self.history.push_back((id.clone(), was));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    pub fn create(&mut self, id: &Id, body: &Value) -> Answer {
        let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
        let id = (id.0.clone(), id.1.clone(), id.2.clone(), name);
        if self.objects.contains_key(&id) {
            return conflict("AlreadyExists");
        }
        let mut object = body.clone();
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        object["metadata"]["namespace"] = json!(id.2);
        object["metadata"]["creationTimestamp"] = json!(time(self.now));
        defaults(&id, &mut object);
        self.put(&id, object);
        (201, Value::clone(&self.objects[&id]))
    }

    fn replace(&mut self, id: &Id, body: &Value) -> Answer {
        let Some(live) = self.objects.get(id) else { return missing() };
        if body["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"] {
            return conflict("the object has been changed since");
        }
        self.update(id, body.clone())
    }

    fn merge(&mut self, id: &Id, patch: &Value) -> Answer {
        let Some(live) = self.objects.get(id) else { return missing() };
        if let Some(uid) = patch["metadata"].get("uid")
            && *uid != live["metadata"]["uid"]
        {
            return conflict("the UID in the precondition is another");
        }
        let mut object = Value::clone(live);
        merge(&mut object, patch);
        self.update(id, object)
    }

    fn update(&mut self, id: &Id, object: Value) -> Answer {
        if let Some(refused) = self.invalid(id, &object) {
            return refused;
        }
        self.put(id, object);
        (200, Value::clone(&self.objects[id]))
    }

    fn apply(&mut self, id: &Id, mut patch: Value, manager: &str, status: bool) -> Answer {
        let uid = patch["metadata"].as_object_mut().and_then(|it| it.remove("uid"));
        let mut leaves = BTreeSet::new();
        flatten(&patch, &mut Vec::new(), &mut leaves);
        let Some(live) = self.objects.get(id) else {
            assert!(!status, "status of nothing");
            if uid.is_some() {
                return conflict("the object is gone");
            }
            // Who makes an object by applying it needs leave to create it, too.
            assert!(crate::rbac::allows(&id.0, &id.1, &id.3, "create"), "{id:?} is created");
            self.used.insert((id.0.clone(), id.1.clone(), "create"));
            let answer = self.create(id, &patch);
            self.owned.insert((id.clone(), manager.to_owned()), leaves);
            return answer;
        };
        if uid.is_some_and(|uid| uid != live["metadata"]["uid"]) {
            return conflict("the UID in the precondition is another");
        }
        let mut object = Value::clone(live);
        let before = self.owned.get(&(id.clone(), manager.to_owned())).cloned().unwrap_or_default();
        for path in before.difference(&leaves) {
            cut(&mut object, path);
        }
        for path in &leaves {
            let value = path.iter().fold(&patch, |at, name| &at[name]);
            lay(&mut object, path, value.clone());
        }
        defaults(id, &mut object);
        if let Some((resource, pointer, value)) = &self.writes_over
            && id.1 == *resource
        {
            *object.pointer_mut(pointer).unwrap() = value.clone();
        }
        let answer = self.update(id, object);
        if answer.0 < 300 {
            self.owned.insert((id.clone(), manager.to_owned()), leaves);
        }
        answer
    }

    fn invalid(&self, id: &Id, object: &Value) -> Option<Answer> {
        let live = self.objects.get(id)?;
        let refuse = |code: u16, why: &str| Some((code, status(code, "Invalid", why)));
        let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        if owners.iter().filter(|it| it["controller"] == json!(true)).count() > 1 {
            return refuse(422, "only one controller");
        }
        match id.1.as_str() {
            "configmaps" if live["immutable"] == json!(true) && live["data"] != object["data"] => {
                refuse(422, "the ConfigMap is immutable")
            }
            "statefulsets" => {
                let fixed = ["podManagementPolicy", "serviceName", "selector", "volumeClaimTemplates"];
                let changed = fixed.iter().find(|field| live["spec"][**field] != object["spec"][**field]);
                changed.and_then(|field| refuse(422, &format!("{field} is immutable")))
            }
            "persistentvolumeclaims" => {
                let size = |it: &Value| it["spec"]["resources"]["requests"]["storage"].clone();
                if size(live) == size(object) {
                    None
                } else if self.growth {
                    let bytes = |it: Value| lamina_crds::Bytes::new(it.as_str().unwrap()).bytes();
                    if bytes(size(object)) < bytes(size(live)) {
                        refuse(422, "volumes cannot shrink")
                    } else {
                        None
                    }
                } else {
                    refuse(403, "the StorageClass must support resize")
                }
            }
            _ => None,
        }
    }

    fn delete(&mut self, id: &Id, options: &Value) -> Answer {
        let Some(live) = self.objects.get(id) else { return missing() };
        let precondition = &options["preconditions"];
        let differs = |field: &str, is: &Value| precondition.get(field).is_some_and(|it| it != is);
        if differs("uid", &live["metadata"]["uid"])
            || differs("resourceVersion", &live["metadata"]["resourceVersion"])
        {
            return conflict("the precondition does not hold");
        }
        assert!(precondition.get("uid").is_some(), "nothing is deleted by name alone: {id:?}");
        if options["propagationPolicy"] == json!("Orphan") {
            let uid = live["metadata"]["uid"].clone();
            self.orphan(&uid);
        }
        self.begin_deletion(id, options["gracePeriodSeconds"] == json!(0));
        (200, status(200, "", "deleted"))
    }

    /// What the garbage collector does before an orphaning deletion is over.
    fn orphan(&mut self, uid: &Value) {
        let ids: Vec<Id> = self.objects.keys().cloned().collect();
        for id in ids {
            self.edit(&id, |object| {
                let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
                owners.into_iter().for_each(|all| all.retain(|it| it["uid"] != *uid));
            });
        }
    }

    /// Pods and claims go in two steps; whatever else, at once.
    pub fn begin_deletion(&mut self, id: &Id, force: bool) {
        let stays = matches!(id.1.as_str(), "pods" | "persistentvolumeclaims") && !force;
        let Some(live) = self.objects.get(id) else { return };
        if !stays {
            self.remove(id);
        } else if live["metadata"].get("deletionTimestamp").is_none() {
            let now = time(self.now);
            self.edit(id, |object| object["metadata"]["deletionTimestamp"] = json!(now));
        }
    }

    fn evict(&mut self, id: &Id, body: &Value) -> Answer {
        let Some(pod) = self.objects.get(id) else { return missing() };
        let uid = &body["deleteOptions"]["preconditions"]["uid"];
        assert!(uid.is_string(), "evicted by name alone");
        if *uid != pod["metadata"]["uid"] {
            return conflict("the UID in the precondition is another");
        }
        let selects = |budget: &Value| {
            let labels = budget["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
            labels.iter().all(|(name, value)| pod["metadata"]["labels"].get(name) == Some(value))
        };
        let budget = self.objects.iter().find(|(id, it)| id.1 == "poddisruptionbudgets" && selects(it));
        if let Some((_, budget)) = budget {
            let pods = self.objects.iter().filter(|(id, it)| {
                id.1 == "pods"
                    && it["metadata"]["labels"]["app.kubernetes.io/component"]
                        == pod["metadata"]["labels"]["app.kubernetes.io/component"]
            });
            let down = pods.filter(|(_, it)| !is_ready(it)).count() as u64;
            let most = budget["spec"]["maxUnavailable"].as_u64().unwrap();
            let allowed = match budget["spec"]["unhealthyPodEvictionPolicy"].as_str() {
                _ if is_ready(pod) => down < most,
                Some("AlwaysAllow") => true,
                _ => down <= most,
            };
            if !allowed {
                return (429, status(429, "TooManyRequests", "the disruption budget does not allow it"));
            }
        }
        let set = id.3.rsplit_once('-').map_or("", |(set, _)| set);
        let set = Api::id("apps", "statefulsets", set);
        assert!(self.objects.contains_key(&set), "{} is evicted, and nobody would make it anew", id.3);
        self.begin_deletion(id, false);
        (201, status(200, "", "evicted"))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    items: Vec<Unnamed<'a>>,
}

/// An item of a list: the list says once what its items are, they themselves do not.
struct Unnamed<'a>(&'a Value);

impl Serialize for Unnamed<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.as_object().expect("an object");
        to.collect_map(fields.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind")))
    }
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"].get("deletionTimestamp").is_none()
        && conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"))
}

pub fn time(seconds: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

pub fn status(code: u16, reason: &str, message: &str) -> Value {
    let word = if code < 300 { "Success" } else { "Failure" };
    json!({ "apiVersion": "v1", "kind": "Status", "status": word, "code": code, "reason": reason, "message": message })
}

fn missing() -> Answer {
    (404, status(404, "NotFound", "not found"))
}

fn conflict(why: &str) -> Answer {
    (409, status(409, "Conflict", why))
}

/// What the API server makes of what it is given: defaults are added, empty texts dropped, amounts written their way.
fn defaults(id: &Id, object: &mut Value) {
    object["metadata"]["managedFields"] = json!([{ "manager": "somebody", "operation": "Apply" }]);
    match id.1.as_str() {
        "statefulsets" => {
            let pod = &mut object["spec"]["template"]["spec"];
            pod["restartPolicy"] = json!("Always");
            pod["dnsPolicy"] = json!("ClusterFirst");
            pod["schedulerName"] = json!("default-scheduler");
            pod["serviceAccount"] = pod["serviceAccountName"].clone();
            for container in pod["containers"].as_array_mut().unwrap() {
                container["terminationMessagePath"] = json!("/dev/termination-log");
                let env = container.get_mut("env").and_then(Value::as_array_mut);
                for env in env.into_iter().flatten() {
                    if env["value"] == json!("") {
                        env.as_object_mut().unwrap().remove("value");
                    }
                }
                for side in ["requests", "limits"] {
                    normalise(&mut container["resources"], side);
                }
                container["livenessProbe"]["successThreshold"] = json!(1);
            }
            object["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
            let claims = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
            for claim in claims.into_iter().flatten() {
                claim["apiVersion"] = json!("v1");
                claim["kind"] = json!("PersistentVolumeClaim");
                claim["status"] = json!({ "phase": "Pending" });
                normalise(&mut claim["spec"]["resources"], "requests");
            }
        }
        "services" => {
            object["spec"]["sessionAffinity"] = json!("None");
            object["spec"]["ipFamilies"] = json!(["IPv4"]);
            object["spec"]["internalTrafficPolicy"] = json!("Cluster");
            if object["spec"].get("clusterIP").is_none() {
                object["spec"]["clusterIP"] = json!("10.96.0.9");
            }
        }
        "persistentvolumeclaims" => normalise(&mut object["spec"]["resources"], "requests"),
        _ => {}
    }
}

/// Amounts in their canonical form; an empty map is dropped.
fn normalise(resources: &mut Value, side: &str) {
    let Some(amounts) = resources.get_mut(side).and_then(Value::as_object_mut) else { return };
    for (name, amount) in amounts.iter_mut() {
        let text = amount.as_str().unwrap();
        *amount = json!(match name.as_str() {
            "cpu" => millis(lamina_crds::Cpu::new(text).millis()),
            _ => bytes(lamina_crds::Bytes::new(text).bytes()),
        });
    }
    if amounts.is_empty() {
        resources.as_object_mut().unwrap().remove(side);
    }
}

fn millis(millis: u64) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

fn bytes(bytes: u64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti"];
    let at = (0..units.len()).rev().find(|n| bytes.is_multiple_of(1 << (10 * n))).unwrap();
    format!("{}{}", bytes >> (10 * at), units[at])
}

fn flatten(value: &Value, path: &mut Vec<String>, out: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(name.clone());
                flatten(value, path, out);
                path.pop();
            }
        }
        _ => {
            out.insert(path.clone());
        }
    }
}

fn lay(object: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    lay(&mut object[name], rest, value);
}

fn cut(object: &mut Value, path: &[String]) {
    let Some((last, way)) = path.split_last() else { return };
    let at = way.iter().try_fold(object, |at, name| at.get_mut(name));
    if let Some(fields) = at.and_then(Value::as_object_mut) {
        fields.remove(last);
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (name, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut object[name], value);
        }
    }
}
