//! A table whose index part does not fit into a message is as good as any other, over both networks.

use lamina_client::Batch;
use lamina_peers::admin::Figures;
use lamina_peers::index::IndexStats;
use lamina_types::Settings;

use crate::rig::{Kind, Rig, wait_for};

/// More than fits into a message.
const PART_BYTES: u64 = 8 << 20;
/// Pairs of keys that agree in all but the last byte, each key as long as a block: so the key that separates the
/// blocks of a pair has to be written out in full.
const PAIRS: u64 = 2_200;

fn key(pair: u64, last: u8) -> Vec<u8> {
    let mut state = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut key = Vec::with_capacity(4001);
    while key.len() < 4000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        key.extend_from_slice(&state.to_be_bytes());
    }
    key.push(last);
    key
}

async fn index_stats(rig: &Rig) -> Vec<IndexStats> {
    let mut all = Vec::new();
    for name in ["index-0", "index-1", "index-2"] {
        if let (_, Figures::Index(stats)) = rig.node(name).await {
            all.push(stats);
        }
    }
    all
}

async fn wait_until_two_have_it(rig: &Rig, when: &str) {
    wait_for(when, async || {
        let stats = index_stats(rig).await;
        let complete = stats.iter().flat_map(|stats| &stats.shards).all(|shard| shard.complete);
        let holders = stats.iter().filter(|stats| stats.memory_bytes > PART_BYTES).count();
        complete && holders == 2
    })
    .await;
}

async fn a_large_part_is_installed_fetched_and_read_from_tails(kind: Kind) {
    let settings = Settings { block_bytes: 4 << 10, shards: 1, ..Settings::default() };
    let mut rig = Rig::up(kind, settings).await;
    let client = rig.client();
    for first in (0..PAIRS).step_by(200) {
        let mut batch = Batch::new();
        for pair in first..(first + 200).min(PAIRS) {
            for last in [b'a', b'b'] {
                batch = batch.put(key(pair, last), vec![last; 100]);
            }
        }
        client.write(batch).await.unwrap();
    }
    let flushed = client.flush(false).await.unwrap();
    assert_eq!(flushed.tables, 1, "all of it is one table");
    wait_until_two_have_it(&rig, "the part is installed").await;
    let read = async |rig: &Rig, when: &str| {
        let client = rig.client();
        for pair in (0..PAIRS).step_by(97) {
            let found = client.get(key(pair, b'b')).await.unwrap().unwrap();
            assert_eq!(found.value, vec![b'b'; 100], "{when}");
        }
    };
    read(&rig, "installed").await;
    let missing: u64 = index_stats(&rig).await.iter().map(|stats| stats.missing).sum();
    assert_eq!(missing, 0, "nobody had to ask the data nodes");

    // A holder starts again with empty memory: its peer has the part.
    let stats = index_stats(&rig).await;
    let holder = stats.iter().position(|stats| stats.memory_bytes > PART_BYTES).unwrap();
    let holder = format!("index-{holder}");
    rig.kill(&holder);
    rig.start(&holder).await;
    wait_until_two_have_it(&rig, "the part is fetched from a peer").await;

    // All start again: only the data files have it.
    for name in ["index-0", "index-1", "index-2"] {
        rig.kill(name);
    }
    read(&rig, "without any index node").await;
    for name in ["index-0", "index-1", "index-2"] {
        rig.start(name).await;
    }
    wait_until_two_have_it(&rig, "the part is read from the tails").await;
    read(&rig, "read from the tails").await;

    // And a compaction hands one over too.
    client.write(Batch::new().put(key(0, b'a'), "new")).await.unwrap();
    client.flush(true).await.unwrap();
    wait_until_two_have_it(&rig, "the part of a merged table is installed").await;
    read(&rig, "merged").await;
    assert_eq!(client.get(key(0, b'a')).await.unwrap().unwrap().value.as_ref(), b"new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_index_part_goes_through_the_network_of_one_process() {
    a_large_part_is_installed_fetched_and_read_from_tails(Kind::InProcess).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_index_part_goes_through_grpc() {
    a_large_part_is_installed_fetched_and_read_from_tails(Kind::Grpc).await;
}
