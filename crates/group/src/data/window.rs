//! The memory of request ids of one tablet (§5.3): a retry takes effect at most once (invariant W2).
//!
//! The window has a floor. An id is forgotten only together with all ids whose token has a base below the floor, and
//! a base below the floor is refused. So forgetting never turns a retry into a second write; the price is that a
//! client whose token is old is told to read and to make a new one.
//!
//! A write whose conditions did not hold is remembered like one that took effect: its client was told that it is not
//! done, so a duplicate that arrives late must not do it after all (invariant W3).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lamina_types::{RequestId, Version};
use serde::{Deserialize, Serialize};

use super::config::GroupConfig;
use super::outcome::WriteOutcome;

/// By (base, random bytes of the token), so that the oldest tokens are the first.
pub(super) type Tokens = BTreeMap<(Version, u128), Arc<Token>>;

/// What a tablet remembers of client writes whose first key was its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Window {
    pub(super) floor: Version,
    /// Shared with earlier states: a checkpoint that is being written out costs the next write a copy of this map,
    /// but not of the results in it.
    pub(super) tokens: Tokens,
    /// All results of all tokens, refusals included.
    pub(super) results: usize,
}

/// What is remembered of one client token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Token {
    /// The client has the answers to all lower numbers.
    pub(super) done_below: u64,
    /// Numbers and versions of effective writes from `done_below` on, ascending by number. Mostly appended to.
    pub(super) results: VecDeque<(u64, Version)>,
    /// Numbers from `done_below` on whose conditions did not hold. Mostly empty.
    pub(super) refused: BTreeMap<u64, FailedCondition>,
}

/// Why a write was refused for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailedCondition {
    /// Which condition did not hold, counted from 0.
    pub condition: u32,
    /// The version of the value that its key had; `None`: it had none.
    pub current: Option<Version>,
}

/// What is remembered of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remembered {
    /// It took effect at this version.
    Written(Version),
    /// It was refused, and never takes effect.
    Refused(FailedCondition),
}

impl Window {
    /// Whether a write with this id may take effect at `version`, behind `last`: `None`; else what it is answered.
    pub(super) fn check(
        &self,
        id: &RequestId,
        version: Version,
        last: Version,
        config: &GroupConfig,
    ) -> Option<WriteOutcome> {
        let base = id.token.base;
        if base < self.floor {
            return Some(WriteOutcome::TokenExpired);
        }
        if base > version.plus_ms(config.token_ahead_ms) {
            return Some(WriteOutcome::ClockAhead);
        }
        if id.seq < id.done_below {
            return Some(WriteOutcome::AlreadyAnswered);
        }
        let Some(token) = self.tokens.get(&(base, id.token.id)) else {
            return self.is_full(0, last, config).then_some(WriteOutcome::TooManyOpen);
        };
        if id.seq < token.done_below {
            return Some(WriteOutcome::AlreadyAnswered);
        }
        if let Some(version) = token.result(id.seq) {
            return Some(WriteOutcome::Remembered { version });
        }
        if let Some(FailedCondition { condition, current }) = token.refused.get(&id.seq).copied() {
            return Some(WriteOutcome::ConditionFailed { condition, current });
        }
        let answered = token.answered(id.done_below);
        let open = token.len() - answered;
        let full = open >= config.open_requests_max as usize || self.is_full(answered, last, config);
        full.then_some(WriteOutcome::TooManyOpen)
    }

    /// Whether there is no room for one more result, and none can be made: `answered` ones make way anyhow, and a
    /// token may only be forgotten if its base lies behind the last version given. Else the floor would come to lie
    /// ahead of the group's clock, and every new token would be refused until the clock has passed it.
    fn is_full(&self, answered: usize, last: Version, config: &GroupConfig) -> bool {
        self.results - answered >= config.dedupe_results_max as usize
            && self.tokens.first_key_value().is_none_or(|((base, _), _)| *base >= last)
    }

    /// Stores a result, then forgets what is old or too much. `last` is the last version given, that of an effective
    /// write included.
    pub(super) fn remember(
        &mut self,
        id: &RequestId,
        result: Remembered,
        last: Version,
        config: &GroupConfig,
    ) {
        let token = Arc::make_mut(self.tokens.entry((id.token.base, id.token.id)).or_default());
        let answered = token.answered(id.done_below);
        token.forget_below(id.done_below);
        match result {
            Remembered::Written(version) => {
                let at = token.below(id.seq);
                token.results.insert(at, (id.seq, version));
            }
            Remembered::Refused(failed) => drop(token.refused.insert(id.seq, failed)),
        }
        self.results = self.results + 1 - answered;
        self.raise_floor(last.minus_ms(config.dedupe_ms));
        while self.results > config.dedupe_results_max as usize {
            match self.tokens.first_key_value() {
                Some(((base, _), _)) if *base < last => self.raise_floor(base.next()),
                _ => break,
            }
        }
    }

    fn raise_floor(&mut self, to: Version) {
        self.floor = self.floor.max(to);
        while let Some(oldest) = self.tokens.first_entry().filter(|oldest| oldest.key().0 < self.floor) {
            self.results -= oldest.remove().len();
        }
    }

    /// A window as it was written out.
    pub(super) fn restored(floor: Version, tokens: Tokens) -> Window {
        let results = tokens.values().map(|token| token.len()).sum();
        Window { floor, tokens, results }
    }
}

impl Token {
    /// How many results it has, refusals included.
    pub(super) fn len(&self) -> usize {
        self.results.len() + self.refused.len()
    }

    /// How many of them have a number below `done_below`: the client has those answers.
    fn answered(&self, done_below: u64) -> usize {
        self.below(done_below) + self.refused.range(..done_below).count()
    }

    fn forget_below(&mut self, done_below: u64) {
        self.done_below = self.done_below.max(done_below);
        let answered = self.below(self.done_below);
        self.results.drain(..answered);
        if self.refused.first_key_value().is_some_and(|(first, _)| *first < self.done_below) {
            self.refused = self.refused.split_off(&self.done_below);
        }
    }

    /// How many results have a number below `seq`.
    fn below(&self, seq: u64) -> usize {
        // Clients count upwards: most often all are below.
        match self.results.back() {
            Some((last, _)) if *last >= seq => self.results.partition_point(|(number, _)| *number < seq),
            _ => self.results.len(),
        }
    }

    fn result(&self, seq: u64) -> Option<Version> {
        self.results.get(self.below(seq)).filter(|(number, _)| *number == seq).map(|(_, version)| *version)
    }
}
