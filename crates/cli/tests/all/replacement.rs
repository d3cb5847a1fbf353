//! Frontends whose log is damaged: each is replaced under a new identity while the others serve, one after the other,
//! and never before the one before it has caught up.

use std::fs;
use std::path::{Path, PathBuf};

use lamina_client::Client;
use lamina_env::time;
use lamina_peers::group::GroupStats;

use crate::program::{Up, client, free_ports, until};

/// Where the log of a frontend is in use: its newest segment with something in it, and how many bytes are.
fn segment(store: &Path, node: &str) -> (PathBuf, usize) {
    let wal = store.join(node).join("log/wal");
    let mut files: Vec<PathBuf> = fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let used = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
    };
    let mut all = files.into_iter().map(|path| (used(&path), path));
    let (used, path) = all.rfind(|(used, _)| *used > 4096).expect("a segment that is in use");
    (path, used)
}

/// Flips a bit in the middle of the log of a frontend.
fn flip(store: &Path, node: &str) {
    let (path, used) = segment(store, node);
    let mut bytes = fs::read(&path).unwrap();
    bytes[used / 2] ^= 16;
    fs::write(path, bytes).unwrap();
}

/// Volumes of this node that were set aside.
fn set_aside(store: &Path, node: &str) -> usize {
    let Ok(entries) = fs::read_dir(store.join("replaced")) else { return 0 };
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(node)).count()
}

async fn put(client: &Client, from: u32, to: u32) {
    for n in from..to {
        let (key, value) = (format!("key-{n}"), format!("value {n} {}", "x".repeat(200)));
        until("the write is taken", async || match client.put(key.clone(), value.clone()).await {
            Ok(version) => Some(version),
            Err(error) => {
                println!("{:?}: {key} is put again after: {error}", time::now());
                None
            }
        })
        .await;
    }
}

/// Every key that was acknowledged is there.
async fn expect(client: &Client, keys: u32) {
    for n in 0..keys {
        let get = async || client.get(format!("key-{n}")).await.ok();
        let value = until("the key can be read", get).await;
        let value = value.unwrap_or_else(|| panic!("key-{n} is lost")).value;
        assert_eq!(value, format!("value {n} {}", "x".repeat(200)));
    }
}

/// Waits until every group has a replica on each frontend that lives, and all of them have caught up.
async fn until_whole(client: &Client) {
    until("every group is whole again", async || {
        let status = client.status().await.ok()?;
        let dead = |node| status.view.node(node).is_none_or(|node| node.state.as_str() != "active");
        let placed = status.view.groups.iter().all(|group| {
            group.replicas.len() == 3 && !group.replicas.iter().any(|replica| dead(replica.node))
        });
        let caught_up = |group: &GroupStats| group.voters.len() == 3 && group.caught_up.len() == 3;
        (placed && !status.groups.is_empty() && status.groups.iter().all(|(_, group)| caught_up(group)))
            .then_some(())
    })
    .await;
}

fn endpoints(port: u16, form: &[&str]) -> String {
    let ports = if form.is_empty() { port..port + 1 } else { port..port + 3 };
    ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

/// Damages one frontend after the other; how many of them is `nodes`.
async fn replace_one_by_one(form: &'static [&'static str], nodes: &'static [&'static str]) {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let client = client(&endpoints(port, form), 20);
    let up = Up::start(&store, port, form);
    let mut keys = 300;
    put(&client, 0, keys).await;
    up.kill();
    for node in nodes {
        let begun = time::now();
        flip(&store, node);
        let up = Up::start(&store, port, form);
        expect(&client, keys).await;
        put(&client, keys, keys + 100).await;
        keys += 100;
        until("the volume is set aside", async || (set_aside(&store, node) == 1).then_some(())).await;
        assert!(up.words().contains("replaced under a new identity"), "{}", up.words());
        until_whole(&client).await;
        expect(&client, keys).await;
        println!("{form:?}: {node} was replaced within {:?}", begun.elapsed());
        up.kill();
    }
    let up = Up::start(&store, port, form);
    expect(&client, keys).await;
    up.kill();
}

fn nodes() -> &'static [&'static str] {
    let all = &["frontend-1", "frontend-2", "frontend-0"];
    let many = std::env::var("LAMINA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(0) >= 20;
    if many { all } else { &all[..1] }
}

/// A node counts as dead when the store has not heard of it for 30 seconds: so these wait at the same time, each in a
/// thread of its own.
#[test]
fn a_frontend_with_a_damaged_log_is_replaced_while_the_others_serve_and_a_second_one_waits_for_that() {
    let run = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| run().block_on(replace_one_by_one(&[], nodes())));
        scope.spawn(|| run().block_on(replace_one_by_one(&["--processes"], nodes())));
        scope.spawn(|| run().block_on(let_the_second_wait()));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_damaged_frontends_of_three_are_refused_and_nothing_is_set_aside() {
    for form in [&[][..], &["--processes"]] {
        let dir = tempfile::tempdir().unwrap();
        let (store, port) = (dir.path().join("store"), free_ports());
        let client = client(&endpoints(port, form), 20);
        let up = Up::start(&store, port, form);
        put(&client, 0, 100).await;
        up.kill();
        flip(&store, "frontend-1");
        let (path, _) = segment(&store, "frontend-2");
        let good = fs::read(&path).unwrap();
        flip(&store, "frontend-2");
        let (code, words) = Up::begin(&store, port, form).end();
        assert_eq!(code, 78, "{words}");
        let said = words.lines().find(|line| line.contains("2 of 3 frontends cannot start"));
        assert!(said.is_some_and(|said| said.contains("nothing was set aside")), "{words}");
        assert_eq!(set_aside(&store, "frontend"), 0);
        // The one that was brought back has all that was acknowledged.
        fs::write(path, good).unwrap();
        let up = Up::start(&store, port, form);
        expect(&client, 100).await;
        up.kill();
    }
}

/// A second frontend is damaged before the replacement of the first has caught up.
async fn let_the_second_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let client = client(&endpoints(port, &[]), 20);
    let up = Up::start(&store, port, &[]);
    put(&client, 0, 200).await;
    up.kill();
    flip(&store, "frontend-1");
    let up = Up::start(&store, port, &[]);
    put(&client, 200, 300).await;
    until("the volume is set aside", async || (set_aside(&store, "frontend-1") == 1).then_some(())).await;
    // In the moment in which the new one has nothing yet.
    up.kill();
    let (path, _) = segment(&store, "frontend-2");
    let good = fs::read(&path).unwrap();
    flip(&store, "frontend-2");
    let up = Up::begin(&store, port, &[]);
    let stays = "the damaged volume stays where it is";
    until("the store refuses to release it", async || up.words().contains(stays).then_some(())).await;
    assert_eq!(set_aside(&store, "frontend-2"), 0, "{}", up.words());
    up.kill();
    assert_eq!(set_aside(&store, "frontend-2"), 0);
    fs::write(path, good).unwrap();
    let up = Up::start(&store, port, &[]);
    expect(&client, 300).await;
    until_whole(&client).await;
    expect(&client, 300).await;
    up.kill();
}
