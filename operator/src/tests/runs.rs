//! Seeded runs: the same edits with and without faults end in the same place, nothing of a volume is lost on the way, one node is
//! stopped at a time, and what is done stays done.

use serde_json::{Value, json};

use super::world::{Dice, Faults, World};

/// Runs with faults.
const RUNS: u64 = 500;
/// Steps of the world between two passes, besides one: so fewer passes see a rolling restart through.
const HASTE: u64 = 5;
/// Tests that share them, so that they run at the same time.
const SHARES: u64 = 2;

/// Nothing goes wrong.
const CALM: Faults = Faults { crashes: 0, stale: 0, errors: 0, sleeps: 0, haste: HASTE };

/// The edits of a run, drawn from its seed alone: when, and what.
fn edits(seed: u64) -> Vec<(u64, Edit)> {
    let mut dice = Dice::new(seed ^ 0xED17);
    let mut at = 3;
    let mut edits = Vec::new();
    for _ in 0..3 {
        at += 1 + dice.below(8);
        let edit = match dice.below(9) {
            0 => Edit::Spec(json!({ "overrides": { "data": { "labels": { "a": "b" } } } })),
            1 => Edit::Spec(json!({ "image": { "tag": "bad" } })),
            2 => Edit::Spec(json!({ "index": { "replicas": 4 } })),
            3 => Edit::Spec(json!({ "paused": true })),
            4 => Edit::Operation(
                json!({ "type": "RollingRestart", "rollingRestart": { "components": ["Frontend"] } }),
            ),
            5 => Edit::Spec(json!({ "version": "0.9.0" })),
            6 => Edit::Operator("lamina:0.1.7"),
            7 => Edit::Recreate,
            _ => Edit::Lose(dice.below(3)),
        };
        edits.push((at, edit));
    }
    edits
}

#[derive(Clone, Debug)]
enum Edit {
    Spec(Value),
    Operation(Value),
    Operator(&'static str),
    Recreate,
    Lose(u64),
}

/// What every run ends with.
fn last() -> Value {
    json!({
        "upgrade": { "podTemplatePolicy": "FollowOperator" },
        "data": { "storage": { "size": "30Gi" } },
        "overrides": { "index": { "labels": { "last": "yes" } } },
    })
}

async fn run(seed: u64, edits: Vec<(u64, Edit)>, faults: Faults) -> World {
    let world = World::new(seed, faults);
    let mut operator = world.operator("lamina:0.1.0");
    world.spec(json!({}));
    let end = edits.iter().map(|(at, _)| at + 5).max().unwrap_or(0);
    let mut operations = 0;
    for turn in 0..end {
        for (_, edit) in edits.iter().filter(|(at, _)| *at == turn) {
            match edit {
                // Before it has begun, a store may have any shape, and keeps it.
                Edit::Spec(spec) if spec.get("index").is_some() && !world.store(|it| it.is_founded()) => {}
                Edit::Spec(spec) => world.spec(spec.clone()),
                Edit::Operation(spec) => {
                    operations += 1;
                    world.operate(&format!("op-{operations}"), spec.clone());
                }
                Edit::Operator(image) => operator = world.operator(image),
                Edit::Recreate => {
                    world.delete();
                    world.spec(json!({}));
                }
                Edit::Lose(host) => world.lose_host(&format!("host-{host}")),
            }
        }
        world.turn(&operator).await;
        one_at_a_time(&world);
    }
    world.find_hosts();
    world.calm();
    operator = world.operator("lamina:0.1.9");
    world.spec(last());
    world.settle(&operator, 400).await;
    for _ in 0..4 {
        world.turn(&operator).await;
    }
    world.forget_writes();
    for _ in 0..3 {
        world.turn(&operator).await;
    }
    assert_eq!(world.asked(), Vec::<String>::new(), "seed {seed}: not converged");
    assert_eq!(world.store(|it| it.foundings.len()), 1, "seed {seed}");
    world
}

/// A grant is out for one node at most, and it was asked for in the name of a pod.
fn one_at_a_time(world: &World) {
    world.store(|store| assert!(store.granted().is_none_or(|grant| grant.starts_with("pod-uid-"))));
}

/// The end of a run in which nothing is edited and nothing goes wrong. It depends on the last spec alone.
async fn calm_end() -> Value {
    run(0, Vec::new(), CALM).await.end()
}

/// Two ends are the same; else what differs is told, and not all of it.
fn same(calm: &Value, other: &Value, how: &str) {
    let mut differs = Vec::new();
    differences(calm, other, "", &mut differs);
    assert!(differs.is_empty(), "{how}\n{}", differs.join("\n"));
}

fn differences(one: &Value, other: &Value, at: &str, out: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|it| !a.contains_key(*it))) {
                let of = |it: &serde_json::Map<String, Value>| it.get(name).cloned().unwrap_or_default();
                differences(&of(a), &of(b), &format!("{at}/{name}"), out);
            }
        }
        _ if one == other => {}
        _ => {
            let short = |it: &Value| it.to_string().chars().take(200).collect::<String>();
            out.push(format!("{at}: {} and {}", short(one), short(other)));
        }
    }
}

