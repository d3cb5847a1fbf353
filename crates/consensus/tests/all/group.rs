//! One group without faults, and what its interface promises.

use bytes::Bytes;
use lamina_consensus::{ProposeError, RoundError};
use lamina_env::Clock;
use lamina_env::time::{Duration, now, sleep, timeout};
use lamina_sim::World;
use lamina_sim::network::{Cut, Link};
use lamina_types::GroupId;

use crate::fleet::{Fleet, name, quick, replica_of};
use crate::journal::POISON;

const G: GroupId = GroupId(1);

#[test]
fn three_replicas_apply_what_the_leader_acknowledged_in_one_order() {
    World::run(1, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 2, quick());
        let mut last = 0;
        for number in 0..20 {
            last = fleet.put(G, &format!("a{number}")).await.0;
            fleet.put(GroupId(2), &format!("b{number}")).await;
        }
        let page = fleet.agree(G, last).await;
        assert_eq!(page.lines.len(), 20);
        let (node, _) = fleet.leader(G).await;
        let leader = fleet.open(node, G).unwrap().replica;
        let r = leader.round().await.unwrap();
        assert!(r.0 >= last);
        leader.wait_applied(r).await;
        assert_eq!(leader.applied(), r);
    });
}

/// If all members began it at once, their votes would split, and an election timeout would pass.
#[test]
fn a_new_group_has_a_leader_that_takes_proposals_before_an_election_timeout() {
    World::explore(0..5, async |world| {
        let begun = now();
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        let (node, term) = fleet.leader(G).await;
        assert!(begun.elapsed() < quick().election_min, "{:?}", begun.elapsed());
        let replica = fleet.open(node, G).unwrap().replica;
        replica.propose(term, Bytes::from_static(b"at once")).await.unwrap();
    });
}

#[test]
fn calls_that_overlap_stand_in_the_log_in_the_order_of_the_calls() {
    World::run(2, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        let (node, term) = fleet.leader(G).await;
        let replica = fleet.open(node, G).unwrap().replica;
        // More than a task may do before it has to give way to others.
        let calls: Vec<_> = (0..250u8).map(|n| replica.propose(term, Bytes::from(vec![n]))).collect();
        let results = futures::future::join_all(calls).await;
        let indexes: Vec<_> = results.into_iter().map(|result| result.unwrap().0).collect();
        assert!(indexes.is_sorted(), "{indexes:?}");
    });
}

#[test]
fn a_proposal_in_a_term_that_is_over_is_definitely_not_done() {
    World::run(3, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        let (node, term) = fleet.leader(G).await;
        let replica = fleet.open(node, G).unwrap().replica;
        for wrong in [term - 1, term + 1] {
            let result = replica.propose(wrong, Bytes::from_static(b"never")).await;
            assert!(matches!(result, Err(ProposeError::NotLeader { .. })), "{result:?}");
        }
        let follower = fleet.open(node % 3 + 1, G).unwrap().replica;
        let result = follower.propose(term, Bytes::from_static(b"never")).await;
        assert_eq!(result, Err(ProposeError::NotLeader { leader: Some(replica_of(G, node)) }));
        let last = fleet.put(G, "end").await;
        let page = fleet.agree(G, last.0).await;
        assert_eq!(page.lines.len(), 1);
    });
}

#[test]
fn a_restart_of_all_with_torn_tails_keeps_what_was_acknowledged() {
    World::explore(0..5, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 2, quick());
        let mut acknowledged = Vec::new();
        for round in 0..4 {
            for number in 0..15 {
                let text = format!("{round}-{number}-{}", "x".repeat(200));
                acknowledged.push((fleet.put(G, &text).await, text));
            }
            for node in fleet.all() {
                fleet.node(node).crash();
            }
            for node in fleet.all() {
                fleet.start_node(node);
            }
        }
        let last = fleet.put(G, "end").await;
        let page = fleet.agree(G, last.0).await;
        for (index, text) in acknowledged {
            let found =
                page.lines.iter().find(|(at, _)| *at == index.0).expect("an acknowledged entry is there");
            let found = String::from_utf8_lossy(&found.1);
            assert!(found.starts_with(&text), "{index:?} is {found:.20} and not {text:.20}");
        }
    });
}

#[test]
fn a_shut_replica_neither_votes_nor_acknowledges_before_it_is_admitted() {
    World::run(4, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        let last = fleet.put(G, "before").await;
        fleet.agree(G, last.0).await;
        for node in fleet.all() {
            fleet.shut(node);
        }
        for node in [1, 2] {
            fleet.crash(node);
            fleet.store(node).await;
        }
        // Two of three are shut: the third can neither lead nor commit.
        sleep(Duration::from_secs(10)).await;
        assert!(timeout(Duration::from_secs(5), fleet.put(G, "meanwhile")).await.is_err());
        let shut = fleet.open(1, G).unwrap().replica;
        assert!(!shut.leadership().borrow().mine);
        shut.admit();
        let last = fleet.put(G, "after").await;
        assert!(fleet.open(2, G).unwrap().page.lock().applied < last.0, "the other one is shut still");
        fleet.open(2, G).unwrap().replica.admit();
        let page = fleet.agree(G, last.0).await;
        assert!(page.lines.iter().any(|(_, line)| line.starts_with(b"before")));
    });
}

