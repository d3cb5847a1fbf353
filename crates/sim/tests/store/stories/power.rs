//! The power fails: for a minority, for everybody at once, for everybody one after the other.

use lamina_env::disk::memory::Loss;
use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;

use crate::nodes::settings;
use crate::story::{Story, WORK, one_of};

fn any_loss() -> Loss {
    if random::between(0, 2) == 0 { Loss::Everything } else { Loss::Drawn }
}

/// Each machine loses its unsynced bytes with a chance of `per_mille`, all at one moment, and comes back by itself.
async fn fail(story: &Story, per_mille: u64) {
    let mut down = Vec::new();
    for machine in story.world.nodes().into_values() {
        if random::between(0, 1000) < per_mille {
            machine.crash_with(any_loss());
            down.push(machine);
        }
    }
    let starts = down.into_iter().map(async |machine| {
        time::sleep(Duration::from_millis(random::between(0, 700))).await;
        machine.start();
    });
    futures::future::join_all(starts).await;
}

async fn failures(story: &Story, per_mille: &[u64]) {
    for per_mille in per_mille {
        time::sleep(Duration::from_millis(random::between(500, 3_500))).await;
        fail(story, *per_mille).await;
    }
}

#[test]
fn nothing_is_lost_when_the_power_fails_for_all_nodes_at_once() {
    World::each(500..501, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work_while(WORK, &Rates::NONE, failures(&story, &[1000, 1000, 1000, 1000])).await;
        story.compare().await;
    });
}

#[test]
fn nothing_is_lost_when_the_power_fails_for_some_nodes_at_once() {
    World::each(550..551, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work_while(WORK, &Rates::NONE, failures(&story, &[300, 500, 300, 700, 300])).await;
        story.compare().await;
    });
}

/// Machines fall while the store is founded, at first often: before they have an identity, between record and group.
async fn fall_early(world: &World) {
    for _ in 0..12 {
        time::sleep(Duration::from_millis(random::between(1, 120))).await;
        let names: Vec<String> = world.nodes().into_keys().collect();
        let machine = world.nodes()[&one_of(&names)].clone();
        if random::between(0, 3) == 0 {
            machine.kill()
        } else {
            machine.crash_with(any_loss())
        }
        time::sleep(Duration::from_millis(random::between(1, 120))).await;
        machine.start();
    }
}

#[test]
fn a_store_is_founded_once_while_machines_fall() {
    World::each(580..582, async |world| {
        let (story, ()) = futures::future::join(Story::begin(&world, settings()), fall_early(&world)).await;
        story.work(Duration::from_secs(3), &Rates::NONE).await;
        story.compare().await;
    });
}
