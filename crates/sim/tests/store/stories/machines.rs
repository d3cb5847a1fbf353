//! Machines that are lost with their disks, and others in their place.

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::Role;

use crate::inventory::Inspector;
use crate::nodes::settings;
use crate::story::{Story, one_of};

const WORK: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_secs(4);

fn any_of(story: &Story, role: Role) -> String {
    one_of(&story.store.names_of(role))
}

#[test]
fn an_empty_data_node_takes_the_place_of_a_lost_one_and_all_tables_have_three_copies_again() {
    World::each(800..801, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(SHORT, &Rates::NONE).await;
        let name = any_of(&story, Role::Data);
        story.work_while(WORK, &Rates::NONE, story.store.replace(&name)).await;
        story.store.wait_until_it_is_whole(Duration::from_secs(120)).await;
        story.agree("with an empty data node in the place of a lost one").await;
        Inspector::new(&story.store).wait_until_tidy(Duration::from_secs(60)).await;
        story.compare().await;
    });
}

#[test]
fn an_empty_frontend_takes_the_place_of_a_lost_one_and_nothing_is_lost() {
    World::each(820..821, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(SHORT, &Rates::NONE).await;
        let name = any_of(&story, Role::Frontend);
        let lost = story.work_while(WORK, &Rates::NONE, story.store.replace(&name)).await;
        story.store.wait_until_it_is_whole(Duration::from_secs(120)).await;
        story.store.forget(lost).await;
        // The new one is a voter: with it, one of the old ones may go.
        let old = story.store.names_of(Role::Frontend).into_iter().find(|other| *other != name).unwrap();
        story.store.machine(&old).crash();
        story.agree("with a new frontend in the majority").await;
        story.compare().await;
    });
}

/// The shortest time after which a follower misses its leader (openraft's election timeout) is 200 ms.
#[test]
fn a_leader_that_is_stopped_politely_leaves_no_gap() {
    World::each(860..862, async |world| {
        let story = Story::begin(&world, settings()).await;
        let client = story.store.client("impatient", 0);
        for turn in 0..4 {
            let leader = story.store.leader(&client).await;
            story.store.stop(&leader).await;
            let stopped = time::now();
            client.put(format!("gap/{turn}"), "none").await.unwrap();
            assert!(
                stopped.elapsed() < Duration::from_millis(150),
                "{:?} without {leader}",
                stopped.elapsed()
            );
            assert_ne!(story.store.leader(&client).await, leader);
            story.store.machine(&leader).start();
            // A follower counts as caught up until it has been silent for some time.
            story.work(Duration::from_secs(2), &Rates::NONE).await;
            story.store.wait_until_it_is_whole(Duration::from_secs(60)).await;
        }
        story.compare().await;
    });
}

#[test]
fn every_frontend_can_be_replaced_one_after_the_other() {
    World::each(840..841, async |world| {
        let story = Story::begin(&world, settings()).await;
        for name in story.store.names_of(Role::Frontend) {
            story.work(Duration::from_secs(2), &Rates::NONE).await;
            let lost = story.store.replace(&name).await;
            story.store.wait_until_it_is_whole(Duration::from_secs(120)).await;
            story.store.forget(lost).await;
            story.agree("after a replacement").await;
        }
        story.compare().await;
    });
}

#[test]
fn an_empty_index_node_is_filled_from_its_peers_and_all_of_them_from_the_tables() {
    World::each(860..861, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(SHORT, &Rates::NONE).await;
        let client = story.reader();
        client.flush(false).await.unwrap();
        let restart = async {
            let name = any_of(&story, Role::Index);
            story.store.machine(&name).crash();
            time::sleep(Duration::from_millis(random::between(100, 2_000))).await;
            story.store.machine(&name).start();
        };
        story.work_while(SHORT, &Rates::NONE, restart).await;
        story.store.wait_until_it_is_whole(Duration::from_secs(120)).await;
        let inspector = Inspector::new(&story.store);
        // Parts that nobody released are found by a comparison every five minutes.
        inspector.wait_until_index_is_exact(Duration::from_secs(400)).await;
        for name in story.store.names_of(Role::Index) {
            story.store.machine(&name).crash();
        }
        story.heal();
        story.store.wait_until_it_is_whole(Duration::from_secs(120)).await;
        inspector.wait_until_index_is_exact(Duration::from_secs(400)).await;
        story.compare().await;
    });
}