#[test]
fn a_follower_behind_the_cut_log_gets_a_snapshot() {
    World::explore(0..5, async |world| {
        let mut options = quick();
        options.keep_for_followers = Duration::from_millis(1);
        let fleet = Fleet::start(&world, 3, 3, 1, options);
        let last = fleet.put(G, "first").await;
        fleet.agree(G, last.0).await;
        let (leader, _) = fleet.leader(G).await;
        let lagging = leader % 3 + 1;
        fleet.node(lagging).crash();
        for number in 0..60 {
            fleet.put(G, &format!("{number}-{}", "s".repeat(300))).await;
        }
        let (leader, _) = fleet.leader(G).await;
        let replica = fleet.open(leader, G).unwrap().replica;
        let before = replica.log_bytes();
        let made = replica.checkpoint().await.unwrap();
        assert!(made.is_some());
        fleet.eventually("the log is cut", || (replica.log_bytes() < before / 4).then_some(())).await;
        fleet.start_node(lagging);
        let last = fleet.put(G, "end").await;
        let page = fleet.agree(G, last.0).await;
        assert_eq!(page.lines.len(), 62);
        assert!(fleet.open(lagging, G).unwrap().page.lock().restores > 0, "it came by snapshot");
        // And it keeps it over a restart.
        fleet.crash(lagging);
        let last = fleet.put(G, "more").await;
        assert_eq!(fleet.agree(G, last.0).await.lines.len(), 63);
    });
}

#[test]
fn checkpoints_keep_the_log_small_and_a_restart_begins_at_the_newest_one() {
    World::run(11, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 2, quick());
        for number in 0..600 {
            fleet.put(G, &format!("{number}-{}", "k".repeat(300))).await;
        }
        // Group 2 is idle and must not keep the oldest segment.
        fleet.put(GroupId(2), "idle").await;
        for number in 0..600 {
            fleet.put(G, &format!("{number}+{}", "k".repeat(300))).await;
        }
        for node in fleet.all() {
            let store = fleet.store(node).await;
            assert!(store.stats().segments <= 16, "n{node} has {:?}", store.stats());
            assert!(fleet.open(node, G).unwrap().replica.log_bytes() < 60 << 10);
        }
        for node in fleet.all() {
            fleet.crash(node);
        }
        let last = fleet.put(G, "end").await;
        assert_eq!(fleet.agree(G, last.0).await.lines.len(), 1201);
        assert!(fleet.open(1, G).unwrap().page.lock().restores > 0);
        let last = fleet.put(GroupId(2), "end").await;
        assert_eq!(fleet.agree(GroupId(2), last.0).await.lines.len(), 2);
    });
}

#[test]
fn a_replica_is_added_promoted_and_removed_and_its_id_is_never_used_again() {
    World::run(5, async |world| {
        let fleet = Fleet::start(&world, 4, 3, 1, quick());
        let (leader, _) = fleet.leader(G).await;
        let replica = fleet.open(leader, G).unwrap().replica;
        fleet.put(G, "before").await;
        replica.add_learner(replica_of(G, 4)).await.unwrap();
        replica.add_learner(replica_of(G, 4)).await.unwrap();
        assert!(replica.members().learners.contains(&replica_of(G, 4)));
        let leaves = leader % 3 + 1;
        let voters: std::collections::BTreeSet<_> =
            (1..=4).filter(|node| *node != leaves).map(|node| replica_of(G, node)).collect();
        replica.change_voters(voters.clone()).await.unwrap();
        replica.change_voters(voters.clone()).await.unwrap();
        let members = replica.members();
        assert_eq!((members.voters, members.joint), (voters, false));
        assert!(!members.learners.contains(&replica_of(G, leaves)));
        let store = fleet.store(leaves).await;
        store.delete_replica(G, replica_of(G, leaves)).await.unwrap();
        assert!(store.replicas().is_empty());
        let last = fleet.put(G, "after").await;
        fleet
            .eventually("the new one follows", || {
                (fleet.open(4, G)?.page.lock().applied >= last.0).then_some(())
            })
            .await;
        // After a crash, too.
        fleet.crash(leaves);
        let refused = fleet.eventually("the id is refused", || fleet.refused(leaves)).await;
        assert!(refused.contains("not used again"), "{refused}");
    });
}

#[test]
fn leadership_goes_where_it_is_asked_to_go() {
    World::run(6, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        for turn in 0..6 {
            let (leader, _) = fleet.leader(G).await;
            let to = leader % 3 + 1;
            let replica = fleet.open(leader, G).unwrap().replica;
            replica.transfer(replica_of(G, to)).await.unwrap();
            assert_eq!(fleet.leader(G).await.0, to);
            fleet.put(G, &format!("{turn}")).await;
        }
        let (leader, _) = fleet.leader(G).await;
        fleet.open(leader % 3 + 1, G).unwrap().replica.campaign().await;
        fleet.put(G, "a campaign beside a leader does no harm").await;
    });
}

