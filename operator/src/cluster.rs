//! One store: what it should be, what it is, and the next steps from here to there.
//!
//! ```text
//! observe ─► validate ─► plan (pure) ─► guard ─► execute ─► status
//! ```
//!
//! Every pass begins from nothing but what it observes, and may be the last: whoever comes next goes on from there.
//!
//! | module | holds |
//! |---|---|
//! | [`observe`] | objects, pods, volumes, what the store says: read at the beginning of each pass |
//! | [`record`] | the bootstrap record: that this store has begun, and how |
//! | [`template`] | accepted pod templates, and when a newer one is taken |
//! | [`build`] | objects as they should be |
//! | [`validate`] | what the spec asks for and cannot have |
//! | [`plan`] | steps, in order, with their class |
//! | [`redundancy`] | how much of it there is |
//! | [`execute`] | takes the steps, each behind its guard |
//! | [`status`] | what is said about it all |
//! | [`pass`] | one pass |

pub mod build;
pub mod compare;
pub mod execute;
pub mod guard;
pub mod observe;
pub mod pass;
pub mod plan;
pub mod record;
pub mod redundancy;
pub mod seen;
pub mod status;
pub mod template;
pub mod validate;
