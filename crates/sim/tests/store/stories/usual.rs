//! What happens every day.

use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::Role;

use crate::clients::read_all;
use crate::nodes::settings;
use crate::story::{Story, WORK, usual_rates};

/// 1 to 4 showed once that a log whose directories were not synced is lost with the power, votes included.
#[test]
fn a_store_that_nothing_happens_to_keeps_its_ledger() {
    World::explore(1..2, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(WORK, &Rates::NONE).await;
        story.compare().await;
    });
}

#[test]
fn a_store_under_faults_keeps_its_ledger() {
    World::explore(100..103, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(WORK, &usual_rates()).await;
        story.compare().await;
    });
}

#[test]
fn reads_go_on_while_all_index_nodes_are_down() {
    World::explore(200..201, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(Duration::from_secs(5), &Rates::NONE).await;
        let client = story.store.client("reader", 0);
        client.flush(false).await.unwrap();
        for name in story.store.names_of(Role::Index) {
            story.store.machine(&name).crash();
        }
        let read = time::timeout(Duration::from_secs(60), read_all(&client, &story.ledger)).await;
        read.expect("reads do not go on").unwrap();
        story.agree("without index nodes").await;
        story.compare().await;
    });
}
