//! Numbers that only rise: versions of data, reigns of leaders, epochs of maps, incarnations of processes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A hybrid logical clock: 48 bits of milliseconds since 1970, 16 bits of counter.
///
/// Given to every write by apply (protocols §4), strictly increasing in log order. Every read returns the
/// version that it saw, misses included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Version(pub u64);

impl Version {
    /// Below every version that was ever given.
    pub const ZERO: Version = Version(0);
    /// Above every version that will ever be given.
    pub const MAX: Version = Version(u64::MAX);

    /// The first version of a millisecond.
    pub const fn from_ms(ms: u64) -> Version {
        Version(ms << 16)
    }

    /// The millisecond of this version.
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next version; stays at [`Version::MAX`].
    #[must_use]
    pub const fn next(self) -> Version {
        Version(self.0.saturating_add(1))
    }

    /// The version `ms` milliseconds later; stays at [`Version::MAX`].
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Version {
        Version(self.0.saturating_add(ms.saturating_mul(1 << 16)))
    }

    /// The version `ms` milliseconds earlier; stays at [`Version::ZERO`].
    #[must_use]
    pub const fn minus_ms(self, ms: u64) -> Version {
        Version(self.0.saturating_sub(ms.saturating_mul(1 << 16)))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({}.{})", self.ms(), self.0 & 0xffff)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! rising_number {
    ($(#[$doc:meta] $name:ident,)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The number before the first.
            pub const ZERO: $name = $name(0);

            /// The next higher one.
            #[must_use]
            pub const fn next(self) -> $name {
                $name(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

rising_number! {
    #[doc = "The position of an entry in a group's log; the first is 1."]
    LogIndex,
    #[doc = "The log index of the entry with which a leader began. Table ids carry it."]
    Reign,
    #[doc = "The version number of a map, or of a state: what was routed by an older one is told so."]
    Epoch,
    #[doc = "Raised and synced by a process at each start, before anything else."]
    Incarnation,
}

/// The level of formats and protocols that a store runs at (protocols §12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Level(pub u16);

impl Level {
    /// The first level, and the only one so far.
    pub const FIRST: Level = Level(1);
    /// The highest level that this binary supports.
    pub const HIGHEST: Level = Level(1);
}

impl From<LogIndex> for Reign {
    fn from(index: LogIndex) -> Reign {
        Reign(index.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_keeps_its_millisecond_and_orders_by_it_first() {
        let early = Version(Version::from_ms(5).0 | 0xffff);
        let late = Version::from_ms(6);
        assert_eq!(early.ms(), 5);
        assert!(early < late);
        assert_eq!(early.next(), late, "a full counter runs over into the next millisecond");
        assert_eq!(late.minus_ms(10), Version::ZERO);
        assert_eq!(Version::MAX.plus_ms(1), Version::MAX);
    }
}
