//! What a store must have after everything that happened (I1), kept outside the store.
//!
//! Of each key the ledger remembers the acknowledged write with the highest version, and every write whose outcome
//! nobody knows. At the end the key must have the first, or one of the others with a higher version. A write that is
//! acknowledged may only be missing if a later write of its key was done.

use std::collections::BTreeMap;

use bytes::Bytes;
use lamina_types::Version;

use crate::history::{Answer, Call, Item, Operation};
use crate::octets::Octets;

/// What was acknowledged, by key.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    keys: BTreeMap<Octets, Account>,
    acknowledged: u64,
    unknown: u64,
}

#[derive(Clone, Default, Debug)]
struct Account {
    /// The acknowledged write with the highest version.
    standing: Option<(Version, Content)>,
    /// Writes that may have been done, or may yet be.
    perhaps: Vec<Content>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Content {
    value: Option<Octets>,
    expires: bool,
}

/// How a store breaks its word.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Loss {
    /// An acknowledged value is absent.
    #[error("{key:?}: the value of version {version} was acknowledged, and the key is absent")]
    Absent {
        /// The key.
        key: Octets,
        /// The version of the acknowledged write.
        version: Version,
    },
    /// The key has an older value than the last acknowledged one.
    #[error("{key:?}: version {acknowledged} was acknowledged, and the key has version {found}")]
    Older {
        /// The key.
        key: Octets,
        /// The version of the acknowledged write.
        acknowledged: Version,
        /// The version that was found.
        found: Version,
    },
    /// The key has a value that nobody wrote, or that is not the one of its version.
    #[error("{key:?}: nobody wrote the value that was found with version {found}")]
    Foreign {
        /// The key.
        key: Octets,
        /// The version that was found.
        found: Version,
    },
}

impl Ledger {
    /// An empty ledger: every key is absent.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// The ledger of a history.
    pub fn of(operations: &[Operation]) -> Ledger {
        let mut ledger = Ledger::new();
        for operation in operations {
            let Call::Write { items } = &operation.call else { continue };
            match operation.answer {
                Answer::Written { version } => ledger.acknowledged(items, Version(version)),
                Answer::Refused => {}
                _ => ledger.unknown(items),
            }
        }
        ledger
    }

    /// A write was acknowledged with this version. In any order.
    pub fn acknowledged(&mut self, items: &[Item], version: Version) {
        self.acknowledged += 1;
        for item in items {
            let account = self.keys.entry(item.key.clone()).or_default();
            if account.standing.as_ref().is_none_or(|(highest, _)| *highest < version) {
                account.standing = Some((version, Content::of(item)));
            }
        }
    }

    /// Nobody knows whether a write was done, or it has not been answered yet. (One that was certainly not done is
    /// not told to the ledger.)
    pub fn unknown(&mut self, items: &[Item]) {
        self.unknown += 1;
        for item in items {
            self.keys.entry(item.key.clone()).or_default().perhaps.push(Content::of(item));
        }
    }

    /// How many writes were acknowledged, and how many have an unknown outcome.
    pub fn counts(&self) -> (u64, u64) {
        (self.acknowledged, self.unknown)
    }

    /// Every key that was written.
    pub fn keys(&self) -> impl Iterator<Item = &Octets> {
        self.keys.keys()
    }

    /// Compares what a key has now, value and version of its write, with what it must have.
    ///
    /// # Errors
    /// The store has lost a write, or brought one that nobody made.
    pub fn check(&self, key: &Octets, found: Option<(&[u8], Version)>) -> Result<(), Loss> {
        let account = self.keys.get(key);
        let standing = account.and_then(|account| account.standing.as_ref());
        let perhaps = account.map_or(&[][..], |account| &account.perhaps);
        let Some((value, version)) = found else {
            let deleted = perhaps.iter().any(|content| content.value.is_none() || content.expires);
            return match standing {
                Some((version, content)) if content.value.is_some() && !content.expires && !deleted => {
                    Err(Loss::Absent { key: key.clone(), version: *version })
                }
                _ => Ok(()),
            };
        };
        let is = |content: &Content| content.value.as_ref().is_some_and(|own| own.0 == value);
        match standing {
            Some((acknowledged, content)) if *acknowledged == version => {
                if is(content) {
                    Ok(())
                } else {
                    Err(Loss::Foreign { key: key.clone(), found: version })
                }
            }
            Some((acknowledged, _)) if *acknowledged > version => {
                Err(Loss::Older { key: key.clone(), acknowledged: *acknowledged, found: version })
            }
            _ if perhaps.iter().any(is) => Ok(()),
            _ => Err(Loss::Foreign { key: key.clone(), found: version }),
        }
    }

