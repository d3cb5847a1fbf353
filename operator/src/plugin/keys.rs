//! `get`, `put`, `delete`, through port-forwards to the frontends.

use std::sync::Arc;

use lamina_client::{Client, Error};
use lamina_crds::operation::Component;

use super::tunnels::Tunnels;
use super::{Failure, Place, raw};
use crate::names::Key;

/// Reads a key.
pub async fn get(place: &Place, name: &str, key: String) -> Result<(), Failure> {
    let way = way(place, name).await?;
    match way.client.get(key).await.map_err(|error| way.failed(error))? {
        Some(found) => {
            raw(&found.value)?;
            raw(b"\n")
        }
        None => Err(Failure::missing("no such key")),
    }
}

/// Writes a key.
pub async fn put(place: &Place, name: &str, key: String, value: String) -> Result<(), Failure> {
    let way = way(place, name).await?;
    way.client.put(key, value).await.map_err(|error| way.failed(error)).map(drop)
}

/// Deletes a key.
pub async fn delete(place: &Place, name: &str, key: String) -> Result<(), Failure> {
    let way = way(place, name).await?;
    way.client.delete(key).await.map_err(|error| way.failed(error)).map(drop)
}

/// A client, and the port-forwards that it goes through.
struct Way {
    client: Client,
    tunnels: Arc<Tunnels>,
}

impl Way {
    /// A call failed; if no port-forward could be opened, that is why.
    fn failed(&self, error: Error) -> Failure {
        let Failure { code, why } = Failure::from(error);
        match self.tunnels.trouble().filter(|_| code == 3) {
            Some(trouble) if trouble.contains("403") => {
                Failure { code: 4, why: format!("{trouble}; the right to create pods/portforward is needed") }
            }
            Some(trouble) => Failure { code, why: format!("{why} ({trouble})") },
            None => Failure { code, why },
        }
    }
}

async fn way(place: &Place, name: &str) -> Result<Way, Failure> {
    let cluster = super::show::cluster(place, name).await?;
    let key = Key { namespace: place.namespace.clone(), name: name.to_owned() };
    let frontends = (0..cluster.spec.frontend.replicas).map(|n| key.address(Component::Frontend, n));
    let tunnels = Arc::new(Tunnels::new(place.client.clone(), &place.namespace));
    Ok(Way { client: Client::over(tunnels.clone(), frontends), tunnels })
}
