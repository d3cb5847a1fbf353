//! Whom to ask: the frontend that answered last, the leader that another one named, else the next in turn.

use std::sync::Arc;

use lamina_types::{Error, Kind, Reason};
use parking_lot::Mutex;

/// Frontends of a store.
pub(crate) struct Route(Mutex<State>);

struct State {
    /// Given by the user, then learnt.
    addresses: Vec<Arc<str>>,
    present: usize,
}

impl Route {
    /// A route to these frontends.
    pub fn new(addresses: Vec<String>) -> Route {
        let addresses = addresses.into_iter().map(Arc::from).collect();
        Route(Mutex::new(State { addresses, present: 0 }))
    }

    /// The frontend to ask now.
    pub fn address(&self) -> Arc<str> {
        let state = self.0.lock();
        state.addresses.get(state.present).cloned().unwrap_or_else(|| "".into())
    }

    /// All frontends that are known.
    pub fn addresses(&self) -> Vec<String> {
        self.0.lock().addresses.iter().map(|address| address.to_string()).collect()
    }

    /// Learns from a failure of `asked` whom to ask next.
    pub fn learn(&self, asked: &str, error: &Error) {
        let mut state = self.0.lock();
        if state.addresses.get(state.present).is_none_or(|present| **present != *asked) {
            // Somebody else has learnt something already.
            return;
        }
        match error.detail("leader_address").filter(|leader| *leader != asked) {
            Some(leader) => state.go_to(leader),
            None if error.kind() == Kind::Unavailable || error.reason() == Reason::DeadlineExceeded => {
                let count = state.addresses.len().max(1);
                state.present = (state.present + 1) % count;
            }
            None => {}
        }
    }
}

impl State {
    fn go_to(&mut self, address: &str) {
        let known = self.addresses.iter().position(|known| **known == *address);
        self.present = known.unwrap_or_else(|| {
            self.addresses.push(address.into());
            self.addresses.len() - 1
        });
    }
}

/// Whether a call may be repeated after this failure.
pub(crate) fn may_repeat(error: &Error) -> bool {
    match error.kind() {
        Kind::Unavailable => true,
        Kind::ResourceExhausted => error.retry_after().is_some(),
        Kind::Aborted => error.reason() == Reason::StateMoved || error.reason() == Reason::StaleEpoch,
        // A store gives up after half a minute at the latest: the caller may have more time than that.
        _ => matches!(
            error.reason(),
            Reason::NodeMismatch | Reason::ClientTokenExpired | Reason::ClockAhead | Reason::DeadlineExceeded
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_was_named_is_asked_next_and_else_the_next_in_turn() {
        let route = Route::new(vec!["a".into(), "b".into()]);
        let elsewhere = Error::new(Reason::NotOwner, "").with("leader_address", "c");
        route.learn("a", &elsewhere);
        assert_eq!(&*route.address(), "c");
        route.learn("a", &Error::new(Reason::Unreachable, ""));
        assert_eq!(&*route.address(), "c", "a late failure of another one changes nothing");
        route.learn("c", &Error::new(Reason::Unreachable, ""));
        assert_eq!(&*route.address(), "a");
        route.learn("a", &Error::new(Reason::KeyEmpty, ""));
        assert_eq!(&*route.address(), "a");
    }
}
