//! Hearts: the state of a frontend, without IO.

pub mod inbox;
pub mod ledger;
pub mod machine;
pub mod refusals;
pub mod scans;
pub mod throttle;
pub mod token;
pub mod verified;
