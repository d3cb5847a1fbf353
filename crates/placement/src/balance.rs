//! One of several for each, so that nobody is chosen much more often than others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lamina_types::NodeId;

/// Chooses one node out of each list so that the counts of how often each node is chosen are as equal as the lists
/// allow. Empty lists choose nobody. Where there is a choice, the front of a list wins, so little changes when
/// little has changed.
///
/// A greedy first choice, then exchanges along shortest chains from a node that is chosen often to one that is
/// chosen at least two times less often. Each exchange lowers the sum of squares, so it ends, and when no chain is
/// left the choice is optimal (semi-matchings: Harvey, Ladner, Lovász, Tamir 2006).
pub(crate) fn balanced_choice(options: &[Vec<NodeId>]) -> Vec<Option<NodeId>> {
    let mut count: BTreeMap<NodeId, usize> = options.iter().flatten().map(|node| (*node, 0)).collect();
    let mut chosen = Vec::with_capacity(options.len());
    for list in options {
        let least = list.iter().copied().min_by_key(|node| count.get(node).copied());
        if let Some(seen) = least.and_then(|node| count.get_mut(&node)) {
            *seen += 1;
        }
        chosen.push(least);
    }
    while let Some(chain) = improving_chain(options, &chosen, &count) {
        for (at, from, to) in chain {
            if let Some(choice) = chosen.get_mut(at) {
                *choice = Some(to);
            }
            if let Some(seen) = count.get_mut(&from) {
                *seen -= 1;
            }
            *count.entry(to).or_default() += 1;
        }
    }
    chosen
}

/// A change of one choice: which, from whom, to whom.
type Exchange = (usize, NodeId, NodeId);

fn improving_chain(
    options: &[Vec<NodeId>],
    chosen: &[Option<NodeId>],
    count: &BTreeMap<NodeId, usize>,
) -> Option<Vec<Exchange>> {
    let mut busiest: Vec<NodeId> = count.keys().copied().collect();
    busiest.sort_by_key(|node| std::cmp::Reverse(count.get(node).copied()));
    busiest.into_iter().find_map(|start| chain_from(start, options, chosen, count))
}

fn chain_from(
    start: NodeId,
    options: &[Vec<NodeId>],
    chosen: &[Option<NodeId>],
    count: &BTreeMap<NodeId, usize>,
) -> Option<Vec<Exchange>> {
    let start_count = *count.get(&start)?;
    let mut reached = BTreeSet::from([start]);
    let mut came: BTreeMap<NodeId, Exchange> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if count.get(&node).is_some_and(|seen| seen + 2 <= start_count) {
            let mut chain = Vec::new();
            let mut at = node;
            while let Some(exchange) = came.get(&at) {
                chain.push(*exchange);
                at = exchange.1;
            }
            return Some(chain);
        }
        for (at, list) in options.iter().enumerate() {
            if chosen.get(at).copied().flatten() != Some(node) {
                continue;
            }
            for next in list.iter().filter(|next| reached.insert(**next)).collect::<Vec<_>>() {
                came.insert(*next, (at, node, *next));
                queue.push_back(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(chosen: &[Option<NodeId>]) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for node in chosen.iter().flatten() {
            *counts.entry(*node).or_default() += 1;
        }
        counts
    }

    /// The least possible maximum, by trying everything.
    fn best_max(options: &[Vec<NodeId>], at: usize, count: &mut BTreeMap<NodeId, usize>) -> usize {
        let Some(list) = options.get(at) else { return count.values().copied().max().unwrap_or(0) };
        let mut best = usize::MAX;
        for node in list {
            *count.entry(*node).or_default() += 1;
            best = best.min(best_max(options, at + 1, count));
            *count.get_mut(node).unwrap() -= 1;
        }
        best
    }

    proptest! {
        #[test]
        fn nobody_is_chosen_more_often_than_must_be(
            options in prop::collection::vec(prop::collection::btree_set(0u128..5, 1..4), 0..7)
        ) {
            let options: Vec<Vec<NodeId>> =
                options.into_iter().map(|list| list.into_iter().map(NodeId).collect()).collect();
            let chosen = balanced_choice(&options);
            for (list, choice) in options.iter().zip(&chosen) {
                prop_assert!(list.contains(&choice.unwrap()));
            }
            let max = counts(&chosen).values().copied().max().unwrap_or(0);
            prop_assert_eq!(max, best_max(&options, 0, &mut BTreeMap::new()));
        }
    }
}