    /// Compares all of a store with the ledger: `rows` are all keys that it has now.
    pub fn check_all<'a>(
        &self,
        rows: impl IntoIterator<Item = (&'a Bytes, &'a Bytes, Version)>,
    ) -> Vec<Loss> {
        let rows: BTreeMap<Octets, (&[u8], Version)> = rows
            .into_iter()
            .map(|(key, value, version)| (Octets(key.clone()), (value.as_ref(), version)))
            .collect();
        let absent = self.keys.keys().filter(|key| !rows.contains_key(*key)).map(|key| self.check(key, None));
        let present = rows.iter().map(|(key, found)| self.check(key, Some(*found)));
        absent.chain(present).filter_map(Result::err).collect()
    }
}

impl Content {
    fn of(item: &Item) -> Content {
        Content { value: item.value.clone(), expires: item.expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Octets {
        "k".into()
    }

    fn check(ledger: &Ledger, found: Option<(&str, u64)>) -> Result<(), Loss> {
        ledger.check(&key(), found.map(|(value, version)| (value.as_bytes(), Version(version))))
    }

    #[test]
    fn the_acknowledged_write_with_the_highest_version_stands_whatever_the_order_of_answers() {
        let mut ledger = Ledger::new();
        ledger.acknowledged(&[Item::put("k", "new")], Version(9));
        ledger.acknowledged(&[Item::put("k", "old")], Version(5));
        assert_eq!(check(&ledger, Some(("new", 9))), Ok(()));
        assert!(matches!(check(&ledger, Some(("old", 5))), Err(Loss::Older { .. })));
        assert!(matches!(check(&ledger, None), Err(Loss::Absent { .. })));
        assert!(matches!(check(&ledger, Some(("other", 9))), Err(Loss::Foreign { .. })));
        assert!(matches!(check(&ledger, Some(("other", 12))), Err(Loss::Foreign { .. })));
    }

    #[test]
    fn a_write_of_unknown_outcome_may_stand_or_not_but_not_below_an_acknowledged_one() {
        let mut ledger = Ledger::new();
        ledger.acknowledged(&[Item::put("k", "a")], Version(5));
        ledger.unknown(&[Item::put("k", "b")]);
        assert_eq!(check(&ledger, Some(("a", 5))), Ok(()));
        assert_eq!(check(&ledger, Some(("b", 6))), Ok(()));
        assert!(matches!(check(&ledger, Some(("b", 4))), Err(Loss::Older { .. })));
        assert!(check(&ledger, None).is_err());
        ledger.unknown(&[Item::delete("k")]);
        assert_eq!(check(&ledger, None), Ok(()));
    }

    #[test]
    fn a_deleted_key_that_comes_back_is_found() {
        let mut ledger = Ledger::new();
        ledger.acknowledged(&[Item::put("k", "a")], Version(5));
        ledger.acknowledged(&[Item::delete("k")], Version(6));
        assert_eq!(check(&ledger, None), Ok(()));
        assert!(matches!(check(&ledger, Some(("a", 5))), Err(Loss::Older { .. })));
    }

    #[test]
    fn a_whole_store_is_compared_at_once() {
        let mut ledger = Ledger::new();
        ledger.acknowledged(&[Item::put("a", "1"), Item::put("b", "2")], Version(5));
        let row = |key: &'static str, value: &'static str, version| {
            (Bytes::from(key), Bytes::from(value), Version(version))
        };
        let good = [row("a", "1", 5), row("b", "2", 5)];
        let lost = [row("a", "1", 5), row("z", "9", 7)];
        let all =
            |rows: &[(Bytes, Bytes, Version)]| ledger.check_all(rows.iter().map(|(k, v, n)| (k, v, *n)));
        assert_eq!(all(&good), []);
        let losses = all(&lost);
        assert!(matches!(losses[..], [Loss::Absent { .. }, Loss::Foreign { .. }]), "{losses:?}");
    }
}
