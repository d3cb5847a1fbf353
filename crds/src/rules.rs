//! Every rule of validation that is more than a type or a bound: its text in CEL, and what it says.
//!
//! The API server evaluates the CEL; [`crate::check`] holds the same rules in Rust and says the same words. A table of
//! manifests (`crds/tests/manifests.yaml`) proves that both agree, and that each rule is there for a reason.
//!
//! A rule stands at one place of the schema, and `self` is the value there. Rules that name `oldSelf` are about changes.

use kube::core::Rule;

/// One rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleText {
    /// The rule in CEL.
    pub cel: &'static str,
    /// What it says when it does not hold: what must be so, and what to do.
    pub says: &'static str,
}

impl RuleText {
    /// As the schema wants it.
    #[must_use]
    pub fn rule(self) -> Rule {
        Rule::new(self.cel).message(self.says)
    }

    /// Whether it is about a change, and so holds for every new object.
    #[must_use]
    pub fn is_about_changes(self) -> bool {
        self.cel.contains("oldSelf")
    }
}

const fn rule(cel: &'static str, says: &'static str) -> RuleText {
    RuleText { cel, says }
}

// The whole object.

/// A store's name fits into the names of its pods.
pub const NAME_FITS: RuleText = rule(
    "size(self.metadata.name) <= 40",
    "name must be at most 40 characters, so that the names of its pods and volumes fit",
);
/// A store's name begins the names of its Services.
pub const NAME_IS_LABEL: RuleText = rule(
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "name must begin with a letter and consist of lower-case letters, digits and '-' (DNS-1035), because Services are named after it",
);

/// Volumes of frontend nodes cannot shrink; but a size that they could not grow to is taken back.
pub const FRONTEND_VOLUMES_NEVER_SHRINK: RuleText = rule(
    "!has(self.spec) || !has(oldSelf.spec) || !isQuantity(self.spec.frontend.storage.size) || quantity(self.spec.frontend.storage.size).compareTo(quantity(oldSelf.spec.frontend.storage.size)) >= 0 || (has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(it, it.type == 'VolumesResized' && it.reason == 'ResizeUnsupported'))",
    "spec.frontend.storage.size cannot be decreased; create a new store with smaller volumes and copy the data",
);
/// Volumes of data nodes cannot shrink; but a size that they could not grow to is taken back.
pub const DATA_VOLUMES_NEVER_SHRINK: RuleText = rule(
    "!has(self.spec) || !has(oldSelf.spec) || !isQuantity(self.spec.data.storage.size) || quantity(self.spec.data.storage.size).compareTo(quantity(oldSelf.spec.data.storage.size)) >= 0 || (has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(it, it.type == 'VolumesResized' && it.reason == 'ResizeUnsupported'))",
    "spec.data.storage.size cannot be decreased; create a new store with smaller volumes and copy the data",
);

// Sizes and shares.

/// A size is what [`crate::Bytes`] can read.
pub const SIZE_IS_WHOLE: RuleText = rule(
    "self.matches('^[1-9][0-9]{0,14}(k|M|G|T|Ki|Mi|Gi|Ti)?$') && quantity(self).compareTo(quantity('1024Ti')) <= 0",
    "must be a whole number of bytes with a unit, like 512Mi or 10Gi, and at most 1024Ti",
);
/// A share of processors is what [`crate::Cpu`] can read.
pub const CPU_IS_WHOLE: RuleText = rule(
    "string(self).matches('^[1-9][0-9]{0,5}m?$')",
    "must be whole cores or thousandths of one, like 2 or 500m",
);
/// Requests of processors.
pub const CPU_LIMIT_COVERS_REQUEST: RuleText = rule(
    "!has(self.requests) || !has(self.limits) || !has(self.requests.cpu) || !has(self.limits.cpu) || !isQuantity(string(self.limits.cpu)) || !isQuantity(string(self.requests.cpu)) || quantity(string(self.limits.cpu)).compareTo(quantity(string(self.requests.cpu))) >= 0",
    "limits.cpu must be at least requests.cpu",
);
/// Requests of memory.
pub const MEMORY_LIMIT_COVERS_REQUEST: RuleText = rule(
    "!has(self.requests) || !has(self.limits) || !has(self.requests.memory) || !has(self.limits.memory) || !isQuantity(self.limits.memory) || !isQuantity(self.requests.memory) || quantity(self.limits.memory).compareTo(quantity(self.requests.memory)) >= 0",
    "limits.memory must be at least requests.memory",
);

