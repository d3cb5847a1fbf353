//! What touches files and peers, through their ports.

pub(crate) mod files;
pub(crate) mod locks;
pub(crate) mod pace;
pub(crate) mod peers;
pub(crate) mod store;
pub(crate) mod tail;
pub(crate) mod verify;
pub(crate) mod writes;