#[test]
fn a_reader_joins_only_a_round_that_has_not_started() {
    World::run(8, async |world| {
        let mut options = quick();
        // Answers take 150 ms, and must not be too late for a heartbeat.
        options.heartbeat = Duration::from_millis(400);
        options.election_min = Duration::from_millis(900);
        options.election_max = Duration::from_millis(1800);
        let fleet = Fleet::start(&world, 3, 3, 1, options);
        fleet.put(G, "first").await;
        let (leader, _) = fleet.leader(G).await;
        let replica = fleet.open(leader, G).unwrap().replica;
        for other in fleet.all().into_iter().filter(|other| *other != leader) {
            let slow = Link { delay_ms_min: 150, delay_ms_max: 150, ..Link::default() };
            world.network().set_link(&name(other), &name(leader), Some(slow));
            let quick = Link { delay_ms_min: 0, delay_ms_max: 0, ..Link::default() };
            world.network().set_link(&name(leader), &name(other), Some(quick));
        }
        for _ in 0..10 {
            let reads = [0, 1, 40, 80, 120, 149, 151].map(|after| {
                let replica = replica.clone();
                async move {
                    sleep(Duration::from_millis(after)).await;
                    let began = now();
                    replica.round().await.unwrap();
                    // An answer to a message that was sent before the call would come earlier.
                    assert!(began.elapsed() >= Duration::from_millis(150), "{after}: {:?}", began.elapsed());
                }
            });
            futures::future::join_all(reads).await;
            sleep(Duration::from_millis(37)).await;
        }
    });
}

#[test]
fn a_leader_that_is_cut_off_answers_no_round() {
    World::run(9, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        fleet.put(G, "first").await;
        let (leader, term) = fleet.leader(G).await;
        let replica = fleet.open(leader, G).unwrap().replica;
        let cut = world.network().cut(Cut::Isolated(name(leader)));
        let result = timeout(Duration::from_secs(10), replica.round()).await.unwrap();
        assert!(matches!(result, Err(RoundError::NoQuorum | RoundError::NotLeader { .. })), "{result:?}");
        let proposed =
            timeout(Duration::from_secs(3), replica.propose(term, Bytes::from_static(b"cut off"))).await;
        assert!(!matches!(proposed, Ok(Ok(_))));
        fleet
            .eventually("the others elect", || fleet.present_leader(G).filter(|(node, _)| *node != leader))
            .await;
        fleet.put(G, "second").await;
        world.network().mend(cut);
        let last = fleet.put(G, "third").await;
        fleet.agree(G, last.0).await;
    });
}

#[test]
fn a_peer_that_is_down_costs_few_messages() {
    World::run(10, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        fleet.put(G, "first").await;
        let (leader, _) = fleet.leader(G).await;
        let down = leader % 3 + 1;
        fleet.node(down).kill();
        let before = fleet.calls(leader, down);
        for number in 0..100 {
            fleet.put(G, &format!("{number}")).await;
            sleep(Duration::from_millis(100)).await;
        }
        let calls = fleet.calls(leader, down) - before;
        // Ten heartbeats a second, and entries with a pause of half a second.
        assert!(
            (50..=600).contains(&calls),
            "{calls} calls to a peer that is down, in ten seconds and a bit"
        );
    });
}

#[test]
fn an_entry_that_the_machine_cannot_understand_stops_the_replica() {
    World::run(12, async |world| {
        let fleet = Fleet::start(&world, 1, 1, 1, quick());
        fleet.put(G, "first").await;
        let (node, term) = fleet.leader(G).await;
        let replica = fleet.open(node, G).unwrap().replica;
        let proposed =
            timeout(Duration::from_secs(3), replica.propose(term, Bytes::from_static(POISON))).await;
        assert!(!matches!(proposed, Ok(Ok(_))));
        let stop = fleet.until(replica.stopped(), Option::is_some).await;
        assert!(stop.unwrap().0.contains("cannot be understood"));
    });
}

#[test]
fn the_hint_follows_the_median_of_the_voters_clocks() {
    World::run(13, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        fleet.put(G, "first").await;
        let (leader, _) = fleet.leader(G).await;
        let replica = fleet.open(leader, G).unwrap().replica;
        fleet.node(leader).clock().set_skew_ms(3_600_000);
        sleep(Duration::from_secs(1)).await;
        let real = fleet.node(leader % 3 + 1).clock().now_ms();
        let hint = replica.hint_ms();
        assert!(hint >= real && hint <= real + 600, "{hint} at {real}");
        fleet.node(leader).clock().set_skew_ms(-5_000);
        let hint = replica.hint_ms();
        assert!(hint <= real, "{hint} at {real}");
        let progress = replica.progress();
        assert_eq!(progress.len(), 2);
        assert!(
            progress
                .iter()
                .all(|other| other.matched.is_some() && other.silent_ms.is_some_and(|ms| ms < 1000))
        );
    });
}
