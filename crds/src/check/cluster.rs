//! The rules of a store, in the order of its fields.

use std::collections::BTreeMap;

use crate::check::{Judge, words};
use crate::cluster::{
    DataSpec, FrontendSpec, ImageSpec, IndexSpec, NetworkSpec, PodOverrides, Profile, Resources,
    StorageCluster, StorageClusterSpec, StorageSpec,
};
use crate::quantity::{Bytes, Cpu};
use crate::reasons::{ConditionType, Reason};
use crate::rules;

/// Memory of an index node beside its index parts.
const INDEX_OVERHEAD_BYTES: u64 = 256 << 20;

pub(super) fn judge(judge: &mut Judge, new: &StorageCluster, old: Option<&StorageCluster>) {
    let name = new.metadata.name.as_deref().unwrap_or_default();
    judge.must(name.chars().count() <= 40, "", rules::NAME_FITS);
    judge.must(words::is_label(name), "", rules::NAME_IS_LABEL);
    if let Some(old) = old.filter(|old| !could_not_grow(old)) {
        let shrinks = |new: &StorageSpec, old: &StorageSpec| {
            new.size.parse().zip(old.size.parse()).is_some_and(|(new, old)| new < old)
        };
        let frontend = shrinks(&new.spec.frontend.storage, &old.spec.frontend.storage);
        judge.must(!frontend, "", rules::FRONTEND_VOLUMES_NEVER_SHRINK);
        let data = shrinks(&new.spec.data.storage, &old.spec.data.storage);
        judge.must(!data, "", rules::DATA_VOLUMES_NEVER_SHRINK);
    }
    spec(judge, &new.spec, old.map(|old| &old.spec));
}

/// Whether volumes were asked for a size that they cannot have.
fn could_not_grow(store: &StorageCluster) -> bool {
    let resized = store.status.as_ref().and_then(|it| it.condition(ConditionType::VolumesResized));
    resized.is_some_and(|it| it.reason == Reason::ResizeUnsupported.as_str())
}

fn spec(judge: &mut Judge, new: &StorageClusterSpec, old: Option<&StorageClusterSpec>) {
    let development = new.profile == Profile::Development;
    for (holds, rule) in [
        (new.frontend.replication_factor >= 3, rules::PRODUCTION_REPLICATES_GROUPS),
        (new.index.replicas >= 3, rules::PRODUCTION_HAS_INDEX_NODES),
        (new.index.replication_factor >= 2, rules::PRODUCTION_REPLICATES_SHARDS),
        (new.data.replication_factor >= 2, rules::PRODUCTION_REPLICATES_TABLES),
    ] {
        judge.must(development || holds, "spec", rule);
    }
    version(judge, new.version.as_deref(), old.and_then(|old| old.version.as_deref()));
    image(judge, &new.image);
    judge.must(old.is_none_or(|old| old.profile == new.profile), "spec.profile", rules::PROFILE_IS_FIXED);
    frontend(judge, &new.frontend, old.map(|old| &old.frontend));
    index(judge, &new.index, old.map(|old| &old.index));
    data(judge, &new.data, old.map(|old| &old.data));
    judge.must(
        words::is_label_key(&new.topology.zone_key),
        "spec.topology.zoneKey",
        rules::ZONE_KEY_IS_LABEL,
    );
    network(judge, &new.network);
    let pods = [
        ("spec.overrides.frontend", &new.overrides.frontend),
        ("spec.overrides.index", &new.overrides.index),
        ("spec.overrides.data", &new.overrides.data),
    ];
    pods.into_iter().for_each(|(at, overrides)| self::pods(judge, at, overrides));
}

fn version(judge: &mut Judge, new: Option<&str>, old: Option<&str>) {
    let Some(new) = new else { return };
    let at = "spec.version";
    let parsed = words::version(new);
    judge.must(parsed.is_some(), at, rules::VERSION_IS_SEMVER);
    let (Some(new), Some(old)) = (parsed, old.and_then(words::version)) else { return };
    judge.must(new.0 == old.0, at, rules::VERSION_KEEPS_MAJOR);
    judge.must(new.0 != old.0 || new.1.abs_diff(old.1) <= 1, at, rules::VERSION_GOES_STEP_BY_STEP);
}

fn image(judge: &mut Judge, image: &ImageSpec) {
    if let Some(repository) = &image.repository {
        judge.must(words::is_repository(repository), "spec.image.repository", rules::REPOSITORY_IS_PATH);
    }
    if let Some(tag) = &image.tag {
        judge.must(words::is_tag(tag), "spec.image.tag", rules::TAG_IS_WORD);
        judge.must(tag != "latest", "spec.image.tag", rules::TAG_IS_NOT_LATEST);
    }
    if let Some(digest) = &image.digest {
        judge.must(words::is_digest(digest), "spec.image.digest", rules::DIGEST_IS_SHA256);
    }
}

