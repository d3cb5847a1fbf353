//! Puts and gets against a store in this process: how fast, and how slow the slowest.
//!
//! `cargo run --release -p lamina-local --example load -- DIR TASKS SECONDS`

use lamina_env::time::{self, Duration};
use lamina_local::{Store, UpOptions};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "lamina-load".to_owned());
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (tasks, seconds) = (number(64), number(5));
    let store = match Store::up(UpOptions::embedded(dir)).await {
        Ok(store) => store,
        Err(error) => return eprintln!("{error}"),
    };
    println!("ready after {:?}", store.took());
    for (name, write) in [("put", true), ("get", false)] {
        let started = time::now();
        let mut running = Vec::new();
        for task in 0..tasks {
            let client = store.client();
            running.push(tokio::task::spawn(async move {
                let mut took = Vec::new();
                let mut n = task;
                while started.elapsed() < Duration::from_secs(seconds) {
                    let key = format!("key-{:012}", (n * 7919) % 1_000_000);
                    let begin = time::now();
                    let result = if write {
                        client.put(key, vec![b'x'; 128]).await.map(|_| ())
                    } else {
                        client.get(key).await.map(|_| ())
                    };
                    if let Err(error) = result {
                        eprintln!("{name}: {error}");
                    }
                    took.push(begin.elapsed());
                    n += tasks;
                }
                took
            }));
        }
        let mut all = Vec::new();
        for task in running {
            all.extend(task.await.unwrap_or_default());
        }
        all.sort_unstable();
        let at = |share: f64| all.get((all.len() as f64 * share) as usize).copied().unwrap_or_default();
        let rate = all.len() as f64 / started.elapsed().as_secs_f64();
        println!("{name}: {rate:.0}/s  p50 {:?}  p99 {:?}  max {:?}", at(0.5), at(0.99), at(0.999_999));
    }
    store.down().await;
}
