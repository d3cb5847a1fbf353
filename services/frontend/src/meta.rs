//! The meta group on this frontend (protocols §10).
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | one replica of the meta group, and what its readers see |
//! | [`lead`] | the meta leader: listens to heartbeats, decides, proposes |
//! | [`serve`] | what only the meta leader answers |
//! | [`founding`] | the bootstrap record on this volume |

pub mod founding;
pub mod host;
pub mod lead;
pub mod serve;
