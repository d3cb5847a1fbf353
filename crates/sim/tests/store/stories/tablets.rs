//! Several groups and many tablets.

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::{Role, Settings};

use crate::nodes::settings;
use crate::story::{Story, one_of};

/// The leader falls again and again.
async fn depose(story: &Story, until: time::Instant) {
    while time::now() < until {
        time::sleep(Duration::from_millis(random::between(300, 2_500))).await;
        let machine = story.store.machine(&one_of(&story.store.names_of(Role::Frontend)));
        if random::between(0, 2) == 0 {
            machine.crash()
        } else {
            machine.kill()
        }
        time::sleep(Duration::from_millis(random::between(50, 800))).await;
        machine.start();
    }
}

#[test]
fn tablets_split_under_load_while_frontends_fall() {
    World::each(900..901, async |world| {
        let groups = Settings { groups: 3, table_bytes: 24 << 10, ..settings() };
        let story = Story::begin(&world, groups).await;
        let length = Duration::from_secs(14);
        let few = Some(Duration::from_secs(5));
        let rates = Rates { slow_link: few, lossy: few, slow_disk: few, ..Rates::NONE };
        story.work_while(length, &rates, depose(&story, time::now() + length)).await;
        story.heal();
        story.store.wait_until_it_answers(Duration::from_secs(120)).await;
        let status = story.reader().status().await.unwrap();
        let tablets: usize = status.groups.iter().map(|(_, stats)| stats.tablets.len()).sum();
        world.trace(format_args!("{tablets} tablets"));
        assert!(tablets >= 3, "nothing was split");
        story.compare().await;
    });
}
