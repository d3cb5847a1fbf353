//! What a leader does beside answering: the flows of one reign.
//!
//! [`reign`] notices leadership, begins the reign with its first entry, runs the other flows, and ends them with it.
//!
//! | flow | does |
//! |---|---|
//! | [`flush`] | turns memtables into tables |
//! | [`compact`] | merges tables, next to the data |
//! | [`collect`] | deletes tables that left, and sweeps what earlier reigns left behind |
//! | [`copies`] | makes copies anew that are missing or damaged, bans lost data nodes |
//! | [`parts`] | installs index parts again where they are absent |
//! | [`floor`] | raises the read floor, gives up snapshots that have expired |
//! | [`split`] | cuts tablets in two, and gives the halves index shards of their own |
//! | [`verify`] | has copies read through that tables of dead data nodes depend on |
//! | [`members`] | brings the group's members to what meta has placed |

pub mod collect;
pub mod compact;
pub mod copies;
pub mod floor;
pub mod flush;
pub mod members;
pub mod parts;
pub mod reign;
pub mod split;
pub mod verify;
pub mod work;
pub mod works;
