use lamina_client::{Batch, Expected, Reason, ScanOptions};
use lamina_local::{Store, UpOptions};
use lamina_types::Settings;

fn options(dir: &tempfile::TempDir) -> UpOptions {
    let settings = Settings { memtable_bytes: 6 << 20, table_bytes: 1 << 20, ..Settings::default() };
    UpOptions { settings, ..UpOptions::embedded(dir.path().join("store")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::up(options(&dir)).await.unwrap();
    assert!(store.is_new());
    let client = store.client();
    let version = client.put("hello", "world").await.unwrap();
    let found = client.get("hello").await.unwrap().unwrap();
    assert_eq!((found.value.as_ref(), found.version), (&b"world"[..], version));
    assert_eq!(client.get("nothing").await.unwrap(), None);
    store.down().await;

    let store = Store::up(options(&dir)).await.unwrap();
    assert!(!store.is_new());
    let found = store.client().get("hello").await.unwrap().unwrap();
    assert_eq!((found.value.as_ref(), found.version), (&b"world"[..], version));
    store.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_done_as_a_whole_iff_its_conditions_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::up(options(&dir)).await.unwrap();
    let client = store.client();
    let version = client.write(Batch::new().put("a", "1").put("b", "1")).await.unwrap();
    let stale = Batch::new().put("a", "2").delete("b").only_if("a", Expected::Absent);
    let refused = client.write(stale).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ConditionFailed);
    assert_eq!(refused.detail("condition"), Some("0"));
    assert_eq!(refused.detail("version"), Some(version.to_string().as_str()));
    let second = Batch::new().put("a", "2").only_if("a", Expected::Present).only_if("c", Expected::Present);
    let refused = client.write(second).await.unwrap_err();
    assert_eq!((refused.detail("condition"), refused.detail("version")), (Some("1"), None));
    let fresh = Batch::new().put("a", "2").delete("b").only_if("a", Expected::Version(version));
    client.write(fresh).await.unwrap();
    assert_eq!(client.get("a").await.unwrap().unwrap().value.as_ref(), b"2");
    assert_eq!(client.get("b").await.unwrap(), None);
    store.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_found_in_tables_by_get_and_scan_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::up(options(&dir)).await.unwrap();
    let client = store.client();
    let key = |n: u32| format!("key-{n:06}");
    let value = |n: u32| format!("value-{n}-{}", "x".repeat(100));
    for batch in 0..100u32 {
        let keys = (0..500).map(|i| (batch * 7919 + i * 100) % 50_000);
        let batch = keys.fold(Batch::new(), |all, n| all.put(key(n), value(n)));
        client.write(batch).await.unwrap();
    }
    let flushed = client.flush(false).await.unwrap();
    assert!(flushed.tables > 0, "{flushed:?}");
    let mut scanner = client.scan(ScanOptions::default());
    let mut forward = Vec::new();
    while let Some(row) = scanner.next().await.unwrap() {
        forward.push(row);
    }
    assert!(forward.windows(2).all(|pair| pair[0].key < pair[1].key));
    let mut scanner = client.scan(ScanOptions { reverse: true, ..ScanOptions::default() });
    let mut backward = Vec::new();
    while let Some(row) = scanner.next().await.unwrap() {
        backward.push(row);
    }
    backward.reverse();
    assert_eq!(forward.len(), backward.len());
    assert_eq!(forward, backward);
    for row in forward.iter().step_by(97) {
        let found = client.get(row.key.clone()).await.unwrap().unwrap();
        assert_eq!(found.value, row.value);
    }
    store.down().await;
    let store = Store::up(options(&dir)).await.unwrap();
    let client = store.client();
    for row in forward.iter().step_by(997) {
        assert_eq!(client.get(row.key.clone()).await.unwrap().unwrap().value, row.value);
    }
    store.down().await;
}
