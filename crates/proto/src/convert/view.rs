//! What every process knows of its cluster.

use lamina_peers::view::{
    ClusterView, GroupView, NodeState, NodeView, ReplicaPlacement, ShardReplica, ShardView, TabletHint,
};
use lamina_types::{Role, Settings};

use super::{enum_twins, twins};
use crate::admin;

twins! {
    ClusterView => admin::ClusterView { cluster, epoch, level, settings, nodes, groups, shards, tablets }
    Settings => admin::Settings {
        groups, frontend_replication, index_replication, data_replication, shards, frontends, index_nodes,
        data_nodes, memtable_bytes, block_bytes, table_bytes, development,
    }
    NodeView => admin::NodeView { node, role, name, address, incarnation, state, zone, seen, state_epoch }
    GroupView => admin::GroupView { group, replicas, initial, leader, leaving, first_range }
    ReplicaPlacement => admin::ReplicaPlacement { replica, node }
    ShardView => admin::ShardView { shard, replicas }
    ShardReplica => admin::ShardReplica { node, complete }
    TabletHint => admin::TabletHint { range, group }
}

enum_twins!(Role => admin::Role { Frontend, Index, Data });
enum_twins!(NodeState => admin::NodeState { Joining, Active, Draining, Drained, Dead, Removed });
