//! The administration of a store whose nodes are the pods of the world and whose memory is on their volumes. It keeps the rules of
//! the real one: who may be stopped, declared dead, released; and it never forgets what was thrown away.

use std::collections::BTreeMap;

use lamina_peers::admin::{
    AdminAnswer, AdminRequest, Bootstrap, Bootstrapped, Figures, FirstMember, GrantEnded, Identity,
    NodeStateSet, NodeStatus, NodeZoneSet, Probed, Status, StopGranted, VolumeReleased,
};
use lamina_peers::group::GroupStats;
use lamina_peers::view::{
    ClusterView, GroupView, NodeState, NodeView, ReplicaPlacement, ShardReplica, ShardView,
};
use lamina_types::{
    ClusterId, Epoch, Error, GroupId, Incarnation, Level, NodeId, Reason, ReplicaId, Result, Role, ShardId,
    Version,
};

/// A node that was not heard of for so many steps may be declared dead.
const UNSEEN: u64 = 3;
/// So many steps after its death everything that it held is verified elsewhere.
const VERIFIED: u64 = 2;

/// Index shards of every store.
const SHARDS: usize = 4;

/// What is on a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    pub node: NodeId,
    pub cluster: Option<ClusterId>,
    pub incarnation: u64,
    pub record: Option<Bootstrap>,
}

/// A program that runs in a pod.
#[derive(Clone, Debug)]
pub struct Process {
    pub pod: String,
    pub role: Role,
    pub address: String,
    /// The UID of its claim.
    pub claim: String,
    pub version: String,
    /// Steps since it registered.
    pub age: Option<u64>,
    pub incarnation: u64,
}

#[derive(Clone, Debug)]
struct Node {
    role: Role,
    name: String,
    address: String,
    incarnation: u64,
    state: NodeState,
    zone: String,
    seen: bool,
    unseen: u64,
    dead: u64,
    released: bool,
}

/// The store.
#[derive(Default)]
pub struct FakeStore {
    /// Volumes by the UID of their claim.
    pub volumes: BTreeMap<String, Volume>,
    /// Processes by the UID of their pod.
    pub processes: BTreeMap<String, Process>,
    founded: Option<Bootstrap>,
    nodes: BTreeMap<NodeId, Node>,
    grant: Option<(String, NodeId, u64)>,
    epoch: u64,
    ids: u128,
    /// Which index nodes each shard was given, once as many as were settled had come.
    shards: Vec<Vec<NodeId>>,
    /// How often a store was founded in this world.
    pub foundings: Vec<ClusterId>,
    /// The StorageCluster was deleted, and wanted its volumes to go with it.
    pub given_up: bool,
    /// Stops that were granted.
    pub grants: Vec<String>,
}

impl FakeStore {
    /// A pod's program begins to run.
    pub fn start(&mut self, uid: &str, mut process: Process) {
        if process.role != Role::Index {
            let fresh = NodeId((1 << 80) + self.ids);
            let volume = self.volumes.entry(process.claim.clone()).or_insert_with(|| {
                self.ids += 1;
                Volume { node: fresh, cluster: None, incarnation: 0, record: None }
            });
            volume.incarnation += 1;
            process.incarnation = volume.incarnation;
        }
        self.processes.insert(uid.to_owned(), process);
    }

    /// Whether the store has begun.
    pub fn is_founded(&self) -> bool {
        self.founded.is_some()
    }

    /// A volume is gone. It was released, or nobody knew it.
    pub fn destroy(&mut self, claim: &str) {
        let Some(volume) = self.volumes.remove(claim) else { return };
        if self.given_up {
            // All of it goes, as its owner wanted.
            if self.volumes.is_empty() {
                let (foundings, ids) = (std::mem::take(&mut self.foundings), self.ids);
                *self = FakeStore { foundings, ids, ..FakeStore::default() };
            }
            return;
        }
        let node = self.nodes.get(&volume.node);
        assert!(
            node.is_none_or(|node| node.released),
            "the volume of {} was destroyed: {node:?}",
            volume.node
        );
        let listed = self.founded.iter().flat_map(|it| &it.members).any(|it| it.node == volume.node);
        assert!(node.is_some() || !listed, "the volume of a first member was destroyed");
    }

    fn id_of(&self, process: &Process) -> Option<NodeId> {
        match process.role {
            Role::Index => self
                .founded
                .as_ref()
                .map(|_| NodeId(u128::from(xxhash_rust::xxh3::xxh3_64(process.pod.as_bytes())))),
            _ => self.volumes.get(&process.claim).map(|it| it.node),
        }
    }

