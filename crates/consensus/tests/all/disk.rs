//! Disks that fail, fill up, or forget.

use bytes::Bytes;
use lamina_consensus::{LogFailure, ProposeError};
use lamina_env::Disk;
use lamina_env::time::{Duration, sleep};
use lamina_sim::World;
use lamina_types::GroupId;

use crate::fleet::{Fleet, quick, replica_of};

const G: GroupId = GroupId(1);

/// The newest segment's file of a node, and its path.
async fn newest_segment(fleet: &Fleet, node: u64) -> String {
    let disk = fleet.node(node).disk().mount();
    let names = disk.list("log/wal").await.unwrap();
    let mut newest = String::new();
    for name in names {
        let path = format!("log/wal/{}", name.name);
        let file = disk.open(&path, lamina_env::disk::OpenMode::Read).await.unwrap();
        if file.read_at(0, 4).await.unwrap().as_ref() == b"LWB1" {
            newest = path;
        }
    }
    newest
}

#[test]
fn a_flipped_bit_in_synced_bytes_keeps_the_node_from_starting() {
    for offset in [0, 5, 9, 13, 45, 70, 200] {
        World::run(offset, async |world| {
            let fleet = Fleet::start(&world, 3, 3, 1, quick());
            for number in 0..20 {
                fleet.put(G, &format!("{number}")).await;
            }
            let last = fleet.put(G, "last").await;
            fleet.agree(G, last.0).await;
            let path = newest_segment(&fleet, 2).await;
            fleet.node(2).kill();
            assert!(fleet.node(2).disk().rot(&path, offset, 0x04));
            fleet.start_node(2);
            let refused = fleet.eventually("the node refuses to start", || fleet.refused(2)).await;
            assert!(refused.contains("damaged") && refused.contains("replace the node"), "{refused}");
            // The group goes on without it.
            fleet.put(G, "more").await;
        });
    }
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_a_restart_brings_all_back() {
    World::explore(0..5, async |world| {
        let fleet = Fleet::start(&world, 1, 1, 2, quick());
        let mut kept = Vec::new();
        for number in 0..10 {
            kept.push(fleet.put(G, &format!("{number}")).await);
        }
        let store = fleet.store(1).await;
        assert_eq!(*store.failed().borrow(), None);
        fleet.node(1).disk().change_faults(|faults| faults.next_syncs_fail = 1);
        let result = fleet.propose(G, "lost or kept, but not acknowledged").await.unwrap();
        assert!(matches!(result, Err(ProposeError::Unknown)), "{result:?}");
        let failure = fleet.until(store.failed(), Option::is_some).await;
        assert!(matches!(failure, Some(LogFailure::SyncFailed(_))));
        let syncs = fleet.node(1).disk().counters().syncs;
        for group in [G, GroupId(2)] {
            // All groups of the process are concerned, and the sync is never tried again.
            let result = fleet.propose(group, "never").await;
            assert!(!matches!(result, Some(Ok(_))), "{result:?}");
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(fleet.node(1).disk().counters().syncs, syncs, "a failed sync is not tried again");
        fleet.crash(1);
        let last = fleet.put(G, "after").await;
        let page = fleet.agree(G, last.0).await;
        for index in kept {
            assert!(page.lines.iter().any(|(at, _)| *at == index.0));
        }
        assert!(!page.lines.iter().any(|(_, line)| line.as_ref() == b"never"));
    });
}

#[test]
fn a_full_disk_refuses_proposals_before_they_are_appended_and_recovers_by_itself() {
    World::explore(0..5, async |world| {
        let mut options = quick();
        // No checkpoint makes room here.
        options.checkpoint_log_bytes = 1 << 40;
        options.log_bytes_max = 1 << 40;
        let fleet = Fleet::start(&world, 3, 3, 1, options);
        fleet.put(G, "first").await;
        for node in fleet.all() {
            fleet.node(node).disk().change_faults(|faults| faults.capacity = 100 << 10);
        }
        let line = "z".repeat(400);
        let (mut acknowledged, mut full) = (Vec::new(), 0);
        for number in 0..600 {
            let text = format!("{number}-{line}");
            match fleet.propose(G, &text).await {
                Some(Ok((index, _))) => acknowledged.push((index, text)),
                Some(Err(ProposeError::Full)) => full += 1,
                _ => {}
            }
            if full == 20 {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert!(full == 20 && acknowledged.len() > 20, "{full} refused, {} done", acknowledged.len());
        let (leader, _) = fleet.leader(G).await;
        assert!(*fleet.store(leader).await.full().borrow());
        for node in fleet.all() {
            assert_eq!(*fleet.store(node).await.failed().borrow(), None, "a full disk is no failure");
            fleet.node(node).disk().change_faults(|faults| faults.capacity = 1 << 30);
        }
        let last = fleet.put(G, "again").await;
        fleet.agree(G, last.0).await;
        for node in fleet.all() {
            fleet.crash(node);
        }
        let last = fleet.put(G, "end").await;
        let page = fleet.agree(G, last.0).await;
        for (index, text) in acknowledged {
            assert!(page.lines.iter().any(|(at, line)| *at == index.0 && line.as_ref() == text.as_bytes()));
        }
    });
}

#[test]
fn a_replica_that_lost_what_it_acknowledged_is_shut_out_and_reported() {
    World::run(7, async |world| {
        let fleet = Fleet::start(&world, 3, 3, 1, quick());
        let last = fleet.put(G, "kept by all").await;
        fleet.agree(G, last.0).await;
        let (leader, _) = fleet.leader(G).await;
        let victim = leader % 3 + 1;
        fleet.node(victim).kill();
        // Somebody gives the node an empty volume under its old name, which is forbidden.
        fleet.node(victim).disk().mount().remove_dir_all("log").await.unwrap();
        fleet.shut(victim);
        fleet.start_node(victim);
        fleet.store(victim).await;
        fleet.open(victim, G).unwrap().replica.admit();
        let replica = fleet.open(leader, G).unwrap().replica;
        let out = fleet.until(replica.shut_out(), |out| !out.is_empty()).await;
        assert!(out.contains(&replica_of(G, victim)));
        let refused = replica.handle(replica_of(G, victim), Bytes::from_static(&[1, 2])).await;
        assert_eq!(refused.unwrap_err().reason(), lamina_types::Reason::StateRefused);
        fleet.put(G, "the other two go on").await;
    });
}