// Volumes.

/// A volume holds at least a log and a few tables.
pub const VOLUME_IS_LARGE_ENOUGH: RuleText = rule(
    "!isQuantity(self.size) || quantity(self.size).compareTo(quantity('1Gi')) >= 0",
    "size must be at least 1Gi: a volume holds a log and tables of 64Mi each",
);
/// Claims cannot change their class.
pub const VOLUME_CLASS_IS_FIXED: RuleText = rule(
    "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
    "storageClassName is immutable; create a new store and copy the data",
);
/// A class is named as Kubernetes names things.
pub const CLASS_IS_NAME: RuleText = rule(
    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    "must be the name of a StorageClass; leave it out for the cluster's default",
);

// Version and image.

/// A version is what the images are called after.
pub const VERSION_IS_SEMVER: RuleText = rule(
    "self.matches('^(0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]{0,3})(-[0-9A-Za-z.-]{1,32})?$')",
    "must be a version of Lamina, like 0.4.1; leave it out for the operator's own",
);
/// Formats may differ between major versions.
pub const VERSION_KEEPS_MAJOR: RuleText = rule(
    "self.split('.')[0] == oldSelf.split('.')[0]",
    "the major version cannot be changed in place; create a new store and copy the data",
);
/// One minor version after the other.
pub const VERSION_GOES_STEP_BY_STEP: RuleText = rule(
    "self.split('.')[0] != oldSelf.split('.')[0] || (int(self.split('.')[1]) - int(oldSelf.split('.')[1]) <= 1 && int(oldSelf.split('.')[1]) - int(self.split('.')[1]) <= 1)",
    "the minor version can be changed by one at a time: from 0.3 to 0.5 go through 0.4",
);
/// A repository, without tag or digest.
pub const REPOSITORY_IS_PATH: RuleText = rule(
    "self.matches('^[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+([._-][a-z0-9]+)*)*$')",
    "must be an image repository like registry.example.com/lamina, without tag, digest or '..'",
);
/// A tag.
pub const TAG_IS_WORD: RuleText = rule(
    "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')",
    "must be an image tag: letters, digits, '_', '.' and '-'",
);
/// `latest` is another program tomorrow.
pub const TAG_IS_NOT_LATEST: RuleText = rule(
    "self != 'latest'",
    "image tag 'latest' is not allowed: a restarted pod could run another version; name a version",
);
/// A digest.
pub const DIGEST_IS_SHA256: RuleText =
    rule("self.matches('^sha256:[0-9a-f]{64}$')", "must be sha256: and 64 hexadecimal digits");

// What is settled when the store begins.

/// Safety of what was acknowledged depends on it.
pub const PROFILE_IS_FIXED: RuleText =
    rule("self == oldSelf", "profile is immutable; create a new store and copy the data");
/// Replication is part of what bootstrap settles.
pub const REPLICATION_IS_FIXED: RuleText =
    rule("self == oldSelf", "replicationFactor is immutable; create a new store and copy the data");
/// Keys are spread over the shards that were there at first.
pub const SHARDS_ARE_FIXED: RuleText =
    rule("self == oldSelf", "shards is immutable; create a new store and copy the data");
/// The memtable budget is part of what bootstrap settles.
pub const MEMTABLES_ARE_FIXED: RuleText = rule(
    "!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) == 0",
    "memtableBytes is immutable; create a new store and copy the data",
);
/// The size of blocks is part of what bootstrap settles.
pub const BLOCKS_ARE_FIXED: RuleText = rule(
    "!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) == 0",
    "blockBytes is immutable; create a new store and copy the data",
);

// Counts.

