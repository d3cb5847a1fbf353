//! What happens every day.

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::{Role, Settings};

use crate::clients::read_all;
use crate::nodes::settings;
use crate::story::{Story, WORK, one_of, usual_rates};

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
    World::each(200..201, async |world| {
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

/// Also what has a story of its own, and a data node is lost with its disk in the midst of it.
#[test]
fn a_store_to_which_everything_happens_at_once_keeps_its_ledger() {
    World::explore(150..151, async |world| {
        let small = Settings { groups: 2, table_bytes: 32 << 10, ..settings() };
        let story = Story::begin(&world, small).await;
        let few = Some(Duration::from_secs(20));
        let rates = Rates { full_disk: few, clock_jump: few, down_max: 1, ..usual_rates() };
        let name = one_of(&story.store.names_of(Role::Data));
        let lost = async {
            time::sleep(Duration::from_millis(random::between(500, 4_000))).await;
            story.store.replace(&name).await;
        };
        story.work_while(2 * WORK, &rates, lost).await;
        story.compare().await;
    });
}