fn frontend(judge: &mut Judge, new: &FrontendSpec, old: Option<&FrontendSpec>) {
    let at = "spec.frontend";
    let replication = "spec.frontend.replicationFactor";
    judge.must(new.replicas >= new.replication_factor, at, rules::FRONTENDS_HOLD_REPLICAS);
    judge.must(!new.replication_factor.is_multiple_of(2), replication, rules::FRONTEND_REPLICATION_IS_ODD);
    fixed(judge, replication, new.replication_factor, old.map(|old| old.replication_factor));
    judge.must(
        old.is_none_or(|old| new.groups == old.groups),
        "spec.frontend.groups",
        rules::GROUPS_ARE_FIXED,
    );

    let memtables = size(judge, "spec.frontend.memtableBytes", &new.memtable_bytes);
    if let Some(memtables) = memtables {
        let at = "spec.frontend.memtableBytes";
        judge.must((1 << 20..=64 << 30).contains(&memtables), at, rules::MEMTABLES_ARE_SANE);
        let old = old.and_then(|old| old.memtable_bytes.parse());
        judge.must(old.is_none_or(|old| old == memtables), at, rules::MEMTABLES_ARE_FIXED);
    }
    let cache = size(judge, "spec.frontend.cacheBytes", &new.cache_bytes);
    if let Some(cache) = cache {
        judge.must((1 << 20..=1 << 40).contains(&cache), "spec.frontend.cacheBytes", rules::CACHE_IS_SANE);
    }
    storage(judge, "spec.frontend.storage", &new.storage, old.map(|old| &old.storage));
    resources(judge, "spec.frontend.resources", &new.resources);
    let limit = new.resources.limits.memory.as_ref().and_then(Bytes::parse);
    if let (Some(memtables), Some(cache), Some(limit)) = (memtables, cache, limit) {
        let held =
            (u64::from(new.groups) * u64::from(new.replication_factor)).div_ceil(new.replicas.max(1).into());
        let needed = (held + 1).saturating_mul(memtables).saturating_add(cache);
        judge.must(limit >= needed, at, rules::FRONTEND_MEMORY_HOLDS_BUDGETS);
    }
}

fn index(judge: &mut Judge, new: &IndexSpec, old: Option<&IndexSpec>) {
    let at = "spec.index";
    judge.must(new.replicas >= new.replication_factor, at, rules::INDEX_NODES_HOLD_REPLICAS);
    let replication = old.map(|old| old.replication_factor);
    fixed(judge, "spec.index.replicationFactor", new.replication_factor, replication);
    judge.must(old.is_none_or(|old| new.shards == old.shards), "spec.index.shards", rules::SHARDS_ARE_FIXED);

    let parts = size(judge, "spec.index.memoryBytes", &new.memory_bytes);
    if let Some(parts) = parts {
        let sane = (16 << 20..=1 << 40).contains(&parts);
        judge.must(sane, "spec.index.memoryBytes", rules::INDEX_MEMORY_IS_SANE);
    }
    resources(judge, "spec.index.resources", &new.resources);
    let (request, limit) = (&new.resources.requests.memory, &new.resources.limits.memory);
    let reserved = match (request, limit) {
        // An amount without a proper form is somebody else's finding.
        (Some(request), Some(limit)) => match (request.parse(), limit.parse()) {
            (Some(request), Some(limit)) => request == limit,
            _ => true,
        },
        _ => false,
    };
    judge.must(reserved, at, rules::INDEX_MEMORY_IS_RESERVED);
    if let (Some(parts), Some(limit)) = (parts, limit.as_ref().and_then(Bytes::parse)) {
        judge.must(limit >= parts + INDEX_OVERHEAD_BYTES, at, rules::INDEX_MEMORY_HOLDS_PARTS);
    }
}

fn data(judge: &mut Judge, new: &DataSpec, old: Option<&DataSpec>) {
    judge.must(new.replicas >= new.replication_factor, "spec.data", rules::DATA_NODES_HOLD_REPLICAS);
    let replication = old.map(|old| old.replication_factor);
    fixed(judge, "spec.data.replicationFactor", new.replication_factor, replication);
    let at = "spec.data.blockBytes";
    if let Some(blocks) = size(judge, at, &new.block_bytes) {
        judge.must((4 << 10..=1 << 20).contains(&blocks), at, rules::BLOCKS_ARE_SANE);
        let old = old.and_then(|old| old.block_bytes.parse());
        judge.must(old.is_none_or(|old| old == blocks), at, rules::BLOCKS_ARE_FIXED);
    }
    storage(judge, "spec.data.storage", &new.storage, old.map(|old| &old.storage));
    resources(judge, "spec.data.resources", &new.resources);
}

