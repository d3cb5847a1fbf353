//! State without IO and without a clock of its own.

pub(crate) mod catalogue;
pub(crate) mod jobs;
