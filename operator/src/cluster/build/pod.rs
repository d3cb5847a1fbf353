//! The template of pods.

use lamina_crds::StorageClusterSpec;
use lamina_crds::cluster::{PodOverrides, PullPolicy, Resources, Spread};
use lamina_crds::operation::Component;
use serde_json::{Map, Value, json};

use crate::names::{CALL_PORT, CONTAINER, HTTP_PORT, Key, RESTARTED_AT};

/// Where the program lies in the image.
const PROGRAM: &str = "/usr/bin/lamina";
/// The user of the image.
const USER: u32 = 65532;
/// A node that is told to stop hands over what it leads and ends its streams, which takes seconds; a busy disk, longer.
const GRACE_SECONDS: u32 = 120;
/// The name of a host.
const HOST: &str = "kubernetes.io/hostname";

/// What a template is made from, beside the spec.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodOptions {
    /// The image.
    pub image: String,
    /// When it is pulled, if the spec does not say otherwise.
    pub pull_policy: String,
    /// When somebody wanted all pods restarted, in their words.
    pub restarted_at: Option<String>,
}

/// The template of a role's pods, without its revision.
pub fn template(key: &Key, spec: &StorageClusterSpec, component: Component, options: &PodOptions) -> Value {
    let extra = overrides(spec, component);
    let mut labels = key.labels(Some(component));
    labels.extend(extra.labels.clone());
    let mut annotations = extra.annotations.clone();
    if let Some(at) = &options.restarted_at {
        annotations.insert(RESTARTED_AT.to_owned(), at.clone());
    }
    let mut pod = json!({
        "serviceAccountName": key.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "affinity": affinity(key, spec, component),
        "topologySpreadConstraints": spread(key, spec, component),
        "containers": [container(key, spec, component, options)],
    });
    let mut set = |name: &str, value: Value| {
        if let Some(fields) = pod.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    };
    if !spec.image.pull_secrets.is_empty() {
        let names: Vec<Value> = spec.image.pull_secrets.iter().map(|it| json!({ "name": it.name })).collect();
        set("imagePullSecrets", json!(names));
    }
    if !extra.node_selector.is_empty() {
        set("nodeSelector", json!(extra.node_selector));
    }
    if !extra.tolerations.is_empty() {
        set("tolerations", json!(extra.tolerations));
    }
    if let Some(class) = &extra.priority_class_name {
        set("priorityClassName", json!(class));
    }
    let mut metadata = json!({ "labels": labels });
    if let (Some(fields), false) = (metadata.as_object_mut(), annotations.is_empty()) {
        fields.insert("annotations".to_owned(), json!(annotations));
    }
    json!({ "metadata": metadata, "spec": pod })
}

fn container(key: &Key, spec: &StorageClusterSpec, component: Component, options: &PodOptions) -> Value {
    let mut env = vec![
        json!({ "name": "POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }),
    ];
    env.extend(overrides(spec, component).env.iter().map(|it| json!({ "name": it.name, "value": it.value })));
    let pull_policy = match spec.image.pull_policy {
        PullPolicy::IfNotPresent => options.pull_policy.as_str(),
        PullPolicy::Always => "Always",
        PullPolicy::Never => "Never",
    };
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": { "path": path, "port": "http", "scheme": "HTTP" },
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": CONTAINER,
        "image": options.image,
        "imagePullPolicy": pull_policy,
        "command": [PROGRAM],
        "args": arguments(key, spec, component),
        "env": env,
        "ports": [
            { "name": "grpc", "containerPort": CALL_PORT, "protocol": "TCP" },
            { "name": "http", "containerPort": HTTP_PORT, "protocol": "TCP" },
        ],
        "resources": resources(resources_of(spec, component)),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        // A long log is read before the port is opened. Whether others answer never counts here.
        "startupProbe": probe("/live", 5, 360),
        "livenessProbe": probe("/live", 10, 6),
        "readinessProbe": probe("/ready", 2, 3),
    });
    if let (true, Some(fields)) = (component != Component::Index, container.as_object_mut()) {
        fields.insert("volumeMounts".to_owned(), json!([{ "name": "data", "mountPath": "/data" }]));
    }
    container
}

