//! The generated services, each over a peer.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use lamina_peers::kv::{KvRequest, Page, Row, Write};
use lamina_peers::{
    AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Peer, RaftPeer, admin as port, kv as keys,
};
use lamina_proto::convert::{Twin, delete_as_write, put_as_write};
use lamina_proto::stream::{AdminWire, DataWire, GroupWire, IndexWire, KvWire, RaftWire, Wire};
use lamina_proto::{admin, data, group, index, kv, raft, validate};
use lamina_types::limits::SCAN_CHUNK_BYTES;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::stream::Served;
use super::{Shared, unary};

/// A peer as a service.
pub struct Door<W: Wire> {
    pub peer: Peer<W::Request, W::Answer>,
    pub shared: Arc<Shared>,
}

impl<W: Wire> Door<W> {
    fn serve(&self, request: Request<Streaming<W::ClientMessage>>) -> Result<Response<Served<W>>, Status> {
        Ok(Response::new(Served::new(self.peer.clone(), self.shared.clone(), request.into_inner())))
    }
}

/// Services that are nothing but a stream.
macro_rules! stream_only {
    ($($wire:ident, $peer:ident: $module:ident::$server:ident::$service:ident;)*) => {$(
        #[async_trait]
        impl $module::$server::$service for Door<$wire> {
            type StreamStream = Served<$wire>;

            async fn stream(
                &self,
                request: Request<Streaming<$module::ClientMessage>>,
            ) -> Result<Response<Served<$wire>>, Status> {
                self.serve(request)
            }
        }

        impl Door<$wire> {
            /// The peer as a service.
            pub fn new(peer: $peer, shared: &Arc<Shared>) -> Door<$wire> {
                Door { peer, shared: shared.clone() }
            }
        }
    )*};
}
stream_only! {
    IndexWire, IndexPeer: index::index_server::Index;
    DataWire, DataPeer: data::data_server::Data;
    GroupWire, GroupPeer: group::group_server::Group;
    RaftWire, RaftPeer: raft::raft_server::Raft;
}

impl Door<KvWire> {
    /// The peer as a service.
    pub fn new(peer: KvPeer, shared: &Arc<Shared>) -> Door<KvWire> {
        Door { peer, shared: shared.clone() }
    }

    async fn call<O>(
        &self,
        metadata: &tonic::metadata::MetadataMap,
        operation: lamina_types::Result<O>,
    ) -> Result<O::Answer, Status>
    where
        O: lamina_peers::Operation<KvRequest, keys::KvAnswer>,
    {
        unary::call(&self.shared, "kv", &self.peer, metadata, operation, validate::kv, KvRequest::name).await
    }
}

#[async_trait]
impl kv::kv_server::Kv for Door<KvWire> {
    async fn get(&self, request: Request<kv::GetRequest>) -> Result<Response<kv::GetResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let got = self.call(&metadata, keys::Get::from_wire(message)).await?;
        Ok(Response::new(got.into_wire()))
    }

    async fn batch_get(
        &self,
        request: Request<kv::BatchGetRequest>,
    ) -> Result<Response<kv::BatchGetResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let got = self.call(&metadata, keys::BatchGet::from_wire(message)).await?;
        Ok(Response::new(got.into_wire()))
    }

    async fn put(&self, request: Request<kv::PutRequest>) -> Result<Response<kv::PutResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let written = self.call(&metadata, put_as_write(message)).await?;
        Ok(Response::new(kv::PutResponse { version: written.version.into_wire() }))
    }

    async fn delete(
        &self,
        request: Request<kv::DeleteRequest>,
    ) -> Result<Response<kv::DeleteResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let written = self.call(&metadata, delete_as_write(message)).await?;
        Ok(Response::new(kv::DeleteResponse { version: written.version.into_wire() }))
    }

    async fn write(&self, request: Request<kv::WriteRequest>) -> Result<Response<kv::WriteResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let written = self.call(&metadata, Write::from_wire(message)).await?;
        Ok(Response::new(written.into_wire()))
    }

    type ScanStream = Pin<Box<dyn Stream<Item = Result<kv::ScanResponse, Status>> + Send>>;

    async fn scan(&self, request: Request<kv::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let page = self.call(&metadata, keys::Scan::from_wire(message)).await?;
        Ok(Response::new(Box::pin(futures::stream::iter(chunks(page).into_iter().map(Ok)))))
    }

    async fn snapshot(
        &self,
        request: Request<kv::SnapshotRequest>,
    ) -> Result<Response<kv::SnapshotResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let taken = self.call(&metadata, keys::TakeSnapshot::from_wire(message)).await?;
        Ok(Response::new(taken.into_wire()))
    }

    async fn release_snapshot(
        &self,
        request: Request<kv::ReleaseSnapshotRequest>,
    ) -> Result<Response<kv::ReleaseSnapshotResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let released = self.call(&metadata, keys::ReleaseSnapshot::from_wire(message)).await?;
        Ok(Response::new(released.into_wire()))
    }

    type SessionStream = Served<KvWire>;

    async fn session(
        &self,
        request: Request<Streaming<kv::ClientMessage>>,
    ) -> Result<Response<Served<KvWire>>, Status> {
        self.serve(request)
    }
}

