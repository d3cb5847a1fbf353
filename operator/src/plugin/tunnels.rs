//! Ways into pods: the addresses by which nodes know each other lead through port-forwards, opened when they are first needed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use lamina_env::task;
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, RaftPeer};
use lamina_rpc::GrpcNetwork;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use crate::names::CALL_PORT;

/// A network that reaches pods of one namespace from outside the cluster.
pub struct Tunnels {
    pods: Api<Pod>,
    network: GrpcNetwork,
    /// Local addresses by the pods behind them.
    open: Mutex<BTreeMap<String, String>>,
    /// Why the last port-forward that failed did.
    trouble: Trouble,
}

type Trouble = Arc<Mutex<Option<String>>>;

impl Tunnels {
    /// No tunnel yet.
    pub fn new(client: Client, namespace: &str) -> Tunnels {
        Tunnels {
            pods: Api::namespaced(client, namespace),
            network: GrpcNetwork::new(),
            open: Mutex::default(),
            trouble: Trouble::default(),
        }
    }

    /// Why the last port-forward that failed did. Calls through it say only that nobody answered.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The local end of the tunnel to whoever answers at an address: `<pod>.<service>.<namespace>.svc:4700`.
    fn local(&self, address: &str) -> String {
        let pod = address.split('.').next().unwrap_or(address);
        let mut open = self.open.lock();
        if let Some(local) = open.get(pod) {
            return local.clone();
        }
        match dig(self.pods.clone(), pod, self.trouble.clone()) {
            Ok(local) => {
                open.insert(pod.to_owned(), local.clone());
                local
            }
            // A call to the address itself fails with words of its own.
            Err(_) => address.to_owned(),
        }
    }
}

/// Listens on a free local port; each connection to it is one to the pod.
fn dig(pods: Api<Pod>, pod: &str, trouble: Trouble) -> io::Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?.to_string();
    let listener = TcpListener::from_std(listener)?;
    let pod = pod.to_owned();
    drop(task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (pods, pod, trouble) = (pods.clone(), pod.clone(), trouble.clone());
            drop(task::spawn(async move {
                if let Err(error) = carry(pods, &pod, stream).await {
                    *trouble.lock() = Some(format!("port-forward to {pod}: {error}"));
                }
            }));
        }
    }));
    Ok(local)
}

async fn carry(pods: Api<Pod>, pod: &str, mut near: TcpStream) -> io::Result<()> {
    let mut forward = pods.portforward(pod, &[CALL_PORT]).await.map_err(io::Error::other)?;
    let far = forward.take_stream(CALL_PORT);
    let mut far = far.ok_or_else(|| io::Error::other("the port-forward has no stream"))?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(|_| ())
}

impl Network for Tunnels {
    fn kv(&self, address: &str) -> KvPeer {
        self.network.kv(&self.local(address))
    }
    fn index(&self, address: &str) -> IndexPeer {
        self.network.index(&self.local(address))
    }
    fn data(&self, address: &str) -> DataPeer {
        self.network.data(&self.local(address))
    }
    fn group(&self, address: &str) -> GroupPeer {
        self.network.group(&self.local(address))
    }
    fn raft(&self, address: &str) -> RaftPeer {
        self.network.raft(&self.local(address))
    }
    fn admin(&self, address: &str) -> AdminPeer {
        self.network.admin(&self.local(address))
    }
}
