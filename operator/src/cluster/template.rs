//! Accepted pod templates. They stand in a ConfigMap of the store, so that a newer operator, which would render other pods,
//! does not replace those that run well: what was accepted stays until the spec's own fields change, or the spec says that
//! the operator is to be followed.

use std::collections::BTreeMap;

use lamina_crds::StorageCluster;
use lamina_crds::cluster::PodTemplatePolicy;
use lamina_crds::operation::Component;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::build;
use super::build::pod::{self, PodOptions};
use super::compare::{hash, hash_of};
use crate::names::{Key, RESTARTED_AT, REVISION};
use crate::options::Images;

/// One accepted template.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Hash of the template: what pods are compared by.
    pub revision: String,
    /// Hash of the spec's fields that it was rendered from.
    pub inputs: String,
    /// Hash of those of them that choose the image.
    pub image_inputs: String,
    /// The image in it.
    pub image: String,
    /// The template, without its revision.
    pub template: Value,
}

/// The accepted templates of a store, as they were found.
pub type Templates = BTreeMap<Component, Accepted>;

/// What shall be accepted now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Choice {
    /// The templates.
    pub templates: Templates,
    /// The revision of all of them together.
    pub revision: String,
    /// The revision that this operator would make by itself, if it is another.
    pub available: Option<String>,
}

/// Decides which templates are in force. `frozen`: the spec asks for what cannot be run; what runs stays.
pub fn choose(
    key: &Key,
    cluster: &StorageCluster,
    found: &Templates,
    images: &Images,
    frozen: bool,
) -> Choice {
    let mut choice = Choice::default();
    let mut newest = Vec::new();
    for component in Component::ALL {
        let fresh = fresh(key, cluster, component, images, None);
        let accepted = match found.get(&component) {
            Some(present) if frozen => present.clone(),
            None if frozen => continue,
            None => fresh.clone(),
            Some(_) if cluster.spec.upgrade.pod_template_policy == PodTemplatePolicy::FollowOperator => {
                fresh.clone()
            }
            Some(present) if present.inputs == fresh.inputs => present.clone(),
            // Another field was changed: the image stays, unless it was that which was changed.
            Some(present) if present.image_inputs == fresh.image_inputs => {
                self::fresh(key, cluster, component, images, Some(&present.image))
            }
            Some(_) => fresh.clone(),
        };
        newest.push(fresh.revision);
        choice.templates.insert(component, accepted);
    }
    let all: Vec<&str> = choice.templates.values().map(|it| it.revision.as_str()).collect();
    choice.revision = hash(&all.join(" "));
    let available = hash(&newest.join(" "));
    choice.available = (!frozen && available != choice.revision).then_some(available);
    choice
}

/// The template as this operator renders it.
fn fresh(
    key: &Key,
    cluster: &StorageCluster,
    component: Component,
    images: &Images,
    image: Option<&str>,
) -> Accepted {
    let spec = &cluster.spec;
    let restarted_at = cluster.metadata.annotations.as_ref().and_then(|all| all.get(RESTARTED_AT)).cloned();
    let options = PodOptions {
        image: image.map_or_else(|| images.of(spec), str::to_owned),
        pull_policy: images.pull_policy.clone(),
        restarted_at: restarted_at.clone(),
    };
    let template = pod::template(key, spec, component, &options);
    let image_inputs = json!([spec.version, spec.image.repository, spec.image.tag, spec.image.digest]);
    let memory = match component {
        Component::Frontend => spec.frontend.cache_bytes.as_str(),
        Component::Index => spec.index.memory_bytes.as_str(),
        Component::Data => "",
    };
    let inputs = json!([
        image_inputs,
        spec.image.pull_policy,
        spec.image.pull_secrets,
        spec.topology,
        pod::overrides(spec, component),
        pod::resources_of(spec, component),
        memory,
        restarted_at,
    ]);
    Accepted {
        revision: hash_of(&template),
        inputs: hash_of(&inputs),
        image_inputs: hash_of(&image_inputs),
        image: options.image,
        template,
    }
}

impl Accepted {
    /// The template with its revision on the pods.
    pub fn labelled(&self) -> Value {
        let mut template = self.template.clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.insert(REVISION.to_owned(), json!(self.revision));
        }
        template
    }
}

/// The ConfigMap in which they stand.
pub fn object(key: &Key, owner: &str, templates: &Templates) -> Value {
    let data: BTreeMap<String, String> = templates
        .iter()
        .map(|(component, accepted)| (file(*component), serde_json::to_string(accepted).unwrap_or_default()))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build::metadata(key, owner, &key.templates(), None),
        "data": data,
    })
}

/// What stands in it. What cannot be read was not written by an operator of this kind, and counts as absent.
pub fn read(object: &Value) -> Templates {
    let data = object.get("data");
    let one = |component: Component| {
        let text = data?.get(file(component))?.as_str()?;
        Some((component, serde_json::from_str(text).ok()?))
    };
    Component::ALL.into_iter().filter_map(one).collect()
}

fn file(component: Component) -> String {
    format!("{}.json", component.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> StorageCluster {
        StorageCluster::new("orders", serde_json::from_value(json!({})).unwrap())
    }

    fn key() -> Key {
        Key { namespace: "ns".into(), name: "orders".into() }
    }

    fn images(image: &str) -> Images {
        Images { image: image.into(), pull_policy: "IfNotPresent".into(), version: "0.1.0".into() }
    }

    #[test]
    fn a_newer_operator_replaces_no_pod_until_it_is_told_to() {
        let mut cluster = cluster();
        let first = choose(&key(), &cluster, &Templates::new(), &images("lamina:0.1.0"), false);
        assert_eq!(first.available, None);
        let second = choose(&key(), &cluster, &first.templates, &images("lamina:0.2.0"), false);
        assert_eq!(second.templates, first.templates);
        assert!(second.available.is_some());
        cluster.spec.upgrade.pod_template_policy = PodTemplatePolicy::FollowOperator;
        let third = choose(&key(), &cluster, &first.templates, &images("lamina:0.2.0"), false);
        assert!(third.templates.values().all(|it| it.image == "lamina:0.2.0"));
        assert_eq!(third.available, None);
    }

    #[test]
    fn another_field_takes_the_newer_template_and_leaves_the_image() {
        let mut cluster = cluster();
        let first = choose(&key(), &cluster, &Templates::new(), &images("lamina:0.1.0"), false);
        cluster.spec.data.resources.requests.cpu = Some(lamina_crds::Cpu::new("200m"));
        let second = choose(&key(), &cluster, &first.templates, &images("lamina:0.2.0"), false);
        let (was, is) = (&first.templates, &second.templates);
        assert_ne!(was[&Component::Data].revision, is[&Component::Data].revision);
        assert_eq!(is[&Component::Data].image, "lamina:0.1.0");
        assert_eq!(was[&Component::Index], is[&Component::Index]);
        cluster.spec.version = Some("0.2.0".into());
        let third = choose(&key(), &cluster, &second.templates, &images("lamina:0.2.0"), false);
        assert!(third.templates.values().all(|it| it.image == "lamina:0.2.0"));
    }

    #[test]
    fn templates_read_back_as_they_were_written() {
        let choice = choose(&key(), &cluster(), &Templates::new(), &images("lamina:0.1.0"), false);
        assert_eq!(read(&object(&key(), "uid", &choice.templates)), choice.templates);
        assert!(read(&json!({"data": {"data.json": "{"}})).is_empty());
    }
}