    /// A majority of the frontends that were not given up is there.
    pub fn has_leader(&self) -> bool {
        if self.founded.is_none() {
            return false;
        }
        let voters: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, it)| {
                it.role == Role::Frontend && it.state != NodeState::Dead && it.state != NodeState::Removed
            })
            .map(|(id, _)| *id)
            .collect();
        let up = self.processes.values().filter(|it| it.role == Role::Frontend && it.age.is_some());
        let up = up.filter_map(|it| self.id_of(it)).filter(|id| voters.contains(id)).count();
        up * 2 > voters.len()
    }

    /// Time goes on.
    pub fn step(&mut self) {
        self.found();
        self.register();
        let leader = self.has_leader();
        if !leader {
            return;
        }
        self.epoch += 1;
        let up: Vec<NodeId> =
            self.processes.values().filter(|it| it.age.is_some()).filter_map(|it| self.id_of(it)).collect();
        for (id, node) in &mut self.nodes {
            if up.contains(id) {
                (node.seen, node.unseen) = (true, 0);
                if node.state == NodeState::Joining {
                    node.state = NodeState::Active;
                }
            } else {
                node.unseen += 1;
                node.seen = false;
            }
            if node.state == NodeState::Dead {
                node.dead += 1;
                if node.released && node.dead > VERIFIED + 3 {
                    node.state = NodeState::Removed;
                }
            }
        }
        self.assign_shards();
        for process in self.processes.values_mut() {
            // What its index parts need does not fit.
            let lame = process.role == Role::Index && process.version == "lame";
            process.age = process.age.map(|age| if lame { 1 } else { age + 1 });
        }
        if let Some((_, node, incarnation)) = &self.grant {
            let (node, incarnation) = (*node, *incarnation);
            let back = self
                .nodes
                .get(&node)
                .is_some_and(|it| it.incarnation > incarnation && it.state == NodeState::Active);
            if back && self.is_caught_up(node) {
                self.grant = None;
            }
        }
    }

    /// Once, when as many index nodes as were settled take part.
    fn assign_shards(&mut self) {
        let settled = self.founded.as_ref().map_or(0, |it| it.settings.index_nodes as usize);
        let active = |it: &Node| it.role == Role::Index && it.state == NodeState::Active;
        let index: Vec<NodeId> = self.nodes.iter().filter(|(_, it)| active(it)).map(|(id, _)| *id).collect();
        if self.shards.is_empty() && index.len() >= settled {
            let holders = |shard: usize| index.iter().cycle().skip(shard).take(2.min(index.len())).copied();
            self.shards = (0..SHARDS).map(|shard| holders(shard).collect()).collect();
        }
    }

    /// First members that have a record begin.
    fn found(&mut self) {
        if self.founded.is_some() {
            return;
        }
        let records: Vec<&Bootstrap> = self.volumes.values().filter_map(|it| it.record.as_ref()).collect();
        let Some(record) = records.first().map(|it| (*it).clone()) else { return };
        assert!(records.iter().all(|it| it.cluster == record.cluster), "two stores began");
        let begun = records.len();
        if begun * 2 > record.members.len() {
            self.foundings.push(record.cluster);
            for member in &record.members {
                let node = Node {
                    role: Role::Frontend,
                    name: String::new(),
                    address: member.address.clone(),
                    incarnation: 0,
                    state: NodeState::Joining,
                    zone: String::new(),
                    seen: false,
                    unseen: 0,
                    dead: 0,
                    released: false,
                };
                self.nodes.insert(member.node, node);
            }
            self.founded = Some(record);
        }
    }

    /// Programs that run find their store.
    fn register(&mut self) {
        let Some(founded) = self.founded.clone() else { return };
        let uids: Vec<String> = self.processes.keys().cloned().collect();
        for uid in uids {
            let process = self.processes[&uid].clone();
            if process.age.is_some() {
                continue;
            }
            let Some(id) = self.id_of(&process) else { continue };
            let listed = founded.members.iter().any(|it: &FirstMember| it.node == id);
            let member = self.volumes.get(&process.claim).is_some_and(|it| it.cluster.is_some());
            // First members open the meta group by themselves; others join what is there.
            if !self.has_leader() && !(member && (listed || self.nodes.contains_key(&id))) {
                continue;
            }
            if process.role != Role::Index
                && let Some(volume) = self.volumes.get_mut(&process.claim)
            {
                if volume.cluster.is_some_and(|it| it != founded.cluster) {
                    continue;
                }
                volume.cluster = Some(founded.cluster);
            }
            let known = self.nodes.get(&id);
            if known.is_some_and(|it| it.released) {
                continue;
            }
            let incarnation = if process.role == Role::Index {
                known.map_or(1, |it| it.incarnation + 1)
            } else {
                process.incarnation
            };
            let state = match known.map(|it| it.state) {
                Some(NodeState::Active) => NodeState::Active,
                _ => NodeState::Joining,
            };
            let zone = known.map(|it| it.zone.clone()).unwrap_or_default();
            let node = Node {
                role: process.role,
                name: process.pod.clone(),
                address: process.address.clone(),
                incarnation,
                state,
                zone,
                seen: true,
                unseen: 0,
                dead: 0,
                released: false,
            };
            self.nodes.insert(id, node);
            self.processes.get_mut(&uid).unwrap().age = Some(0);
        }
    }

    /// Whether a pod's program serves.
    pub fn is_ready(&self, uid: &str) -> bool {
        self.processes.get(uid).is_some_and(|it| it.age.is_some_and(|age| age >= 2)) && self.has_leader()
    }

    fn process_of(&self, node: NodeId) -> Option<&Process> {
        self.processes.values().find(|it| self.id_of(it) == Some(node))
    }

    fn is_caught_up(&self, node: NodeId) -> bool {
        self.process_of(node).is_some_and(|it| it.age.is_some_and(|age| age >= 2))
    }

    /// Answers a call to an address.
    pub fn answer(&mut self, address: &str, request: AdminRequest) -> Result<AdminAnswer> {
        let process = self.processes.values().find(|it| it.address == address).cloned();
        let Some(process) = process else { return Err(Error::new(Reason::Unreachable, "nobody answers")) };
        if let AdminRequest::Identify(_) = request {
            return Ok(AdminAnswer::Identify(Identity {
                node: self.id_of(&process),
                cluster: match process.role {
                    Role::Index => process.age.and(self.founded.as_ref().map(|it| it.cluster)),
                    _ => self.volumes.get(&process.claim).and_then(|it| it.cluster),
                },
                role: process.role,
                name: process.pod.clone(),
                ready: process.age.is_some(),
                version: process.version.clone(),
                record: self.volumes.get(&process.claim).and_then(|it| it.record.clone()),
            }));
        }
        if let AdminRequest::Bootstrap(record) = request {
            let volume = self.volumes.get_mut(&process.claim).unwrap();
            assert!(record.members.iter().any(|it| it.node == volume.node), "not a first member");
            assert!(volume.cluster.is_none_or(|it| it == record.cluster), "another store");
            volume.cluster = Some(record.cluster);
            volume.record = Some(record);
            return Ok(AdminAnswer::Bootstrap(Bootstrapped {}));
        }
        if process.role != Role::Frontend || !self.has_leader() {
            return Err(Error::new(Reason::NotReady, "there is no leader"));
        }
        self.lead(request)
    }

    fn lead(&mut self, request: AdminRequest) -> Result<AdminAnswer> {
        let refused = |why: &str| Err(Error::new(Reason::StateRefused, why));
        match request {
            AdminRequest::ClusterStatus(_) => Ok(AdminAnswer::ClusterStatus(self.status())),
            AdminRequest::Probe(_) => Ok(AdminAnswer::Probe(Probed { groups: 1, version: Version::ZERO })),
            AdminRequest::CanStop(it) => Ok(AdminAnswer::CanStop(self.can_stop(it.grant, it.node))),
            AdminRequest::EndGrant(it) => {
                if self.grant.as_ref().is_some_and(|(grant, ..)| *grant == it.grant) {
                    self.grant = None;
                }
                Ok(AdminAnswer::EndGrant(GrantEnded {}))
            }
            AdminRequest::SetNodeState(it) => {
                assert_eq!(it.to, NodeState::Dead);
                let epoch = Epoch(self.epoch);
                let Some(node) = self.nodes.get_mut(&it.node) else { return refused("no such node") };
                if node.state != it.from || node.unseen < UNSEEN {
                    return refused("the node was heard of lately");
                }
                (node.state, node.dead) = (NodeState::Dead, 0);
                Ok(AdminAnswer::SetNodeState(NodeStateSet { epoch }))
            }
            AdminRequest::SetNodeZone(it) => {
                let Some(node) = self.nodes.get_mut(&it.node) else { return refused("no such node") };
                node.zone = it.zone;
                Ok(AdminAnswer::SetNodeZone(NodeZoneSet {}))
            }
            AdminRequest::ReleaseVolume(it) => {
                let Some(node) = self.nodes.get_mut(&it.node) else { return refused("no such node") };
                if !node.released && (node.state != NodeState::Dead || node.dead < VERIFIED) {
                    let reasons = vec!["what it holds was not verified elsewhere yet".to_owned()];
                    return Ok(AdminAnswer::ReleaseVolume(VolumeReleased::Refused { reasons }));
                }
                node.released = true;
                Ok(AdminAnswer::ReleaseVolume(VolumeReleased::Released))
            }
            other => panic!("{}", other.name()),
        }
    }

    fn can_stop(&mut self, grant: String, node: NodeId) -> StopGranted {
        let refuse = |why: &str| StopGranted::Refused { reasons: vec![why.to_owned()] };
        match &self.grant {
            Some((out, of, _)) if *out == grant && *of == node => return StopGranted::Granted,
            Some(_) => return refuse("another node is being stopped"),
            None => {}
        }
        let Some(view) = self.nodes.get(&node) else { return refuse("no such node") };
        let (role, incarnation) = (view.role, view.incarnation);
        let others = self.nodes.iter().filter(|(id, it)| {
            **id != node && it.role == role && !matches!(it.state, NodeState::Dead | NodeState::Removed)
        });
        // An index node that is complete for nothing can be done without, however the others are.
        let only_loads = role == Role::Index && !self.is_caught_up(node);
        let lacking = others.clone().any(|(id, _)| !self.is_caught_up(*id)) || others.count() < 2;
        if lacking && !only_loads {
            return refuse("redundancy would be lost");
        }
        self.grants.push(grant.clone());
        self.grant = Some((grant, node, incarnation));
        StopGranted::Granted
    }

    fn status(&self) -> Status {
        let founded = self.founded.clone().expect("founded");
        let visible = self.nodes.iter().filter(|(_, it)| it.state != NodeState::Removed);
        let nodes: Vec<NodeView> = visible
            .map(|(id, it)| NodeView {
                node: *id,
                role: it.role,
                name: it.name.clone(),
                address: it.address.clone(),
                incarnation: Incarnation(it.incarnation),
                state: it.state,
                state_epoch: Epoch(0),
                zone: it.zone.clone(),
                seen: it.seen,
            })
            .collect();
        let of = |role: Role| -> Vec<NodeId> {
            nodes
                .iter()
                .filter(|it| it.role == role && it.state == NodeState::Active)
                .map(|it| it.node)
                .collect()
        };
        let frontends = of(Role::Frontend);
        let replicas = frontends
            .iter()
            .enumerate()
            .map(|(n, node)| ReplicaPlacement { replica: ReplicaId(n as u64 + 1), node: *node });
        let replicas: Vec<ReplicaPlacement> = replicas.collect();
        let group = |group| GroupView {
            group,
            replicas: replicas.clone(),
            leaving: Vec::new(),
            initial: Vec::new(),
            first_range: None,
            leader: frontends.first().copied(),
        };
        let shard = |(number, holders): (usize, &Vec<NodeId>)| {
            let replicas = holders
                .iter()
                .map(|node| ShardReplica { node: *node, complete: self.is_caught_up(*node) })
                .collect();
            ShardView { shard: ShardId(number as u16), replicas }
        };
        let all_data = of(Role::Data).iter().all(|it| self.is_caught_up(*it));
        let view = ClusterView {
            cluster: founded.cluster,
            epoch: Epoch(1),
            level: Level::FIRST,
            settings: founded.settings.clone(),
            groups: vec![group(GroupId::META), group(GroupId(1))],
            shards: self.shards.iter().enumerate().map(shard).collect(),
            tablets: Vec::new(),
            nodes,
        };
        let caught_up: Vec<NodeId> = frontends.iter().copied().filter(|it| self.is_caught_up(*it)).collect();
        let stats = GroupStats {
            leader: frontends.first().copied().unwrap_or(NodeId(0)),
            reign: lamina_types::Reign::ZERO,
            last_version: Version::ZERO,
            applied: 0,
            caught_up,
            voters: frontends,
            tablets: Vec::new(),
            tables: 1,
            table_bytes: 1,
            under_replicated: u64::from(!all_data),
            only_on_named: 0,
            naming: 0,
            verified: 0,
            memtable_bytes: 0,
            memtable_bytes_max: 0,
            writes_per_second: 0.0,
            write_p99_us: 0,
        };
        let said = view.nodes.iter().map(|it| NodeStatus {
            node: it.node,
            version: String::new(),
            memory_bytes: 0,
            figures: Figures::None,
        });
        Status {
            nodes: said.collect(),
            groups: vec![(GroupId(1), stats)],
            grant: self.grant.as_ref().map(|(grant, node, _)| (grant.clone(), *node)),
            view,
        }
    }

    /// Names and states of nodes, for the comparison of ends.
    pub fn roster(&self) -> Vec<(String, NodeState)> {
        let there =
            self.nodes.values().filter(|it| !matches!(it.state, NodeState::Removed | NodeState::Dead));
        let mut all: Vec<_> = there.map(|it| (it.name.clone(), it.state)).collect();
        all.sort();
        all
    }

    /// A grant that is out.
    pub fn granted(&self) -> Option<&str> {
        self.grant.as_ref().map(|(grant, ..)| grant.as_str())
    }
}
