//! What wakes passes: changes that are seen, and time alone where they are not.

use std::sync::Arc;

use lamina_env::time::{self, Duration};
use serde_json::json;

use super::world::{Faults, NAMESPACE, World};

/// The watches of this world never say a word: every event is lost.
#[tokio::test(start_paused = true)]
async fn a_store_begins_and_is_mended_by_the_clock_alone_if_every_event_is_lost() {
    let world = World::new(17, Faults::default());
    world.spec(json!({}));
    let operator = Arc::new(world.operator("lamina:0.1.0"));
    let works = crate::controller::run(operator, NAMESPACE, std::future::pending());
    let goes_on = async {
        ready_within(&world, 60).await;
        world.take_away("", "services", "orders-client");
        world.spec(json!({ "overrides": { "index": { "labels": { "a": "b" } } } }));
        ready_within(&world, 200).await;
        assert!(world.get("", "services", "orders-client").is_some());
    };
    tokio::select! {
        biased;
        () = goes_on => {}
        () = works => panic!("the controller has ended"),
    }
}

async fn ready_within(world: &World, steps: usize) {
    for _ in 0..steps {
        time::sleep(Duration::from_secs(10)).await;
        world.step();
        if world.is("Ready") && world.is("Reconciled") {
            return;
        }
    }
    panic!("not ready: {:?} {:?}", world.condition("Ready"), world.condition("Progressing"));
}
