//! What the load inside the cluster says to the story outside: one JSON object on each line.
//!
//! It is sent through the standard output of `kubectl exec`: no volume, no copy, no log that is cut.

use lamina_workload::{Octets, Operation};
use serde::{Deserialize, Serialize};

/// What the story says to the load to begin a new stretch of the figures.
pub const MARK: &str = "mark\n";

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first write was acknowledged.
    Begun,
    /// How it goes; twice a second.
    Progress(Progress),
    /// A call failed; the first hundred are told.
    Failure(String),
    /// One operation of the history, with its answer. After the load.
    Operation(Operation),
    /// One row that the store has at the end. After the history.
    Row(Row),
    /// The last line: how many operations and rows were sent, so that a story that ends in the middle is noticed.
    End {
        /// Operations.
        operations: u64,
        /// Rows.
        rows: u64,
    },
}

/// How the load goes since it began, or since the last mark.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Which stretch: 0 at the beginning, one more with each mark.
    pub stretch: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads and scans that were answered.
    pub read: u64,
    /// Calls that failed, all retries included.
    pub failed: u64,
    /// The longest time without an acknowledged write, in milliseconds, the one under way included.
    pub gap_ms_max: u64,
    /// The longest call, in milliseconds.
    pub call_ms_max: u64,
    /// How long the stretch is, in milliseconds.
    pub took_ms: u64,
}

/// One row of a store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The key.
    pub key: Octets,
    /// The value.
    pub value: Octets,
    /// The version of its write.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use lamina_workload::history::{Answer, Call, Item};

    use super::*;

    #[test]
    fn every_line_reads_back() {
        let operation = Operation {
            session: 1,
            begin: 2,
            end: Some(3),
            call: Call::Write { items: vec![Item::put("a", &b"\xff\n"[..])] },
            answer: Answer::Written { version: 7 },
        };
        let row = Row { key: "a".into(), value: "b".into(), version: 7 };
        let lines = [
            Line::Begun,
            Line::Progress(Progress { acknowledged: 3, ..Progress::default() }),
            Line::Failure("too late".to_owned()),
            Line::Operation(operation),
            Line::Row(row),
            Line::End { operations: 1, rows: 1 },
        ];
        for line in lines {
            let text = serde_json::to_string(&line).unwrap();
            assert!(!text.contains('\n'), "{text}");
            let back: Line = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{back:?}"), format!("{line:?}"));
        }
    }
}