/// A page in pieces of at most 1 MiB (a larger row goes alone); the last one has the token.
fn chunks(page: Page) -> Vec<kv::ScanResponse> {
    let mut chunks = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut bytes = 0;
    for row in page.rows {
        let size = row.key.len() + row.value.len() + ROW_OVERHEAD_BYTES;
        if !rows.is_empty() && bytes + size > SCAN_CHUNK_BYTES {
            let rows = std::mem::take(&mut rows);
            chunks.push(Page { rows, resume: None, read_at: page.read_at }.into_wire());
            bytes = 0;
        }
        bytes += size;
        rows.push(row);
    }
    chunks.push(Page { rows, resume: page.resume, read_at: page.read_at }.into_wire());
    chunks
}

/// Tags, lengths and the version of a row, at most.
const ROW_OVERHEAD_BYTES: usize = 32;

/// The unary methods of the admin service, all of one form.
macro_rules! admin_door {
    ($($method:ident: $request:ident => $response:ident, $operation:ident;)*) => {
        #[async_trait]
        impl admin::admin_server::Admin for Door<AdminWire> {
            $(
                async fn $method(
                    &self,
                    request: Request<admin::$request>,
                ) -> Result<Response<admin::$response>, Status> {
                    let (metadata, _, message) = request.into_parts();
                    let answer = unary::call(
                        &self.shared,
                        "admin",
                        &self.peer,
                        &metadata,
                        port::$operation::from_wire(message),
                        |_| Ok(()),
                        port::AdminRequest::name,
                    );
                    Ok(Response::new(answer.await?.into_wire()))
                }
            )*

            type StreamStream = Served<AdminWire>;

            async fn stream(
                &self,
                request: Request<Streaming<admin::ClientMessage>>,
            ) -> Result<Response<Served<AdminWire>>, Status> {
                self.serve(request)
            }
        }
    };
}
admin_door! {
    identify: IdentifyRequest => IdentifyResponse, Identify;
    where_is_meta: WhereIsMetaRequest => WhereIsMetaResponse, WhereIsMeta;
    bootstrap: BootstrapRequest => BootstrapResponse, Bootstrap;
    register_node: RegisterNodeRequest => RegisterNodeResponse, RegisterNode;
    heartbeat: HeartbeatRequest => HeartbeatResponse, Heartbeat;
    watch: WatchRequest => WatchResponse, Watch;
    cluster_status: ClusterStatusRequest => ClusterStatusResponse, ClusterStatus;
    probe: ProbeRequest => ProbeResponse, Probe;
    can_stop: CanStopRequest => CanStopResponse, CanStop;
    end_grant: EndGrantRequest => EndGrantResponse, EndGrant;
    set_node_state: SetNodeStateRequest => SetNodeStateResponse, SetNodeState;
    set_node_zone: SetNodeZoneRequest => SetNodeZoneResponse, SetNodeZone;
    release_volume: ReleaseVolumeRequest => ReleaseVolumeResponse, ReleaseVolume;
    flush_store: FlushStoreRequest => FlushStoreResponse, FlushStore;
}

impl Door<AdminWire> {
    /// The peer as a service.
    pub fn new(peer: AdminPeer, shared: &Arc<Shared>) -> Door<AdminWire> {
        Door { peer, shared: shared.clone() }
    }
}
