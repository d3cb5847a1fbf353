use super::*;

fn store(spec: Value) -> Value {
    serde_json::json!({
        "apiVersion": "lamina.dev/v1alpha1",
        "kind": "StorageCluster",
        "metadata": { "name": "orders" },
        "spec": spec,
    })
}

#[test]
fn an_empty_spec_is_a_store_of_three_nodes_of_each_role() {
    let checked = cluster(&store(serde_json::json!({})), None).unwrap();
    assert_eq!(checked.spec, crate::StorageClusterSpec::default());
    let shape = checked.spec.shape();
    assert_eq!(shape.settings, lamina_types::Settings::default());
    assert_eq!((shape.cache_bytes, shape.index_memory_bytes), (128 << 20, 1 << 30));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let spec = serde_json::json!({"frontend": {"replicas": 0}, "index": {"shards": 0}, "paused": "no", "replica": 3});
    let findings = cluster(&store(spec), None).unwrap_err();
    let fields: Vec<&str> = findings.all().iter().map(|finding| &*finding.field).collect();
    assert_eq!(fields, ["spec.replica", "spec.frontend.replicas", "spec.index.shards", "spec.paused"]);
    assert_eq!(findings.to_string().lines().count(), 4);
}

#[test]
fn the_store_of_a_text_is_found_among_other_objects_and_must_be_the_only_one() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let orders =
        "apiVersion: lamina.dev/v1alpha1\nkind: StorageCluster\nmetadata: {name: orders}\nspec: {}\n";
    let found = cluster_in(&format!("{namespace}---\n{orders}")).unwrap();
    assert_eq!(found.metadata.name.as_deref(), Some("orders"));
    assert!(cluster_in(namespace).unwrap_err().to_string().contains("there is no StorageCluster"));
    assert!(cluster_in(&format!("{orders}---\n{orders}")).unwrap_err().to_string().contains("several"));
    assert!(cluster_in("a: [").unwrap_err().to_string().contains("no valid YAML"));
    let other = orders.replace("v1alpha1", "v1");
    assert!(cluster_in(&other).unwrap_err().to_string().contains("apiVersion: must be lamina.dev/v1alpha1"));
}

#[test]
fn an_object_that_the_operator_wrote_to_passes_with_its_metadata_and_status() {
    let mut object = store(serde_json::json!({}));
    object["metadata"]["managedFields"] = serde_json::json!([{"manager": "kubectl"}]);
    object["status"] = serde_json::json!({"observedGeneration": 2, "conditions": []});
    let checked = cluster(&object, None).unwrap();
    assert_eq!(checked.status.unwrap().observed_generation, Some(2));
}