/// One frontend for each replica of a group.
pub const FRONTENDS_HOLD_REPLICAS: RuleText = rule(
    "self.replicas >= self.replicationFactor",
    "frontend.replicas must be at least frontend.replicationFactor: each replica of a group needs a frontend of its own",
);
/// A majority of an even number is no smaller.
pub const FRONTEND_REPLICATION_IS_ODD: RuleText = rule(
    "self % 2 == 1",
    "frontend.replicationFactor must be odd (1, 3, 5 or 7): an even number survives no more failures than the odd one below it",
);
/// Groups are part of what bootstrap settles.
pub const GROUPS_ARE_FIXED: RuleText =
    rule("self == oldSelf", "groups is immutable; create a new store and copy the data");
/// One index node for each copy of a shard.
pub const INDEX_NODES_HOLD_REPLICAS: RuleText = rule(
    "self.replicas >= self.replicationFactor",
    "index.replicas must be at least index.replicationFactor: each copy of a shard needs a node of its own",
);
/// One data node for each copy of a table.
pub const DATA_NODES_HOLD_REPLICAS: RuleText = rule(
    "self.replicas >= self.replicationFactor",
    "data.replicas must be at least data.replicationFactor: each copy of a table needs a node of its own",
);
/// Production survives the loss of a frontend.
pub const PRODUCTION_REPLICATES_GROUPS: RuleText = rule(
    "self.profile == 'Development' || self.frontend.replicationFactor >= 3",
    "frontend.replicationFactor must be 3, 5 or 7; 1 loses data with its volume and is allowed with profile: Development only",
);
/// Production keeps three index nodes.
pub const PRODUCTION_HAS_INDEX_NODES: RuleText = rule(
    "self.profile == 'Development' || self.index.replicas >= 3",
    "index.replicas must be at least 3; fewer are allowed with profile: Development only",
);
/// Production serves each shard twice.
pub const PRODUCTION_REPLICATES_SHARDS: RuleText = rule(
    "self.profile == 'Development' || self.index.replicationFactor >= 2",
    "index.replicationFactor must be at least 2; 1 is allowed with profile: Development only",
);
/// Production survives the loss of a data volume.
pub const PRODUCTION_REPLICATES_TABLES: RuleText = rule(
    "self.profile == 'Development' || self.data.replicationFactor >= 2",
    "data.replicationFactor must be at least 2; 1 loses data with its volume and is allowed with profile: Development only",
);

// Memory.

/// A budget of memtables that is neither useless nor absurd.
pub const MEMTABLES_ARE_SANE: RuleText = rule(
    "!isQuantity(self) || (quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('64Gi')) <= 0)",
    "memtableBytes must be 1Mi to 64Gi",
);
/// A cache that is neither useless nor absurd.
pub const CACHE_IS_SANE: RuleText = rule(
    "!isQuantity(self) || (quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('1Ti')) <= 0)",
    "cacheBytes must be 1Mi to 1Ti",
);
/// An index node's memory that is neither useless nor absurd.
pub const INDEX_MEMORY_IS_SANE: RuleText = rule(
    "!isQuantity(self) || (quantity(self).compareTo(quantity('16Mi')) >= 0 && quantity(self).compareTo(quantity('1Ti')) <= 0)",
    "memoryBytes must be 16Mi to 1Ti",
);
/// Blocks that are neither all overhead nor all waste.
pub const BLOCKS_ARE_SANE: RuleText = rule(
    "!isQuantity(self) || (quantity(self).compareTo(quantity('4Ki')) >= 0 && quantity(self).compareTo(quantity('1Mi')) <= 0)",
    "blockBytes must be 4Ki to 1Mi",
);
/// A frontend is not killed for what it was told to hold: memtables of as many groups as it has replicas of, one more while they
/// are flushed, and the cache.
pub const FRONTEND_MEMORY_HOLDS_BUDGETS: RuleText = rule(
    "!isQuantity(self.memtableBytes) || !isQuantity(self.cacheBytes) || !has(self.resources.limits) || !has(self.resources.limits.memory) || !isQuantity(self.resources.limits.memory) || self.replicas < 1 || quantity(self.resources.limits.memory).asApproximateFloat() >= double((self.groups * self.replicationFactor + self.replicas - 1) / self.replicas + 1) * quantity(self.memtableBytes).asApproximateFloat() + quantity(self.cacheBytes).asApproximateFloat()",
    "resources.limits.memory must be at least cacheBytes plus memtableBytes for each group that a frontend holds (groups times replicationFactor, shared by the replicas) and once more, or the frontend is killed for what it was told to hold",
);
/// An index node's memory is its own.
pub const INDEX_MEMORY_IS_RESERVED: RuleText = rule(
    "has(self.resources.limits) && has(self.resources.limits.memory) && has(self.resources.requests) && has(self.resources.requests.memory) && (!isQuantity(self.resources.limits.memory) || !isQuantity(self.resources.requests.memory) || quantity(self.resources.limits.memory).compareTo(quantity(self.resources.requests.memory)) == 0)",
    "resources.requests.memory and resources.limits.memory must be given and equal: an index node lives in memory that nobody may take from it",
);
/// An index node is not killed for what it was told to hold.
pub const INDEX_MEMORY_HOLDS_PARTS: RuleText = rule(
    "!isQuantity(self.memoryBytes) || !has(self.resources.limits) || !has(self.resources.limits.memory) || !isQuantity(self.resources.limits.memory) || quantity(self.resources.limits.memory).compareTo(quantity(self.memoryBytes).add(quantity('256Mi'))) >= 0",
    "resources.limits.memory must be at least memoryBytes plus 256Mi, or the index node is killed for what it was told to hold",
);

