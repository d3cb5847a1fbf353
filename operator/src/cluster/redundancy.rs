//! How redundant a store is, as far as it tells.

use lamina_crds::operation::Component;
use lamina_crds::status::ShardsStatus;
use lamina_peers::admin::Status;
use lamina_peers::view::{NodeState, NodeView};
use lamina_types::Role;

use super::build::Counts;
use super::seen::Seen;

/// How redundant a role is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redundancy {
    /// As much as was settled.
    Full,
    /// Less, because.
    Less(String),
    /// Nobody knows.
    Unknown,
}

impl Redundancy {
    /// Whether it is known to be full.
    pub fn is_full(&self) -> bool {
        *self == Redundancy::Full
    }
}

/// How redundant a role is.
pub fn redundancy(seen: &Seen, counts: &Counts, component: Component) -> Redundancy {
    let Some(status) = seen.store() else { return Redundancy::Unknown };
    let settings = &status.view.settings;
    let role = crate::names::role(component);
    let up = status.view.nodes_of(role).filter(|node| node.state == NodeState::Active && node.seen).count();
    if up < counts.of(component) as usize {
        return Redundancy::Less(format!(
            "{up} of {} {} nodes take part",
            counts.of(component),
            component.as_str()
        ));
    }
    let not_ready =
        seen.pods_of(component).filter(|(n, pod)| *n < counts.of(component) && !pod.ready).count();
    if not_ready > 0 || seen.pods_of(component).count() < counts.of(component) as usize {
        return Redundancy::Less(format!("not all {} pods are ready", component.as_str()));
    }
    match component {
        Component::Frontend => {
            // Voters, not those that are caught up: under load that changes by the second, and a late voter still votes.
            let lacking = status
                .groups
                .iter()
                .filter(|(_, group)| (group.voters.len() as u64) < u64::from(settings.frontend_replication));
            let silent = (settings.groups as usize).saturating_sub(status.groups.len());
            match lacking.count() + silent {
                0 => Redundancy::Full,
                groups => Redundancy::Less(format!("{groups} groups have fewer voters than they should")),
            }
        }
        Component::Index => {
            let shards = shards(Some(status));
            if shards.total > 0 && shards.fully_replicated == shards.total {
                Redundancy::Full
            } else {
                Redundancy::Less(format!("{} index shards are complete on all their nodes", shards.summary))
            }
        }
        Component::Data => {
            if status.groups.len() < settings.groups as usize {
                return Redundancy::Unknown;
            }
            match status.groups.iter().map(|(_, group)| group.under_replicated).sum::<u64>() {
                0 => Redundancy::Full,
                tables => Redundancy::Less(format!(
                    "{} tables have fewer copies than they should; they are copied",
                    about(tables)
                )),
            }
        }
    }
}

/// A number that falls all the time, in words that do not: each change of a message is a write.
fn about(number: u64) -> String {
    match number {
        0..20 => number.to_string(),
        _ => {
            let unit = 10_u64.pow(number.ilog10());
            format!("about {}", number / unit * unit)
        }
    }
}

/// Whether a node has all that it should have, as far as the store tells.
pub fn is_caught_up(status: &Status, node: &NodeView) -> bool {
    match node.role {
        Role::Frontend => status.groups.iter().all(|(id, stats)| {
            let placed = status
                .view
                .group(*id)
                .is_some_and(|group| group.replicas.iter().any(|it| it.node == node.node));
            !placed || stats.caught_up.contains(&node.node)
        }),
        Role::Index => {
            let mut replicas = status.view.shards.iter().flat_map(|shard| &shard.replicas);
            replicas.all(|replica| replica.node != node.node || replica.complete)
        }
        Role::Data => true,
    }
}

/// Index shards.
pub fn shards(status: Option<&Status>) -> ShardsStatus {
    let Some(view) = status.map(|status| &status.view) else { return ShardsStatus::default() };
    let wanted = view.settings.index_replication as usize;
    let complete =
        |shard: &lamina_peers::view::ShardView| shard.replicas.iter().filter(|it| it.complete).count();
    let total = view.shards.len();
    let full = view.shards.iter().filter(|shard| complete(shard) >= wanted).count();
    let none = view.shards.iter().filter(|shard| complete(shard) == 0).count();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ShardsStatus {
        total: number(total),
        fully_replicated: number(full),
        unavailable: number(none),
        summary: format!("{full}/{total}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_told_by_their_first_digit() {
        let said: Vec<String> = [1, 19, 20, 99, 1234].map(about).into();
        assert_eq!(said, ["1", "19", "about 20", "about 90", "about 1000"]);
    }
}
