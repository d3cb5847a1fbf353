//! `get`, `put`, `delete`, through port-forwards to the frontends.

use std::sync::Arc;

use kube::Api;
use lamina_client::Client;
use lamina_crds::StorageCluster;
use lamina_crds::operation::Component;

use super::tunnels::Tunnels;
use super::{Failure, Place, raw};
use crate::names::Key;

/// Reads a key.
pub async fn get(place: &Place, name: &str, key: String) -> Result<(), Failure> {
    match client(place, name).await?.get(key).await.map_err(|error| failed(&error))? {
        Some(found) => {
            raw(&found.value)?;
            raw(b"\n")
        }
        None => Err(Failure("no such key".to_owned())),
    }
}

/// Writes a key.
pub async fn put(place: &Place, name: &str, key: String, value: String) -> Result<(), Failure> {
    client(place, name).await?.put(key, value).await.map(|_| ()).map_err(|error| failed(&error))
}

/// Deletes a key.
pub async fn delete(place: &Place, name: &str, key: String) -> Result<(), Failure> {
    client(place, name).await?.delete(key).await.map(|_| ()).map_err(|error| failed(&error))
}

fn failed(error: &lamina_client::Error) -> Failure {
    Failure(error.to_string())
}

async fn client(place: &Place, name: &str) -> Result<Client, Failure> {
    let api: Api<StorageCluster> = Api::namespaced(place.client.clone(), &place.namespace);
    let cluster = api.get_opt(name).await?;
    let cluster = cluster.ok_or_else(|| {
        Failure(format!("there is no StorageCluster {name} in namespace {}", place.namespace))
    })?;
    let key = Key { namespace: place.namespace.clone(), name: name.to_owned() };
    let frontends = (0..cluster.spec.frontend.replicas).map(|n| key.address(Component::Frontend, n));
    let network = Arc::new(Tunnels::new(place.client.clone(), &place.namespace));
    Ok(Client::over(network, frontends))
}