// Pods.

/// The node label that names a failure domain.
pub const ZONE_KEY_IS_LABEL: RuleText = rule(
    "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
    "must be the key of a node label, like topology.kubernetes.io/zone",
);
/// Labels by which the operator finds what is its own.
pub const LABELS_ARE_FREE: RuleText = rule(
    "self.all(key, !key.startsWith('lamina.dev/') && !key.startsWith('app.kubernetes.io/'))",
    "labels that begin with lamina.dev/ or app.kubernetes.io/ are the operator's; choose another prefix",
);
/// Values of labels.
pub const LABEL_VALUES_ARE_WORDS: RuleText = rule(
    "self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
    "values of labels consist of letters, digits, '-', '_' and '.', and begin and end with a letter or digit",
);
/// Annotations by which the operator remembers.
pub const ANNOTATIONS_ARE_FREE: RuleText = rule(
    "self.all(key, !key.startsWith('lamina.dev/'))",
    "annotations that begin with lamina.dev/ are the operator's; choose another prefix",
);
/// Names of environment variables.
pub const VARIABLE_IS_NAME: RuleText = rule(
    "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
    "must consist of letters, digits and '_', and not begin with a digit",
);
/// Variables by which the operator configures nodes. What a node logs is the user's choice.
pub const VARIABLE_IS_FREE: RuleText = rule(
    "(!self.startsWith('LAMINA_') || self == 'LAMINA_LOG') && self != 'POD_NAME'",
    "POD_NAME, and variables that begin with LAMINA_ (but LAMINA_LOG), are the operator's; set the field of the spec instead",
);
/// Whom a NetworkPolicy lets in.
pub const PEER_SELECTS_SOMEBODY: RuleText = rule(
    "(has(self.namespaceSelector) || has(self.podSelector)) != has(self.ipBlock)",
    "either namespaceSelector or podSelector, or ipBlock must be given; use namespaceSelector: {} for everybody in the cluster",
);
/// Addresses with a prefix.
pub const BLOCK_IS_CIDR: RuleText = rule(
    "self.matches('^([0-9]{1,3}([.][0-9]{1,3}){3}/[0-9]{1,2}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*/[0-9]{1,3})$')",
    "must be a range of addresses, like 10.0.0.0/8 or 2001:db8::/32",
);

// StorageOperation.

