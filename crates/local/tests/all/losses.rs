//! What the store does when a machine or its disk gives up.

use std::time::Duration;

use lamina_client::{Batch, Options};
use lamina_peers::admin::{CanStop, ClusterStatus, ReleaseVolume, SetNodeState, StopGranted, VolumeReleased};
use lamina_peers::view::NodeState;
use lamina_types::{NodeId, Settings};

use crate::rig::{Kind, Rig, context, wait_for};

fn small() -> Settings {
    Settings { memtable_bytes: 6 << 20, table_bytes: 1 << 20, shards: 4, ..Settings::default() }
}

async fn release(rig: &Rig, node: NodeId) -> Result<(), Vec<String>> {
    let admin = rig.network.admin(&rig.frontends()[0]);
    match admin.call(context(), ReleaseVolume { node }).await {
        Ok(VolumeReleased::Released) => Ok(()),
        Ok(VolumeReleased::Refused { reasons }) => Err(reasons),
        Err(error) => Err(vec![error.to_string()]),
    }
}

/// Three data nodes, three copies: nothing can be made anew before the lost node is replaced. So the copies that are
/// left are read through, and a damaged one is found while the lost volume could still mend it.
#[tokio::test(start_paused = true)]
async fn a_lost_data_volume_is_released_once_other_copies_were_read_and_verified() {
    let mut rig = Rig::up(Kind::InProcess, small()).await;
    let client = rig.client();
    for n in 0..200 {
        client.write(Batch::new().put(format!("key-{n}"), vec![b'x'; 500])).await.unwrap();
    }
    let flushed = client.flush(false).await.unwrap();
    assert!(flushed.tables > 0);
    let (lost, _) = rig.node("data-0").await;
    let early = release(&rig, lost.node).await.unwrap_err();
    assert!(early[0].contains("only the volume of a dead node"), "{early:?}");
    rig.kill("data-0");
    let admin = rig.network.admin(&rig.frontends()[0]);
    let dead = SetNodeState { node: lost.node, from: NodeState::Active, to: NodeState::Dead };
    wait_for("the node is declared dead", async || admin.call(context(), dead).await.is_ok()).await;
    // The copies that are left cannot be reached: nobody can vouch for them.
    rig.kill("data-1");
    rig.kill("data-2");
    for _ in 0..20 {
        assert!(release(&rig, lost.node).await.is_err(), "released without a verified copy");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    rig.start("data-1").await;
    rig.start("data-2").await;
    wait_for("the volume is released", async || release(&rig, lost.node).await.is_ok()).await;
    let patient = client.with(Options { deadline: Duration::from_secs(30), repeat: true });
    for n in 0..200 {
        assert!(patient.get(format!("key-{n}")).await.unwrap().is_some());
    }
}

/// An expiry is judged by the group's clock. On a full disk the clock stands; the read goes on all the same.
#[tokio::test(start_paused = true)]
async fn a_value_with_a_time_to_live_is_read_on_a_full_disk() {
    let rig = Rig::up(Kind::InProcess, small()).await;
    let client = rig.client();
    let batch = Batch::new().put_for("k", "v", Duration::from_secs(3600)).put("plain", "v");
    client.write(batch).await.unwrap();
    for name in ["frontend-0", "frontend-1", "frontend-2"] {
        let (used, _) = rig.host(name).disk.used();
        rig.host(name).disk.change_faults(|faults| faults.capacity = used);
    }
    let quick = client.clone().with(Options { deadline: Duration::from_secs(2), repeat: false });
    wait_for("the disk is full", async || {
        let big = quick.put("big", vec![0; 200_000]).await;
        big.is_err_and(|error| error.reason().as_str() == "DISK_FULL")
    })
    .await;
    // The nodes' clocks move on, the group's cannot.
    tokio::time::advance(Duration::from_millis(5_000)).await;
    assert_eq!(quick.get("plain").await.unwrap().unwrap().value.as_ref(), b"v");
    assert_eq!(quick.get("k").await.unwrap().unwrap().value.as_ref(), b"v");
    let keys = ["k", "plain"].map(|key| key.into());
    assert!(quick.batch_get(keys).await.unwrap().iter().all(Option::is_some));
}

/// Whoever keeps the store asks any frontend, and ends a grant that nobody wants: it has to see it there.
#[tokio::test(start_paused = true)]
async fn a_grant_is_told_by_every_frontend_also_by_those_without_a_replica_of_the_meta_group() {
    let rig = Rig::up(Kind::InProcess, Settings { frontends: 5, ..small() }).await;
    let (node, _) = rig.node("index-0").await;
    let asked = CanStop { grant: "mine".to_owned(), node: node.node };
    wait_for("the stop is granted", async || {
        let admin = rig.network.admin(&rig.frontends()[0]);
        matches!(admin.call(context(), asked.clone()).await, Ok(StopGranted::Granted))
    })
    .await;
    assert_eq!(rig.frontends().len(), 5);
    for address in rig.frontends() {
        let status = rig.network.admin(&address).call(context(), ClusterStatus {}).await.unwrap();
        assert_eq!(status.grant, Some(("mine".to_owned(), node.node)), "{address}");
    }
}
