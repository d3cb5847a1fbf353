use lamina_peers::view::ReplicaPlacement;
use lamina_types::ReplicaId;

use super::*;

fn asked(said: &[(&str, Said)]) -> String {
    let asked = said.iter().map(|(at, said)| ((*at).to_owned(), said.clone())).collect();
    Reach { asked, status: None }.to_string()
}

#[test]
fn who_is_silent_is_named_and_who_refuses_is_quoted() {
    let refusal = Said::Refusal("the node has not met its store".to_owned());
    assert_eq!(asked(&[("a:1", Said::Nothing), ("b:1", Said::Nothing)]), "nobody answers at a:1, b:1");
    assert_eq!(
        asked(&[("a:1", refusal.clone()), ("b:1", Said::Nothing), ("c:1", Said::Nothing)]),
        "1 of 3 frontends answers (not b:1, c:1): the node has not met its store"
    );
    assert_eq!(
        asked(&[("a:1", refusal.clone()), ("b:1", refusal)]),
        "2 of 2 frontends answer: the node has not met its store"
    );
}

#[test]
fn a_group_lacks_its_majority_or_its_leader_or_nothing() {
    let replica = |n| ReplicaPlacement { replica: ReplicaId(n), node: NodeId(n.into()) };
    let group = GroupView {
        group: GroupId(1),
        replicas: (1..=3).map(replica).collect(),
        leaving: Vec::new(),
        initial: Vec::new(),
        first_range: None,
        leader: None,
    };
    assert_eq!(missing_of(&group, 1, true).unwrap(), "group 1 has no majority: 1 of its 3 replicas answers");
    assert_eq!(missing_of(&group, 2, false).unwrap(), "no leader of group 1");
    assert_eq!(missing_of(&group, 2, true), None);
}

#[test]
fn a_refusal_is_an_answer_and_silence_is_none() {
    assert!(is_silence(&Error::new(Reason::Unreachable, "")));
    assert!(is_silence(&Error::new(Reason::DeadlineExceeded, "")));
    for reason in [Reason::NotReady, Reason::Overloaded, Reason::ClusterMismatch] {
        assert!(!is_silence(&Error::new(reason, "")), "{reason}");
    }
}
