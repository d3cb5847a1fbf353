//! Tables: compacted while data nodes fall, collected when they are old.

use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::Role;

use crate::inventory::Inspector;
use crate::nodes::settings;
use crate::story::Story;

const SHORT: Duration = Duration::from_secs(3);

#[test]
fn data_nodes_crash_while_tables_are_compacted() {
    World::each(300..301, async |world| {
        let story = Story::begin(&world, settings()).await;
        let client = story.store.client("compactor", 0);
        for _ in 0..3 {
            story.work(SHORT, &Rates::NONE).await;
            let compactor = client.clone();
            let compaction = task::spawn(async move { compactor.flush(true).await });
            for name in story.store.names_of(Role::Data) {
                time::sleep(Duration::from_millis(random::between(0, 80))).await;
                let node = story.store.machine(&name);
                node.crash();
                time::sleep(Duration::from_millis(random::between(0, 1_000))).await;
                node.start();
            }
            let compacted = compaction.await.unwrap();
            world.trace(format_args!("compacted: {compacted:?}"));
        }
        story.compare().await;
    });
}

#[test]
fn what_is_old_is_dropped_and_what_is_newest_stays() {
    World::each(400..401, async |world| {
        let story = Story::begin(&world, settings()).await;
        let client = story.store.client("compactor", 0);
        for _ in 0..3 {
            story.work(SHORT, &Rates::NONE).await;
            // Longer than versions are kept for readers.
            time::sleep(Duration::from_secs(45)).await;
            client.flush(true).await.unwrap();
            // In the same reign: tables that left are collected without a sweep.
            Inspector::new(&story.store).wait_until_tidy(Duration::from_secs(60)).await;
        }
        story.compare().await;
    });
}
