//! Disks that fill up, and disks on which bits flip.

use std::collections::BTreeSet;

use lamina_client::Reason;
use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_sim::World;
use lamina_sim::faults::Rates;
use lamina_types::{Role, TableId};

use crate::inventory::Inspector;
use crate::nodes::settings;
use crate::story::{Story, WORK};

/// Leaves all disks of a role `room` bytes, or gives them all room again.
fn set_room(story: &Story, role: Role, room: Option<u64>) {
    for name in story.store.names_of(role) {
        let disk = story.store.machine(&name).disk();
        let (used, _) = disk.used();
        disk.change_faults(|faults| faults.capacity = room.map_or(1 << 40, |room| used + room));
    }
}

/// Disks of a role fill up, all together, and have room again.
async fn fill(story: &Story, role: Role) {
    for _ in 0..3 {
        time::sleep(Duration::from_millis(random::between(200, 2_000))).await;
        set_room(story, role, Some(random::between(0, 512 << 10)));
        time::sleep(Duration::from_millis(random::between(500, 3_000))).await;
        set_room(story, role, None);
    }
}

#[test]
fn a_store_whose_disks_fill_up_now_and_then_keeps_its_ledger() {
    World::each(600..601, async |world| {
        let story = Story::begin(&world, settings()).await;
        let some = Some(Duration::from_secs(2));
        let few = Some(Duration::from_secs(8));
        let rates = Rates {
            full_disk: some,
            crash: few,
            kill: few,
            lasts_max: Duration::from_secs(3),
            ..Rates::NONE
        };
        story.work(WORK, &rates).await;
        story.compare().await;
    });
}

#[test]
fn a_store_goes_on_when_all_disks_of_a_role_were_full() {
    World::each(620..621, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work_while(WORK, &Rates::NONE, fill(&story, Role::Frontend)).await;
        story.work_while(WORK, &Rates::NONE, fill(&story, Role::Data)).await;
        story.compare().await;
    });
}

#[test]
fn full_logs_refuse_writes_and_reads_go_on() {
    World::each(640..641, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(Duration::from_secs(3), &Rates::NONE).await;
        let client = story.reader();
        set_room(&story, Role::Frontend, Some(0));
        // What room the segments still have is used up first.
        let deadline = time::now() + Duration::from_secs(60);
        let mut last = None;
        while last != Some(Reason::DiskFull) {
            assert!(time::now() < deadline, "a store without room still writes, or refuses for {last:?}");
            let quick = lamina_client::Options { deadline: Duration::from_secs(2), repeat: false };
            let filler = vec![7u8; 100 << 10];
            last = client.clone().with(quick).put("filler", filler).await.err().map(|error| error.reason());
        }
        story.agree("with full logs").await;
        set_room(&story, Role::Frontend, None);
        story.work(Duration::from_secs(3), &Rates::NONE).await;
        story.compare().await;
    });
}

/// Flips one bit in one copy of some live table; of each table at most once, so that one good copy is always left.
async fn rot_one(story: &Story, rotten: &mut BTreeSet<TableId>) {
    let Ok(copies) = Inspector::new(&story.store).copies().await else { return };
    let good = |table| copies.iter().filter(|copy| copy.table == table).count() >= 2;
    let candidates: Vec<_> =
        copies.iter().filter(|copy| !rotten.contains(&copy.table) && good(copy.table)).collect();
    if candidates.is_empty() {
        return;
    }
    let chosen = candidates[random::between(0, candidates.len() as u64) as usize];
    let disk = story.store.machine(&chosen.machine).disk();
    let length = disk.durable(&chosen.path).map_or(0, |bytes| bytes.len()) as u64;
    let mask = 1 << random::between(0, 8);
    if length > 0 && disk.rot(&chosen.path, random::between(0, length), mask) {
        story.world.trace(format_args!("a bit of {} rots on {}", chosen.path, chosen.machine));
        rotten.insert(chosen.table);
    }
}

#[test]
fn a_copy_on_which_a_bit_flips_is_made_anew() {
    World::each(660..661, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(Duration::from_secs(2), &Rates::NONE).await;
        let mut rotten = BTreeSet::new();
        let rot = async {
            for _ in 0..12 {
                time::sleep(Duration::from_millis(random::between(100, 900))).await;
                rot_one(&story, &mut rotten).await;
            }
        };
        story.work_while(WORK, &Rates::NONE, rot).await;
        let client = story.reader();
        client.flush(false).await.unwrap();
        // These lie where nobody may read before the scrubber does.
        for _ in 0..4 {
            rot_one(&story, &mut rotten).await;
        }
        assert!(rotten.len() >= 4, "hardly any table was there to rot");
        story.agree("over rotten copies").await;
        // One whole round of the scrubber, and the sweep of a new reign, which learns what it found.
        time::sleep(Duration::from_secs(150)).await;
        story.store.machine(&story.store.leader(&client).await).crash();
        story.heal();
        Inspector::new(&story.store).wait_until_tidy(Duration::from_secs(120)).await;
        story.compare().await;
    });
}

/// Damage that only the data node itself has seen, as when its scrubber comes by, or when an index node asks for the
/// index part, is repaired within seconds: nobody waits for the hourly sweep, or for the next reign.
#[test]
fn what_a_data_node_finds_damaged_is_made_anew_at_once() {
    World::each(680..681, async |world| {
        let story = Story::begin(&world, settings()).await;
        story.work(Duration::from_secs(3), &Rates::NONE).await;
        story.reader().flush(false).await.unwrap();
        story.store.wait_until_it_is_whole(Duration::from_secs(60)).await;
        let inspector = Inspector::new(&story.store);
        inspector.wait_until_tidy(Duration::from_secs(60)).await;
        // The sweep at the beginning of the reign is over.
        time::sleep(Duration::from_secs(10)).await;
        let mut rotten = BTreeSet::new();
        for _ in 0..3 {
            rot_one(&story, &mut rotten).await;
        }
        assert!(!rotten.is_empty(), "no table was there to rot");
        inspector.have_all_verified().await;
        inspector.wait_until_tidy(Duration::from_secs(5)).await;
        story.compare().await;
    });
}
