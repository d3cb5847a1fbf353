//! A network that works badly for everybody, and one that works for clients only.

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_sim::network::{Cut, Link};
use lamina_types::Role;

use crate::nodes::settings;
use crate::story::{Story, WORK};

/// The leader of the data group and the other frontends do not hear each other, and clients reach all of them: who
/// was deposed and does not know it is asked, while its successor takes writes.
async fn part_the_leader(story: &Story) {
    for _ in 0..4 {
        time::sleep(Duration::from_millis(random::between(300, 1_200))).await;
        let status = story.store.client("keeper", 0).status().await.ok();
        let leader = status.as_ref().and_then(|status| {
            let (_, stats) = status.groups.first()?;
            Some(status.view.node(stats.leader)?.name.clone())
        });
        let Some(leader) = leader else { continue };
        let others = story.store.names_of(Role::Frontend).into_iter().filter(|other| *other != leader);
        let cuts: Vec<_> =
            others.map(|other| story.world.network().cut(Cut::Between(leader.clone(), other))).collect();
        time::sleep(Duration::from_millis(random::between(1_000, 3_500))).await;
        for cut in cuts {
            story.world.network().mend(cut);
        }
    }
}

#[test]
fn a_deposed_leader_that_clients_still_reach_answers_nothing_old() {
    World::each(760..761, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work_while(WORK, &Rates::NONE, part_the_leader(&story)).await;
        story.compare().await;
    });
}

#[test]
fn no_write_takes_effect_twice_though_messages_do_and_answers_are_lost() {
    World::each(780..781, async |world| {
        let story = Story::begin(&world, settings()).await;
        let bad = Link { lost: 30, doubled: 300, ..world.network().links() };
        world.network().set_links(bad);
        story.work(WORK, &Rates::NONE).await;
        story.compare().await;
    });
}
