//! How whole numbers are spread over buckets, each twice as wide as the one before.

/// Buckets with a bound.
const BOUNDS: usize = 20;

/// Counted numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    first: u64,
    /// Numbers in each bucket; the last one has no bound.
    buckets: [u64; BOUNDS + 1],
    sum: u64,
}

impl Spread {
    /// Nothing yet; the first bucket takes numbers up to `first`.
    pub const fn new(first: u64) -> Spread {
        Spread { first, buckets: [0; BOUNDS + 1], sum: 0 }
    }

    /// Counts a number.
    pub fn add(&mut self, number: u64) {
        let above = number.saturating_sub(1) / self.first.max(1);
        let at = ((u64::BITS - above.leading_zeros()) as usize).min(BOUNDS);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.sum = self.sum.saturating_add(number);
    }

    /// The sum of all numbers.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many numbers are in each bucket, with its bound: the largest number that is in it. The last has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bound = |at: usize| (at < BOUNDS).then(|| self.first << at);
        self.buckets.iter().enumerate().map(move |(at, count)| (bound(at), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        let mut spread = Spread::new(50);
        for number in [0, 1, 50, 51, 100, 101, u64::from(u32::MAX)] {
            spread.add(number);
        }
        let filled: Vec<_> = spread.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(50), 3), (Some(100), 2), (Some(200), 1), (None, 1)]);
        assert_eq!(spread.sum(), 303 + u64::from(u32::MAX));
    }
}
