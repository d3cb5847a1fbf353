//! A reign from its first entry to its last.

use std::sync::Arc;

use lamina_env::task::TaskGroup;
use lamina_group::data::Outcome;
use lamina_group::data::entry::BeginReign;
use lamina_node::Links;
use tokio::sync::Notify;

use crate::flow::search::Searcher;
use crate::hand::tables::Tables;
use crate::heart::ledger::Ledger;
use crate::host::{DataHost, Reigning};
use crate::lead::work::{Jobs, Room, Work};
use crate::lead::works::Works;
use crate::lead::{collect, compact, copies, floor, flush, members, parts, split, verify};
use crate::metrics::WorkMetrics;
use crate::reports::Reports;

/// What the reigns of a frontend share.
#[derive(Clone)]
pub struct Court {
    /// The cluster.
    pub links: Links,
    /// Stores and installs tables.
    pub tables: Arc<Tables>,
    /// Reads tables.
    pub searcher: Searcher,
    /// Room on data nodes.
    pub room: Arc<Room>,
    /// Figures.
    pub metrics: WorkMetrics,
    /// What readers found wrong.
    pub reports: Arc<Reports>,
    /// The reigns of this process.
    pub works: Arc<Works>,
}

/// Waits for leadership of a group, reigns, and begins again, for ever.
pub async fn run(court: Court, host: Arc<DataHost>) {
    let mut leadership = host.replica.leadership();
    loop {
        let term = {
            let now = leadership.borrow_and_update();
            now.mine.then_some(now.term)
        };
        if let Some(term) = term {
            reign(&court, &host, term, &mut leadership).await;
        } else if leadership.changed().await.is_err() {
            return;
        }
    }
}

async fn reign(
    court: &Court,
    host: &Arc<DataHost>,
    term: u64,
    leadership: &mut lamina_env::watch::Receiver<lamina_consensus::Leadership>,
) {
    let is_over = |now: &lamina_consensus::Leadership| !now.mine || now.term != term;
    let Some(reigning) = begin(court, host, term, leadership).await else { return };
    tracing::info!(group = %host.group, term, reign = %reigning.reign, "the reign begins");
    court.metrics.leads.inc();
    // Whatever ends this task (leadership, a crash, a replica that is closed) ends the reign and its flows with it.
    let flows = EndOnDrop { court, host, flows: TaskGroup::new() };
    host.set_reigning(Some(reigning.clone()));
    start(court, host, reigning, &flows.flows);
    let _ = leadership.wait_for(is_over).await;
    drop(flows);
    tracing::info!(group = %host.group, term, "the reign is over");
}

/// Proposes the first entry of the reign until it is applied, or leadership is gone.
async fn begin(
    court: &Court,
    host: &Arc<DataHost>,
    term: u64,
    leadership: &mut lamina_env::watch::Receiver<lamina_consensus::Leadership>,
) -> Option<Arc<Reigning>> {
    let me = &court.links.me;
    let entry = BeginReign { node: me.node()?, incarnation: me.incarnation() };
    match host.propose(term, entry).await {
        Ok(Outcome::ReignBegun { reign }) => {
            let ledger = Ledger::new(host.group, reign);
            Some(Arc::new(Reigning { term, reign, ledger }))
        }
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(group = %host.group, term, ?error, "the reign could not begin");
            // A full disk, or leadership that was lost at once: look again when something has changed, or soon.
            let wait = lamina_env::time::Duration::from_millis(200);
            let _ = lamina_env::time::timeout(wait, leadership.changed()).await;
            None
        }
    }
}

fn start(court: &Court, host: &Arc<DataHost>, reigning: Arc<Reigning>, flows: &TaskGroup) {
    let work = Work {
        host: host.clone(),
        reigning,
        links: court.links.clone(),
        tables: court.tables.clone(),
        searcher: court.searcher.clone(),
        room: court.room.clone(),
        metrics: court.metrics.clone(),
        jobs: Arc::new(Jobs::default()),
        verified: Arc::default(),
        wake: Arc::new(Notify::new()),
    };
    court.works.begin(work.clone());
    flows.spawn(flush::press(work.clone()));
    flows.spawn(flush::run(work.clone()));
    flows.spawn(compact::run(work.clone()));
    flows.spawn(collect::run(work.clone()));
    flows.spawn(collect::sweep(work.clone()));
    flows.spawn(copies::run(work.clone(), court.reports.clone()));
    flows.spawn(parts::run(work.clone(), court.reports.clone()));
    flows.spawn(verify::run(work.clone(), court.reports.clone()));
    flows.spawn(floor::run(work.clone()));
    flows.spawn(split::run(work.clone()));
    flows.spawn(members::run(work));
}

struct EndOnDrop<'a> {
    court: &'a Court,
    host: &'a Arc<DataHost>,
    flows: TaskGroup,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.host.set_reigning(None);
        self.flows.stop();
        self.court.works.end(self.host);
        self.court.metrics.leads.dec();
    }
}
