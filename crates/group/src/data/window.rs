//! The memory of request ids of one tablet (§5.3): a retry takes effect at most once (invariant W2).
//!
//! The window has a floor. An id is forgotten only together with all ids whose token has a base below the floor, and
//! a base below the floor is refused. So forgetting never turns a retry into a second write; the price is that a
//! client whose token is old is told to read and to make a new one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lamina_types::{RequestId, Version};

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
    /// All results of all tokens.
    pub(super) results: usize,
}

/// What is remembered of one client token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Token {
    /// The client has the answers to all lower numbers.
    pub(super) done_below: u64,
    /// Numbers and versions of effective writes from `done_below` on, ascending by number. Mostly appended to.
    pub(super) results: VecDeque<(u64, Version)>,
}

impl Window {
    /// Whether a write with this id may take effect at `version`: `None`; else what it is answered.
    pub(super) fn check(
        &self,
        id: &RequestId,
        version: Version,
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
        let token = self.tokens.get(&(base, id.token.id))?;
        if id.seq < token.done_below {
            return Some(WriteOutcome::AlreadyAnswered);
        }
        if let Some(version) = token.result(id.seq) {
            return Some(WriteOutcome::Remembered { version });
        }
        let open = token.results.len() - token.below(id.done_below);
        (open >= config.open_requests_max as usize).then_some(WriteOutcome::TooManyOpen)
    }

    /// Stores the result of an effective write, then forgets what is old or too much.
    pub(super) fn remember(&mut self, id: &RequestId, version: Version, config: &GroupConfig) {
        let token = Arc::make_mut(self.tokens.entry((id.token.base, id.token.id)).or_default());
        token.done_below = token.done_below.max(id.done_below);
        let answered = token.below(token.done_below);
        token.results.drain(..answered);
        let at = token.below(id.seq);
        token.results.insert(at, (id.seq, version));
        self.results = self.results + 1 - answered;
        self.raise_floor(version.minus_ms(config.dedupe_ms));
        while self.results > config.dedupe_results_max as usize {
            let Some(((base, _), _)) = self.tokens.first_key_value() else { break };
            self.raise_floor(base.next());
        }
    }

    fn raise_floor(&mut self, to: Version) {
        self.floor = self.floor.max(to);
        while let Some(oldest) = self.tokens.first_entry().filter(|oldest| oldest.key().0 < self.floor) {
            self.results -= oldest.remove().results.len();
        }
    }

    /// A window as it was written out.
    pub(super) fn restored(floor: Version, tokens: Tokens) -> Window {
        let results = tokens.values().map(|token| token.results.len()).sum();
        Window { floor, tokens, results }
    }
}

impl Token {
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
