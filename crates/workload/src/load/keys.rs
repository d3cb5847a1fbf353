//! Which key is next, and how keys and values look.
//!
//! Key number `n` is 16 hexadecimal digits of a bijective scramble of `n`, then filling. So keys that are loaded in
//! the order of their numbers arrive in random order, no two are the same, and numbers that were not loaded are keys
//! that lie between the others without being there.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The shortest key.
pub const KEY_BYTES_MIN: usize = 16;

/// The exponent of YCSB's zipfian distribution.
const THETA: f64 = 0.99;

/// Which keys are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// All equally often.
    Uniform,
    /// A few very often: YCSB's zipfian with exponent 0.99, the hot keys spread over all.
    Zipfian,
    /// The newest most often.
    Latest,
}

/// Draws numbers. Not for secrets: fast, and the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

/// Draws key numbers.
#[derive(Debug)]
pub(crate) struct Chooser {
    distribution: Distribution,
    /// Keys that are there. Inserts raise it.
    present: AtomicU64,
    zipf: Option<Zipf>,
}

/// Bytes for values: half of them can be compressed.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pool: Bytes,
    value_bytes: usize,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Multiply and shift: the bias is below 2^-40 for the counts that we use.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// From 0 (included) to 1 (excluded).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key with this number.
pub fn key(number: u64, key_bytes: usize) -> Bytes {
    // Every step of `mix` can be undone, so no two numbers share a key.
    let mut key = format!("{:016x}", mix(number)).into_bytes();
    key.resize(key_bytes.max(KEY_BYTES_MIN), b'.');
    Bytes::from(key)
}

impl Chooser {
    pub fn new(distribution: Distribution, present: u64) -> Chooser {
        let zipf = (distribution != Distribution::Uniform).then(|| Zipf::new(present));
        Chooser { distribution, present: AtomicU64::new(present), zipf }
    }

    /// The number of a key that is there.
    pub fn existing(&self, dice: &mut Dice) -> u64 {
        let present = self.present.load(Ordering::Relaxed);
        match (self.distribution, &self.zipf) {
            (Distribution::Zipfian, Some(zipf)) => mix(zipf.draw(dice) ^ 0x5851_f42d) % present.max(1),
            (Distribution::Latest, Some(zipf)) => (present.saturating_sub(1)).saturating_sub(zipf.draw(dice)),
            _ => dice.below(present),
        }
    }

    /// The number of a key that is not there. No insert ever comes so far.
    pub fn missing(&self, dice: &mut Dice) -> u64 {
        (1 << 63) | (dice.next() >> 1)
    }

    /// The number of a key that is new.
    pub fn insert(&self) -> u64 {
        self.present.fetch_add(1, Ordering::Relaxed)
    }
}

/// Zipf by Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), as in YCSB.
#[derive(Debug)]
struct Zipf {
    count: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u64) -> Zipf {
        let n = count.max(1) as f64;
        let zeta = zeta(count.max(1));
        let zeta_two = 1.0 + 0.5f64.powf(THETA);
        let alpha = 1.0 / (1.0 - THETA);
        let eta = (1.0 - (2.0 / n).powf(1.0 - THETA)) / (1.0 - zeta_two / zeta);
        Zipf { count: n, zeta, alpha, eta }
    }

    /// A rank, 0 the most frequent.
    fn draw(&self, dice: &mut Dice) -> u64 {
        let u = dice.unit();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + 0.5f64.powf(THETA) {
            return 1.min(self.count as u64 - 1);
        }
        let rank = self.count * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count as u64 - 1)
    }
}

/// The sum of `1 / i^THETA`: the first million exactly, the rest by its integral.
fn zeta(count: u64) -> f64 {
    const EXACT: u64 = 1_000_000;
    let exact: f64 = (1..=count.min(EXACT)).map(|i| (i as f64).powf(-THETA)).sum();
    if count <= EXACT {
        return exact;
    }
    let power = 1.0 - THETA;
    exact + ((count as f64 + 0.5).powf(power) - (EXACT as f64 + 0.5).powf(power)) / power
}

impl Values {
    pub fn new(value_bytes: usize, seed: u64) -> Values {
        const POOL: usize = 1 << 20;
        let mut dice = Dice::new(seed);
        let mut pool = Vec::with_capacity(POOL + value_bytes + 64);
        while pool.len() < POOL + value_bytes {
            let random: Vec<u8> = (0..4).flat_map(|_| dice.next().to_le_bytes()).collect();
            pool.extend_from_slice(&random);
            pool.extend_from_slice(&[b'-'; 32]);
        }
        Values { pool: Bytes::from(pool), value_bytes }
    }

    pub fn draw(&self, dice: &mut Dice) -> Bytes {
        let start = dice.below((self.pool.len() - self.value_bytes) as u64) as usize;
        self.pool.slice(start..start + self.value_bytes)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distribution::Uniform => "uniform",
            Distribution::Zipfian => "zipfian",
            Distribution::Latest => "latest",
        })
    }
}

impl FromStr for Distribution {
    type Err = String;
    fn from_str(text: &str) -> Result<Distribution, String> {
        match text {
            "uniform" => Ok(Distribution::Uniform),
            "zipfian" => Ok(Distribution::Zipfian),
            "latest" => Ok(Distribution::Latest),
            _ => Err("no such distribution; there are uniform, zipfian, latest".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_all_different_have_the_length_asked_for_and_lie_everywhere() {
        let keys: BTreeSet<Bytes> = (0..10_000).map(|n| key(n, 24)).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 24));
        let low = keys.iter().filter(|key| key[0] < b'8').count();
        assert!((4_500..5_500).contains(&low), "{low} of 10 000 in the lower half");
        let chooser = Chooser::new(Distribution::Uniform, 10_000);
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| !keys.contains(&key(chooser.missing(&mut dice), 24))));
    }

    #[test]
    fn zipfian_draws_stay_in_range_and_favour_a_few() {
        for present in [1, 2, 3, 1000] {
            let chooser = Chooser::new(Distribution::Zipfian, present);
            let mut dice = Dice::new(7);
            assert!((0..1000).all(|_| chooser.existing(&mut dice) < present), "of {present}");
        }
        let zipf = Zipf::new(100_000);
        let mut dice = Dice::new(3);
        let hot = (0..10_000).filter(|_| zipf.draw(&mut dice) < 1000).count();
        // Sum of the first thousand shares: zeta(1000) / zeta(100 000) = 0.60.
        assert!((5_500..6_600).contains(&hot), "{hot} of 10 000 draws fall on 1 % of the keys");
    }

    #[test]
    fn the_newest_keys_follow_the_inserts() {
        let chooser = Chooser::new(Distribution::Latest, 1000);
        for _ in 0..500 {
            chooser.insert();
        }
        let mut dice = Dice::new(5);
        let new = (0..1000).filter(|_| chooser.existing(&mut dice) >= 1000).count();
        assert!(new > 700, "{new} of 1000 draws fall on the newest third");
    }

    #[test]
    fn values_have_the_length_asked_for() {
        let mut dice = Dice::new(1);
        for length in [0, 1, 128, 1 << 20] {
            assert_eq!(Values::new(length, 1).draw(&mut dice).len(), length);
        }
    }
}
