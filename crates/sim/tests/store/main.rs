//! The simulator's first room: whole stores of true frontends, index and data nodes in one seeded thread, with
//! crashes, cuts, lost and late messages, disks that fill up, rot or go, and a ledger of everything that clients
//! were told.
//!
//! | module | holds |
//! |---|---|
//! | `nodes`, `keeper` | the store: its machines, and who replaces them |
//! | `clients` | what clients do |
//! | `ledger`, `inventory` | what must hold: of answers, and of files |
//! | `story` | clients at work while things go wrong, then every comparison |
//! | `stories` | the tests |

mod clients;
mod inventory;
mod keeper;
mod ledger;
mod nodes;
mod stories;
mod story;
