use super::*;

fn at(second: i64) -> Time {
    serde_json::from_value(serde_json::json!(format!("2026-01-01T00:00:{second:02}Z"))).unwrap()
}

#[test]
fn the_worst_status_is_within_its_bound_and_keeps_its_conditions() {
    let long = "ä".repeat(2000);
    let mut status = StorageClusterStatus {
        observed_generation: Some(i64::MAX),
        cluster_uuid: Some("0".repeat(36)),
        map_epoch: Some(i64::MAX),
        version: Some("9".repeat(64)),
        template_revision: Some("9".repeat(64)),
        available_revision: Some("9".repeat(64)),
        selector: Some("a".repeat(256)),
        ..StorageClusterStatus::default()
    };
    for kind in ConditionType::ALL {
        status.set(
            Condition::new(kind, Verdict::Unknown, Reason::TablesUnderReplicated, &*long, at(1))
                .observed(Some(i64::MAX)),
        );
    }
    for n in 0..300 {
        let name = format!("{}-frontend-{n}", "n".repeat(40));
        status.members.push(MemberStatus { name, state: "Draining".to_owned(), zone: "z".repeat(63) });
        let id = format!("operation-{n}");
        let (target, phase) = (long.clone(), long.clone());
        status.operations.push(OperationStatus {
            id,
            kind: "ReplacingNode".to_owned(),
            target,
            phase,
            percent: 5,
        });
    }
    let status = status.bounded();
    assert!(status.bytes() <= STATUS_BYTES_MAX, "{} bytes", status.bytes());
    assert_eq!(status.conditions.len(), ConditionType::ALL.len());
    assert!(status.conditions.iter().all(|it| it.message.chars().count() == MESSAGE_LENGTH_MAX));
}

#[test]
fn a_usual_store_keeps_all_its_members_in_its_status() {
    let mut status = StorageClusterStatus::default();
    for kind in ConditionType::ALL {
        let message = "3 of 3 nodes are ready, all shards are complete";
        status.set(Condition::new(kind, Verdict::True, Reason::AsExpected, message, at(1)).observed(Some(3)));
    }
    for n in 0..MEMBERS_MAX {
        let name = format!("orders-frontend-{n}");
        status.members.push(MemberStatus { name, state: "Active".to_owned(), zone: "zone-a".to_owned() });
    }
    let bounded = status.clone().bounded();
    assert_eq!(bounded, status);
}

#[test]
fn a_condition_keeps_its_time_until_it_turns() {
    let mut status = StorageClusterStatus::default();
    let ready = |holds: bool, why, second| {
        Condition::new(ConditionType::Ready, Verdict::from(holds), why, why.meaning(), at(second))
    };
    status.set(ready(false, Reason::Bootstrapping, 1));
    status.set(ready(false, Reason::NodesNotReady, 2));
    let there = status.condition(ConditionType::Ready).unwrap();
    assert_eq!((&there.last_transition_time, &*there.reason), (&at(1), "NodesNotReady"));
    status.set(ready(true, Reason::AsExpected, 3));
    let there = status.condition(ConditionType::Ready).unwrap();
    assert_eq!((&there.last_transition_time, there.is_true()), (&at(3), true));
    assert_eq!(status.conditions.len(), 1);
}

#[test]
fn progress_goes_in_steps_and_is_complete_only_at_the_end() {
    let steps: Vec<u32> = [0, 1, 49, 50, 99, 100, 101].map(|done| percent(done, 1000 / 10)).to_vec();
    assert_eq!(steps, [0, 0, 45, 50, 95, 100, 100]);
    assert_eq!(percent(0, 0), 100);
    assert_eq!(percent(u64::MAX - 1, u64::MAX), 95);
}