fn arguments(key: &Key, spec: &StorageClusterSpec, component: Component) -> Vec<String> {
    // The first ones by name, because the headless name of all could lead a process to itself.
    let first = (0..spec.frontend.replication_factor).map(|n| key.address(Component::Frontend, n));
    let seeds: Vec<String> =
        first.chain([format!("{}:{CALL_PORT}", key.domain(Component::Frontend))]).collect();
    let mut arguments = vec![
        component.as_str().to_owned(),
        "--name=$(POD_NAME)".to_owned(),
        "--dir=/data".to_owned(),
        format!("--listen=0.0.0.0:{CALL_PORT}"),
        format!("--admin-listen=0.0.0.0:{HTTP_PORT}"),
        format!("--advertise=$(POD_NAME).{}:{CALL_PORT}", key.domain(component)),
        format!("--seeds={}", seeds.join(",")),
    ];
    match component {
        Component::Frontend => arguments.push(format!("--memory={}", spec.frontend.cache_bytes.bytes())),
        Component::Index => arguments.push(format!("--memory={}", spec.index.memory_bytes.bytes())),
        Component::Data => {}
    }
    arguments
}

fn resources(of: &Resources) -> Value {
    let amounts = |amounts: &lamina_crds::cluster::ResourceAmounts| {
        let mut out = Map::new();
        if let Some(cpu) = &amounts.cpu {
            out.insert("cpu".to_owned(), json!(cpu.as_str()));
        }
        if let Some(memory) = &amounts.memory {
            out.insert("memory".to_owned(), json!(memory.as_str()));
        }
        Value::Object(out)
    };
    json!({ "requests": amounts(&of.requests), "limits": amounts(&of.limits) })
}

fn affinity(key: &Key, spec: &StorageClusterSpec, component: Component) -> Value {
    let term = json!({
        "labelSelector": { "matchLabels": key.selector(Some(component)) },
        "topologyKey": HOST,
    });
    let mut apart = match spec.topology.spread {
        Spread::Required => json!({ "requiredDuringSchedulingIgnoredDuringExecution": [term] }),
        Spread::Preferred => json!({
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": term }],
        }),
    };
    let asked = overrides(spec, component).affinity.as_ref().map(|it| json!(it)).unwrap_or_default();
    let mut affinity = Map::new();
    for (name, value) in asked.as_object().into_iter().flatten() {
        if name != "podAntiAffinity" {
            affinity.insert(name.clone(), value.clone());
            continue;
        }
        for (rule, terms) in value.as_object().into_iter().flatten() {
            let mine = apart.get(rule).and_then(Value::as_array).cloned().unwrap_or_default();
            let theirs = terms.as_array().cloned().unwrap_or_default();
            if let Some(fields) = apart.as_object_mut() {
                fields.insert(rule.clone(), Value::Array([mine, theirs].concat()));
            }
        }
    }
    affinity.insert("podAntiAffinity".to_owned(), apart);
    Value::Object(affinity)
}

fn spread(key: &Key, spec: &StorageClusterSpec, component: Component) -> Value {
    let otherwise = match spec.topology.spread {
        Spread::Required => "DoNotSchedule",
        Spread::Preferred => "ScheduleAnyway",
    };
    json!([{
        "maxSkew": 1,
        "topologyKey": spec.topology.zone_key,
        "whenUnsatisfiable": otherwise,
        "labelSelector": { "matchLabels": key.selector(Some(component)) },
    }])
}

/// What a user adds to the pods of a role.
pub fn overrides(spec: &StorageClusterSpec, component: Component) -> &PodOverrides {
    match component {
        Component::Frontend => &spec.overrides.frontend,
        Component::Index => &spec.overrides.index,
        Component::Data => &spec.overrides.data,
    }
}

/// Processors and memory of a role.
pub fn resources_of(spec: &StorageClusterSpec, component: Component) -> &Resources {
    match component {
        Component::Frontend => &spec.frontend.resources,
        Component::Index => &spec.index.resources,
        Component::Data => &spec.data.resources,
    }
}
