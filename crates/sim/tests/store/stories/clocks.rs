//! Clocks that jump.

use lamina_client::{Batch, Version};
use lamina_env::clock::Clock;
use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::Role;

use crate::nodes::settings;
use crate::story::{Story, WORK, one_of};

/// What the leader's hint may lie ahead of the true time while one clock of three is wrong (protocols §4), and a
/// little for versions that are only counted up.
const AHEAD_MS: u64 = 600;

/// The true time of the world, by a clock that is never touched.
fn true_ms(story: &Story) -> u64 {
    story.store.machine(&story.store.names_of(Role::Data)[0]).clock().now_ms()
}

/// One frontend after the other has a clock that is wrong, mostly the leader.
async fn jump(story: &Story) {
    for _ in 0..5 {
        let any = one_of(&story.store.names_of(Role::Frontend));
        let leader = story.store.client("keeper", 0).status().await.ok().and_then(|status| {
            let (_, stats) = status.groups.first()?;
            Some(status.view.node(stats.leader)?.name.clone())
        });
        let name = leader.filter(|_| random::between(0, 3) > 0).unwrap_or(any);
        let most = if random::between(0, 2) == 0 { 3 * 86_400_000 } else { 20_000 };
        let skew = i64::try_from(random::between(1_000, most)).unwrap();
        let skew = if random::between(0, 3) == 0 { -skew } else { skew };
        let machine = story.store.machine(&name);
        story.world.trace(format_args!("the clock of {name} jumps by {skew} ms"));
        machine.clock().set_skew_ms(skew);
        if random::between(0, 3) == 0 {
            machine.crash();
            machine.start();
        }
        time::sleep(Duration::from_millis(random::between(300, 2_500))).await;
        machine.clock().set_skew_ms(0);
        // The others must have heard the right time again before the next clock is wrong.
        time::sleep(Duration::from_millis(1_500)).await;
    }
}

#[test]
fn one_wrong_clock_moves_neither_versions_nor_expiries() {
    World::each(700..701, async |world| {
        let story = Story::begin(&world, settings()).await;
        let begun = true_ms(&story);
        story.work_while(WORK, &Rates::NONE, jump(&story)).await;
        let client = story.reader();
        let version = client.put("after", "all").await.unwrap();
        let now = true_ms(&story);
        assert!(
            version.ms() <= now + AHEAD_MS,
            "one wrong clock carried versions {} ms into the future",
            version.ms() - now
        );
        assert!(version.ms() >= begun, "versions lie before the store began");
        // What expires does so by the true time, within the second that a leader may wait with its tick.
        let ttl = Duration::from_secs(4);
        let written = client.write(Batch::new().put_for("brief", "x", ttl)).await.unwrap();
        time::sleep(ttl / 2).await;
        assert!(client.get("brief").await.unwrap().is_some(), "an entry of {written:?} expired too early");
        time::sleep(ttl / 2 + Duration::from_secs(2)).await;
        assert_eq!(client.get("brief").await.unwrap().map(|found| found.version), None::<Version>);
        story.compare().await;
    });
}

#[test]
fn a_store_whose_clocks_all_jump_keeps_its_ledger() {
    World::each(720..721, async |world| {
        let story = Story::begin(&world, settings()).await;
        let some = Some(Duration::from_secs(2));
        let few = Some(Duration::from_secs(10));
        let rates = Rates {
            clock_jump: some,
            crash: few,
            kill: few,
            lasts_max: Duration::from_secs(3),
            ..Rates::NONE
        };
        story.work(WORK, &rates).await;
        story.compare().await;
    });
}
