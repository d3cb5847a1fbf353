//! A crash at every step of a story: each table is sealed whole or absent, what was answered holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_data::DataService;
use lamina_env::disk::memory::{Loss, MemDisk};
use lamina_peers::data::{CopyTable, DeleteTables, DropCopy, LinkTable};
use lamina_types::{CopyStamp, TableId};

use crate::lan::{Lan, ask, source, story};
use crate::tables::{File, is_whole, listed, read_file, sample, stamp, store, table};

/// What a leader knows from answers: the least stamp of copies that must be there; `None`: gone for good.
type Promises = BTreeMap<TableId, Option<CopyStamp>>;

/// Runs the story until a step fails, and says what was promised by then.
async fn run(node: &Arc<DataService>, files: &[File; 3], promises: &mut Promises) -> Option<()> {
    let [a, b, c] = files;
    store(node, a, stamp(1)).await.ok()?;
    promises.insert(a.id, Some(stamp(1)));
    store(node, b, stamp(2)).await.ok()?;
    promises.insert(b.id, Some(stamp(2)));
    store(node, a, stamp(4)).await.ok()?;
    promises.insert(a.id, Some(stamp(4)));
    ask(node, LinkTable { old: b.id, new: table(30), stamp: stamp(5) }).await.ok()?;
    promises.insert(table(30), Some(stamp(5)));
    let replace = CopyTable { table: a.id, stamp: stamp(6), from: vec![source(2)], replace: true };
    ask(node, replace).await.ok()?;
    promises.insert(a.id, Some(stamp(6)));
    // From here on it may be there or not.
    promises.remove(&b.id);
    ask(node, DeleteTables { tables: vec![b.id] }).await.ok()?;
    promises.insert(b.id, None);
    ask(node, CopyTable { table: c.id, stamp: stamp(7), from: vec![source(2)], replace: false })
        .await
        .ok()?;
    promises.insert(c.id, Some(stamp(7)));
    promises.remove(&c.id);
    ask(node, DropCopy { table: c.id, up_to: stamp(7) }).await.ok()?;
    promises.insert(c.id, None);
    Some(())
}

#[test]
fn after_a_crash_at_any_step_every_table_is_whole_or_absent_and_every_answer_holds() {
    let mut steps = 0;
    for loss in [Loss::Everything, Loss::Drawn, Loss::Nothing] {
        for last_step in 1.. {
            let mut done = false;
            story(last_step, crash_at(last_step, loss, &mut done));
            if done {
                steps += last_step;
                break;
            }
        }
    }
    assert!(steps > 100, "the story has only {steps} steps in three rounds");
}

async fn crash_at(last_step: u64, loss: Loss, done: &mut bool) {
    let (lan, disk) = (Lan::new(), MemDisk::new(last_step));
    let files = [sample(table(1), 70), sample(table(2), 50), sample(table(3), 60)];
    let helper = lan.start(2, &MemDisk::new(0)).await;
    for file in &files {
        store(&helper, file, stamp(1)).await.unwrap();
    }
    let node = lan.start(1, &disk).await;
    disk.change_faults(|faults| faults.changes_left = Some(last_step));
    let mut promises = Promises::new();
    *done = run(&node, &files, &mut promises).await.is_some();
    drop(node);
    disk.crash_with(loss);

    let node = lan.start(1, &disk).await;
    let seen = listed(&node).await;
    for copy in &seen {
        let bytes = read_file(&node, copy.table).await.unwrap();
        assert!(is_whole(&bytes), "step {last_step}: half of table {}", copy.table);
        let origin = if copy.table == table(30) { table(2) } else { copy.table };
        let file = files.iter().find(|file| file.id == origin).unwrap();
        assert_eq!(bytes, file.bytes);
    }
    for (table, promise) in promises {
        let copy = seen.iter().find(|copy| copy.table == table);
        match promise {
            Some(stamp) => {
                let copy =
                    copy.unwrap_or_else(|| panic!("step {last_step}, {loss:?}: table {table} is lost"));
                assert!(copy.stamp >= stamp, "step {last_step}, {loss:?}: the stamp of {table} fell");
            }
            None => assert_eq!(copy, None, "step {last_step}, {loss:?}: table {table} is back"),
        }
    }
    assert_eq!(disk.list_incoming().await, 0);
    // Everything can be done again.
    let mut promises = Promises::new();
    assert!(run(&node, &files, &mut promises).await.is_some(), "step {last_step}, {loss:?}");
}

trait Incoming {
    async fn list_incoming(&self) -> usize;
}

impl Incoming for MemDisk {
    async fn list_incoming(&self) -> usize {
        lamina_env::Disk::list(self, "store/incoming").await.unwrap().len()
    }
}
