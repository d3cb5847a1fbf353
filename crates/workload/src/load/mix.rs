//! Which operations, in which shares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::keys::Dice;

/// A mix of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mix {
    /// Puts every key once, in random order.
    Fill,
    /// Puts keys that are there.
    Overwrite,
    /// Gets keys that are there.
    ReadRandom,
    /// Gets keys that are not there, but lie between those that are.
    ReadMissing,
    /// Scans from a random key on.
    Scan,
    /// YCSB A: half reads, half updates.
    YcsbA,
    /// YCSB B: 95 % reads, 5 % updates.
    YcsbB,
    /// YCSB C: reads only.
    YcsbC,
    /// YCSB D: 95 % reads of the newest keys, 5 % inserts.
    YcsbD,
    /// YCSB E: 95 % short scans, 5 % inserts.
    YcsbE,
    /// YCSB F: half reads, half reads followed by an update.
    YcsbF,
    /// 70 % reads, 25 % updates, 4 % scans, 1 % deletes.
    Mixed,
}

/// Operations whose latency is kept apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Gets.
    Read,
    /// Puts and deletes.
    Write,
    /// Scans, to their last row.
    Scan,
    /// A get and the put that follows it.
    Modify,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Get,
    GetMissing,
    Update,
    Insert,
    Delete,
    Scan,
    Modify,
}

impl Mix {
    /// All mixes.
    pub const ALL: [Mix; 12] = [
        Mix::Fill,
        Mix::Overwrite,
        Mix::ReadRandom,
        Mix::ReadMissing,
        Mix::Scan,
        Mix::YcsbA,
        Mix::YcsbB,
        Mix::YcsbC,
        Mix::YcsbD,
        Mix::YcsbE,
        Mix::YcsbF,
        Mix::Mixed,
    ];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mix::Fill => "fill",
            Mix::Overwrite => "overwrite",
            Mix::ReadRandom => "read-random",
            Mix::ReadMissing => "read-missing",
            Mix::Scan => "scan",
            Mix::YcsbA => "ycsb-a",
            Mix::YcsbB => "ycsb-b",
            Mix::YcsbC => "ycsb-c",
            Mix::YcsbD => "ycsb-d",
            Mix::YcsbE => "ycsb-e",
            Mix::YcsbF => "ycsb-f",
            Mix::Mixed => "mixed",
        }
    }

    /// Whether the mix reads keys that a fill must have written before.
    pub const fn needs_keys(self) -> bool {
        !matches!(self, Mix::Fill | Mix::Overwrite)
    }

    /// Whether it scans.
    pub const fn scans(self) -> bool {
        matches!(self, Mix::Scan | Mix::YcsbE | Mix::Mixed)
    }

    /// What to do next, by percent.
    pub(crate) fn next(self, dice: &mut Dice) -> Next {
        let percent = dice.below(100);
        let split = |below: u64, first: Next, rest: Next| if percent < below { first } else { rest };
        match self {
            Mix::Fill => Next::Insert,
            Mix::Overwrite => Next::Update,
            Mix::ReadRandom | Mix::YcsbC => Next::Get,
            Mix::ReadMissing => Next::GetMissing,
            Mix::Scan => Next::Scan,
            Mix::YcsbA => split(50, Next::Get, Next::Update),
            Mix::YcsbB => split(95, Next::Get, Next::Update),
            Mix::YcsbD => split(95, Next::Get, Next::Insert),
            Mix::YcsbE => split(95, Next::Scan, Next::Insert),
            Mix::YcsbF => split(50, Next::Get, Next::Modify),
            Mix::Mixed => match percent {
                0..70 => Next::Get,
                70..95 => Next::Update,
                95..99 => Next::Scan,
                _ => Next::Delete,
            },
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mix {
    type Err = String;
    fn from_str(text: &str) -> Result<Mix, String> {
        Mix::ALL.into_iter().find(|mix| mix.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Mix::ALL.iter().map(|mix| mix.as_str()).collect();
            format!("no such mix; there are {}", names.join(", "))
        })
    }
}
