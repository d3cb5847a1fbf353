//! Hearts: the state of a frontend, without IO.

pub mod ledger;
pub mod machine;
pub mod scans;
pub mod throttle;
pub mod token;
