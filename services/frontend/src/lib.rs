//! The frontend service: memtables and the replicated log; talks to clients.
//!
//! | room | modules | hold |
//! |---|---|---|
//! | doors | [`door`] | keys and values, groups, replicas, administration, figures |
//! | flows | [`flow`] | get, batch get, scan, write, snapshot; routing |
//! | leaders' flows | [`lead`] | flush, compaction, collection, repair, splits, members |
//! | meta group | [`meta`] | founding, the meta leader, what it answers |
//! | hearts | [`heart`] | state machines, writes that wait, the ledger of a reign, back-pressure, resume tokens |
//! | hands | [`hand`] | index service, data service |
//! | figures | [`metrics`] | what is counted |
//! | wiring | [`node`], [`replicas`], [`host`], `farewell` | one frontend from its start to its end; its replicas |

pub mod door;
mod farewell;
pub mod flow;
pub mod hand;
pub mod heart;
pub mod host;
pub mod lead;
pub mod meta;
pub mod metrics;
pub mod node;
pub mod replicas;
pub mod reports;

pub use node::{Ended, FrontendNode, FrontendOptions};
