//! `get`, `put`, `delete`, through port-forwards to the frontends.

use std::sync::Arc;

use lamina_client::Client;
use lamina_crds::operation::Component;

use super::tunnels::Tunnels;
use super::{Failure, Place, raw};
use crate::names::Key;

/// Reads a key.
pub async fn get(place: &Place, name: &str, key: String) -> Result<(), Failure> {
    match client(place, name).await?.get(key).await? {
        Some(found) => {
            raw(&found.value)?;
            raw(b"\n")
        }
        None => Err(Failure::missing("no such key")),
    }
}

/// Writes a key.
pub async fn put(place: &Place, name: &str, key: String, value: String) -> Result<(), Failure> {
    client(place, name).await?.put(key, value).await?;
    Ok(())
}

/// Deletes a key.
pub async fn delete(place: &Place, name: &str, key: String) -> Result<(), Failure> {
    client(place, name).await?.delete(key).await?;
    Ok(())
}

async fn client(place: &Place, name: &str) -> Result<Client, Failure> {
    let cluster = super::show::cluster(place, name).await?;
    let key = Key { namespace: place.namespace.clone(), name: name.to_owned() };
    let frontends = (0..cluster.spec.frontend.replicas).map(|n| key.address(Component::Frontend, n));
    let network = Arc::new(Tunnels::new(place.client.clone(), &place.namespace));
    Ok(Client::over(network, frontends))
}