/// Runs of this many seeds; `LAMINA_RUNS` says how many in all, for whoever wants more.
async fn runs(share: u64) {
    let all = std::env::var("LAMINA_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    let faults = Faults { crashes: 15, stale: 60, errors: 15, sleeps: 30, haste: HASTE };
    let calm = calm_end().await;
    for seed in (1..=all).filter(|seed| seed % SHARES == share) {
        let wild = run(seed, edits(seed), faults).await.end();
        same(&calm, &wild, &format!("seed {seed}: {:?}", edits(seed)));
    }
}

#[tokio::test]
async fn the_end_is_the_same_whatever_goes_wrong_on_the_way_in_one_half_of_the_runs() {
    runs(0).await;
}

#[tokio::test]
async fn the_end_is_the_same_whatever_goes_wrong_on_the_way_in_the_other_half_of_the_runs() {
    runs(1).await;
}

#[tokio::test]
async fn edits_alone_change_nothing_of_the_end_either() {
    let calm = calm_end().await;
    for seed in 1..=30 {
        let edited = run(seed, edits(seed), CALM).await.end();
        same(&calm, &edited, &format!("seed {seed}: {:?}", edits(seed)));
    }
}

#[tokio::test]
async fn a_crash_at_any_change_before_or_after_it_was_carried_out_changes_nothing_of_the_end() {
    let calm = crashing(None).await.0;
    let mut call = 1;
    loop {
        let mut left = true;
        for before in [true, false] {
            let (end, has_left) = crashing(Some((call, before))).await;
            same(&calm, &end, &format!("crash at change {call}, before: {before}"));
            left &= has_left;
        }
        if left {
            break;
        }
        call += 1;
    }
    assert!(call > 45, "the story has only {call} changes");
}

/// A store begins, its volumes grow, the pods of a role are replaced; the operator crashes once. Gives the end, and whether the
/// crash is still to come.
async fn crashing(crash: Option<(u64, bool)>) -> (Value, bool) {
    let world = World::new(1, CALM);
    let operator = world.operator("lamina:0.1.0");
    if let Some((call, before)) = crash {
        world.crash_at(call, before);
    }
    world.spec(json!({ "reclaimPolicy": "Delete" }));
    world.settle(&operator, 60).await;
    world.spec(json!({
        "reclaimPolicy": "Delete",
        "data": { "storage": { "size": "30Gi" } },
        "overrides": { "data": { "labels": { "a": "b" } } },
    }));
    world.settle(&operator, 200).await;
    for _ in 0..3 {
        world.turn(&operator).await;
    }
    let left = world.has_crash_left();
    (world.end(), left)
}
