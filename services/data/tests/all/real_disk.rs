//! The same on files of the operating system, with real threads.

use std::sync::Arc;

use lamina_env::disk::os::OsDisk;
use lamina_peers::data::{CopyTable, DeleteTables, LinkTable};

use crate::compactions::{carry_out, done, job, model, read_outputs, runs};
use crate::lan::{Lan, ask, source};
use crate::tables::{entries, listed, one, read_file, sample, stamp, store, table};

#[test]
fn tables_live_and_are_merged_on_real_files() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let (lan, dirs) = (Lan::new(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
        let disk = |n: usize| Arc::new(OsDisk::open(dirs[n].path().to_owned()).unwrap());
        let nodes = [lan.start_on(1, disk(0), |_| ()).await, lan.start_on(2, disk(1), |_| ()).await];

        let file = sample(table(900), 3000);
        store(&nodes[0], &file, stamp(1)).await.unwrap();
        let copy = CopyTable { table: file.id, stamp: stamp(2), from: vec![source(1)], replace: false };
        ask(&nodes[1], copy).await.unwrap();
        ask(&nodes[1], LinkTable { old: file.id, new: table(901), stamp: stamp(3) }).await.unwrap();
        store(&nodes[0], &file, stamp(4)).await.unwrap();
        ask(&nodes[1], DeleteTables { tables: vec![file.id] }).await.unwrap();

        let runs = runs(3, 500, 2000);
        for file in runs.iter().flatten() {
            store(&nodes[0], file, stamp(1)).await.unwrap();
        }
        let job = job(&runs, &[1], &[1, 2], 2);
        let outputs = done(carry_out(&nodes[1], &job).await);
        assert_eq!(read_outputs(&nodes, &outputs).await, model(&job, &runs));

        let before = [listed(&nodes[0]).await, listed(&nodes[1]).await];
        drop(nodes);
        let nodes = [lan.start_on(1, disk(0), |_| ()).await, lan.start_on(2, disk(1), |_| ()).await];
        for (node, before) in nodes.iter().zip(before) {
            assert_eq!(node.scrub().await, 0);
            let after = listed(node).await;
            assert_eq!(after.len(), before.len());
            assert!(
                after
                    .iter()
                    .zip(&before)
                    .all(|(a, b)| (a.table, a.stamp) == (b.table, b.stamp) && a.verified)
            );
        }
        assert_eq!(one(&nodes[0], file.id).await.unwrap().stamp, stamp(4));
        assert_eq!(entries(&nodes[1], table(901)).await, file.entries);
        assert_eq!(read_file(&nodes[0], file.id).await.unwrap(), file.bytes);
    });
}
