//! When a merge begins the next output table.

/// Cuts outputs at a target size, but never between two versions of one key: the views of a run are disjoint, so a
/// key that lay in two of its tables could not be described.
#[derive(Clone, Debug)]
pub struct Cutter {
    target_bytes: u64,
    last: Option<Vec<u8>>,
}

impl Cutter {
    /// Cuts when the table in work has this many bytes.
    pub fn new(target_bytes: u64) -> Cutter {
        Cutter { target_bytes, last: None }
    }

    /// Whether the table in work, which has `table_bytes` so far, ends before the entry with `key`. Asked once for
    /// every entry that is written, in order.
    pub fn cuts_before(&mut self, key: &[u8], table_bytes: u64) -> bool {
        let last = self.last.get_or_insert_with(|| key.to_vec());
        if last.as_slice() == key {
            return false;
        }
        last.clear();
        last.extend_from_slice(key);
        table_bytes >= self.target_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_ends_at_its_target_but_never_within_a_key() {
        let mut cutter = Cutter::new(100);
        assert!(!cutter.cuts_before(b"a", 0));
        assert!(!cutter.cuts_before(b"b", 99));
        assert!(cutter.cuts_before(b"c", 100));
        assert!(!cutter.cuts_before(b"c", 100), "a second version of the key stays with the first");
        assert!(!cutter.cuts_before(b"c", 5000));
        assert!(cutter.cuts_before(b"d", 5000));
    }
}