fn fixed(judge: &mut Judge, at: &str, new: u32, old: Option<u32>) {
    judge.must(old.is_none_or(|old| old == new), at, rules::REPLICATION_IS_FIXED);
}

fn storage(judge: &mut Judge, at: &str, new: &StorageSpec, old: Option<&StorageSpec>) {
    if let Some(bytes) = size(judge, &format!("{at}.size"), &new.size) {
        judge.must(bytes >= 1 << 30, at, rules::VOLUME_IS_LARGE_ENOUGH);
    }
    let class = &new.storage_class_name;
    judge.must(old.is_none_or(|old| old.storage_class_name == *class), at, rules::VOLUME_CLASS_IS_FIXED);
    if let Some(class) = class {
        judge.must(words::is_dotted_name(class), &format!("{at}.storageClassName"), rules::CLASS_IS_NAME);
    }
}

fn resources(judge: &mut Judge, at: &str, new: &Resources) {
    let mut cpus = [("requests", &new.requests), ("limits", &new.limits)]
        .map(|(which, amounts)| cpu(judge, &format!("{at}.{which}.cpu"), amounts.cpu.as_ref()))
        .into_iter();
    if let (Some(Some(request)), Some(Some(limit))) = (cpus.next(), cpus.next()) {
        judge.must(limit >= request, at, rules::CPU_LIMIT_COVERS_REQUEST);
    }
    let mut memory = [("requests", &new.requests), ("limits", &new.limits)]
        .map(|(which, amounts)| {
            let at = format!("{at}.{which}.memory");
            amounts.memory.as_ref().and_then(|memory| size(judge, &at, memory))
        })
        .into_iter();
    if let (Some(Some(request)), Some(Some(limit))) = (memory.next(), memory.next()) {
        judge.must(limit >= request, at, rules::MEMORY_LIMIT_COVERS_REQUEST);
    }
}

/// The number of bytes, if it is one.
fn size(judge: &mut Judge, at: &str, size: &Bytes) -> Option<u64> {
    let bytes = size.parse();
    judge.must(bytes.is_some(), at, rules::SIZE_IS_WHOLE);
    bytes
}

fn cpu(judge: &mut Judge, at: &str, cpu: Option<&Cpu>) -> Option<u64> {
    let millis = cpu?.parse();
    judge.must(millis.is_some(), at, rules::CPU_IS_WHOLE);
    millis
}

fn network(judge: &mut Judge, network: &NetworkSpec) {
    for (n, peer) in network.allow_from.iter().enumerate() {
        let at = format!("spec.network.allowFrom[{n}]");
        let pods = peer.namespace_selector.is_some() || peer.pod_selector.is_some();
        judge.must(pods != peer.ip_block.is_some(), &at, rules::PEER_SELECTS_SOMEBODY);
        if let Some(block) = &peer.ip_block {
            let cidr = words::is_cidr(&block.cidr);
            judge.must(cidr, &format!("{at}.ipBlock.cidr"), rules::BLOCK_IS_CIDR);
            for (m, except) in block.except.iter().enumerate() {
                let at = format!("{at}.ipBlock.except[{m}]");
                judge.must(words::is_cidr(except), &at, rules::BLOCK_IS_CIDR);
            }
        }
    }
    annotations(judge, "spec.network.service.annotations", &network.service.annotations);
}

fn pods(judge: &mut Judge, at: &str, pods: &PodOverrides) {
    let labels = format!("{at}.labels");
    let ours = |key: &String| key.starts_with("lamina.dev/") || key.starts_with("app.kubernetes.io/");
    judge.must(!pods.labels.keys().any(ours), &labels, rules::LABELS_ARE_FREE);
    let words = pods.labels.values().all(|value| words::is_label_value(value));
    judge.must(words, &labels, rules::LABEL_VALUES_ARE_WORDS);
    annotations(judge, &format!("{at}.annotations"), &pods.annotations);
    for (n, variable) in pods.env.iter().enumerate() {
        let at = format!("{at}.env[{n}].name");
        judge.must(words::is_variable(&variable.name), &at, rules::VARIABLE_IS_NAME);
        let lamina = variable.name.starts_with("LAMINA_") && variable.name != "LAMINA_LOG";
        let free = !lamina && variable.name != "POD_NAME";
        judge.must(free, &at, rules::VARIABLE_IS_FREE);
    }
}

fn annotations(judge: &mut Judge, at: &str, annotations: &BTreeMap<String, String>) {
    let free = !annotations.keys().any(|key| key.starts_with("lamina.dev/"));
    judge.must(free, at, rules::ANNOTATIONS_ARE_FREE);
}
