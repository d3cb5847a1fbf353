//! Administration.

use lamina_peers::admin::{
    AdminAnswer, AdminRequest, Bootstrap, Bootstrapped, CanStop, ClusterStatus, EndGrant, Figures,
    FirstMember, FlushStore, FrontendStats, GrantEnded, Heartbeat, HeartbeatSeen, Identify, Identity,
    LedGroup, MetaIs, NodeRegistered, NodeStateSet, NodeStatus, NodeZoneSet, Probe, Probed, RegisterNode,
    ReleaseVolume, SetNodeState, SetNodeZone, Status, StopGranted, StoreFlushed, ViewChanged, VolumeReleased,
    Watch, WhereIsMeta,
};
use lamina_peers::group::GroupStats;
use lamina_types::{Epoch, GroupId, NodeId, Result};

use super::{Twin, in_field, no_form, port_twins, twins};
use crate::admin;

twins! {
    Identify => admin::IdentifyRequest {}
    Identity => admin::IdentifyResponse { node, cluster, role, name, ready, version, record }
    WhereIsMeta => admin::WhereIsMetaRequest {}
    MetaIs => admin::WhereIsMetaResponse { cluster, leader, members }
    Bootstrap => admin::BootstrapRequest { cluster, members, settings }
    FirstMember => admin::FirstMember { node, address }
    Bootstrapped => admin::BootstrapResponse {}
    RegisterNode => admin::RegisterNodeRequest { node, role, name, address, incarnation, nonce, zone, version, level_max }
    NodeRegistered => admin::RegisterNodeResponse { incarnation, view }
    Heartbeat => admin::HeartbeatRequest { node, incarnation, epoch, complete, leads, replicas }
    LedGroup => admin::LedGroup { group, term, voters, ranges, bans, shut_out }
    HeartbeatSeen => admin::HeartbeatResponse { view }
    Watch => admin::WatchRequest { after }
    ViewChanged => admin::WatchResponse { view }
    ClusterStatus => admin::ClusterStatusRequest {}
    Status => admin::ClusterStatusResponse { view, nodes, groups, grant }
    FrontendStats => admin::FrontendStats { leads, replicas, reads, writes, cache_bytes, log_bytes, free_bytes }
    Probe => admin::ProbeRequest {}
    Probed => admin::ProbeResponse { groups, version }
    CanStop => admin::CanStopRequest { grant, node }
    EndGrant => admin::EndGrantRequest { grant }
    GrantEnded => admin::EndGrantResponse {}
    SetNodeState => admin::SetNodeStateRequest { node, from, to }
    NodeStateSet => admin::SetNodeStateResponse { epoch }
    SetNodeZone => admin::SetNodeZoneRequest { node, zone }
    NodeZoneSet => admin::SetNodeZoneResponse {}
    ReleaseVolume => admin::ReleaseVolumeRequest { node }
    FlushStore => admin::FlushStoreRequest { compact }
    StoreFlushed => admin::FlushStoreResponse { tables, table_bytes }
}

port_twins!(AdminRequest, AdminAnswer => admin::op::Request, admin::answer::Answer {
    Identify, WhereIsMeta, Bootstrap, RegisterNode, Heartbeat, Watch, ClusterStatus, Probe, CanStop, EndGrant,
    SetNodeState, SetNodeZone, ReleaseVolume, FlushStore,
});

impl Twin<admin::Ban> for (NodeId, Epoch) {
    fn into_wire(self) -> admin::Ban {
        admin::Ban { node: self.0.into_wire(), epoch: self.1.into_wire() }
    }
    fn from_wire(wire: admin::Ban) -> Result<(NodeId, Epoch)> {
        Ok((Twin::from_wire(wire.node).map_err(in_field("node"))?, Twin::from_wire(wire.epoch)?))
    }
}

impl Twin<admin::GroupStatus> for (GroupId, GroupStats) {
    fn into_wire(self) -> admin::GroupStatus {
        admin::GroupStatus { group: self.0.into_wire(), stats: self.1.into_wire() }
    }
    fn from_wire(wire: admin::GroupStatus) -> Result<(GroupId, GroupStats)> {
        Ok((Twin::from_wire(wire.group)?, Twin::from_wire(wire.stats).map_err(in_field("stats"))?))
    }
}

impl Twin<admin::Grant> for (String, NodeId) {
    fn into_wire(self) -> admin::Grant {
        admin::Grant { grant: self.0, node: self.1.into_wire() }
    }
    fn from_wire(wire: admin::Grant) -> Result<(String, NodeId)> {
        Ok((wire.grant, Twin::from_wire(wire.node).map_err(in_field("node"))?))
    }
}

impl Twin<admin::NodeStatus> for NodeStatus {
    fn into_wire(self) -> admin::NodeStatus {
        use admin::node_status::Figures as Wire;
        let figures = match self.figures {
            Figures::None => None,
            Figures::Frontend(stats) => Some(Wire::Frontend(stats.into_wire())),
            Figures::Index(stats) => Some(Wire::Index(stats.into_wire())),
            Figures::Data(stats) => Some(Wire::Data(stats.into_wire())),
        };
        admin::NodeStatus {
            node: self.node.into_wire(),
            version: self.version,
            memory_bytes: self.memory_bytes,
            figures,
        }
    }
    fn from_wire(wire: admin::NodeStatus) -> Result<NodeStatus> {
        use admin::node_status::Figures as Wire;
        let figures = match wire.figures {
            None => Figures::None,
            Some(Wire::Frontend(stats)) => Figures::Frontend(Twin::from_wire(stats)?),
            Some(Wire::Index(stats)) => Figures::Index(Twin::from_wire(stats)?),
            Some(Wire::Data(stats)) => Figures::Data(Twin::from_wire(stats)?),
        };
        Ok(NodeStatus {
            node: Twin::from_wire(wire.node).map_err(in_field("node"))?,
            version: wire.version,
            memory_bytes: wire.memory_bytes,
            figures,
        })
    }
}

impl Twin<admin::CanStopResponse> for StopGranted {
    fn into_wire(self) -> admin::CanStopResponse {
        use admin::can_stop_response::Result as Wire;
        let result = match self {
            StopGranted::Granted => Wire::Granted(true),
            StopGranted::Refused { reasons } => Wire::Refused(admin::Refused { reasons }),
        };
        admin::CanStopResponse { result: Some(result) }
    }
    fn from_wire(wire: admin::CanStopResponse) -> Result<StopGranted> {
        use admin::can_stop_response::Result as Wire;
        match wire.result {
            Some(Wire::Granted(_)) => Ok(StopGranted::Granted),
            Some(Wire::Refused(admin::Refused { reasons })) => Ok(StopGranted::Refused { reasons }),
            None => no_form(),
        }
    }
}

impl Twin<admin::ReleaseVolumeResponse> for VolumeReleased {
    fn into_wire(self) -> admin::ReleaseVolumeResponse {
        use admin::release_volume_response::Result as Wire;
        let result = match self {
            VolumeReleased::Released => Wire::Released(true),
            VolumeReleased::Refused { reasons } => Wire::Refused(admin::Refused { reasons }),
        };
        admin::ReleaseVolumeResponse { result: Some(result) }
    }
    fn from_wire(wire: admin::ReleaseVolumeResponse) -> Result<VolumeReleased> {
        use admin::release_volume_response::Result as Wire;
        match wire.result {
            Some(Wire::Released(_)) => Ok(VolumeReleased::Released),
            Some(Wire::Refused(admin::Refused { reasons })) => Ok(VolumeReleased::Refused { reasons }),
            None => no_form(),
        }
    }
}