/// An operation that has begun is no other operation.
pub const OPERATION_IS_FIXED: RuleText = rule(
    "self.cluster == oldSelf.cluster && self.type == oldSelf.type && has(self.rollingRestart) == has(oldSelf.rollingRestart) && (!has(self.rollingRestart) || self.rollingRestart == oldSelf.rollingRestart) && has(self.replaceNode) == has(oldSelf.replaceNode) && (!has(self.replaceNode) || self.replaceNode == oldSelf.replaceNode)",
    "an operation is immutable; delete it, which cancels what has not begun, and create another",
);
/// Only a restart says what is restarted.
pub const RESTART_IS_ASKED_FOR: RuleText = rule(
    "self.type == 'RollingRestart' || !has(self.rollingRestart)",
    "rollingRestart is given with type: RollingRestart only",
);
/// A replacement says which node.
pub const REPLACEMENT_NAMES_NODE: RuleText = rule(
    "(self.type == 'ReplaceNode') == has(self.replaceNode)",
    "replaceNode must be given with type: ReplaceNode, and with no other",
);
/// The node is one of the store's.
pub const NODE_IS_OF_CLUSTER: RuleText = rule(
    "!has(self.replaceNode) || (self.replaceNode.node.startsWith(self.cluster + '-') && self.replaceNode.node.substring(size(self.cluster)).matches('^-(frontend|index|data)-(0|[1-9][0-9]{0,3})$'))",
    "replaceNode.node must be a pod of the store, like orders-data-1 for cluster: orders",
);
/// The store's name.
pub const CLUSTER_IS_NAME: RuleText = rule(
    "self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "must be the name of a StorageCluster in the same namespace",
);

/// All rules, for the tests and the reference.
pub const ALL: &[RuleText] = &[
    NAME_FITS,
    NAME_IS_LABEL,
    FRONTEND_VOLUMES_NEVER_SHRINK,
    DATA_VOLUMES_NEVER_SHRINK,
    SIZE_IS_WHOLE,
    CPU_IS_WHOLE,
    CPU_LIMIT_COVERS_REQUEST,
    MEMORY_LIMIT_COVERS_REQUEST,
    VOLUME_IS_LARGE_ENOUGH,
    VOLUME_CLASS_IS_FIXED,
    CLASS_IS_NAME,
    VERSION_IS_SEMVER,
    VERSION_KEEPS_MAJOR,
    VERSION_GOES_STEP_BY_STEP,
    REPOSITORY_IS_PATH,
    TAG_IS_WORD,
    TAG_IS_NOT_LATEST,
    DIGEST_IS_SHA256,
    PROFILE_IS_FIXED,
    REPLICATION_IS_FIXED,
    SHARDS_ARE_FIXED,
    MEMTABLES_ARE_FIXED,
    BLOCKS_ARE_FIXED,
    FRONTENDS_HOLD_REPLICAS,
    FRONTEND_REPLICATION_IS_ODD,
    GROUPS_ARE_FIXED,
    INDEX_NODES_HOLD_REPLICAS,
    DATA_NODES_HOLD_REPLICAS,
    PRODUCTION_REPLICATES_GROUPS,
    PRODUCTION_HAS_INDEX_NODES,
    PRODUCTION_REPLICATES_SHARDS,
    PRODUCTION_REPLICATES_TABLES,
    MEMTABLES_ARE_SANE,
    CACHE_IS_SANE,
    INDEX_MEMORY_IS_SANE,
    BLOCKS_ARE_SANE,
    FRONTEND_MEMORY_HOLDS_BUDGETS,
    INDEX_MEMORY_IS_RESERVED,
    INDEX_MEMORY_HOLDS_PARTS,
    ZONE_KEY_IS_LABEL,
    LABELS_ARE_FREE,
    LABEL_VALUES_ARE_WORDS,
    ANNOTATIONS_ARE_FREE,
    VARIABLE_IS_NAME,
    VARIABLE_IS_FREE,
    PEER_SELECTS_SOMEBODY,
    BLOCK_IS_CIDR,
    OPERATION_IS_FIXED,
    RESTART_IS_ASKED_FOR,
    REPLACEMENT_NAMES_NODE,
    NODE_IS_OF_CLUSTER,
    CLUSTER_IS_NAME,
];
