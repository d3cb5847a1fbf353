//! Operations that wait for their answers. An id is a place and its generation, so that a late answer can never reach
//! a later caller.

use lamina_env::time::Instant;
use lamina_types::Result;
use tokio::sync::oneshot;

/// Where an answer goes.
pub type Waiting<A> = oneshot::Sender<Result<A>>;

/// A table of operations.
pub struct Slots<A> {
    slots: Vec<Slot<A>>,
    free: Vec<u32>,
}

struct Slot<A> {
    generation: u32,
    open: Option<Open<A>>,
}

/// An operation without an answer.
pub struct Open<A> {
    /// Who waits; `None`: nobody any more, but the id is not free before the answer has come.
    pub waiting: Option<Waiting<A>>,
    /// When it is too late.
    pub deadline: Instant,
    /// The bytes that it holds of the credits, once it was sent.
    pub bytes: usize,
    /// The transport has taken it.
    pub sent: bool,
}

impl<A> Slots<A> {
    pub fn new() -> Slots<A> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    /// Opens an operation and gives its id.
    pub fn open(&mut self, open: Open<A>) -> u64 {
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(Slot { generation: 0, open: None });
                (self.slots.len() - 1) as u32
            }
        };
        match self.slots.get_mut(at as usize) {
            Some(slot) => {
                slot.generation = slot.generation.wrapping_add(1);
                slot.open = Some(open);
                (u64::from(slot.generation) << 32) | u64::from(at)
            }
            None => 0,
        }
    }

    /// The operation with this id, if it is open.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Open<A>> {
        let slot = self.slots.get_mut(id as u32 as usize)?;
        if slot.generation == (id >> 32) as u32 { slot.open.as_mut() } else { None }
    }

    /// Closes the operation with this id and frees its place; `None`: it is not open, the answer is late or twice.
    pub fn close(&mut self, id: u64) -> Option<Open<A>> {
        let at = id as u32;
        let slot = self.slots.get_mut(at as usize)?;
        if slot.generation != (id >> 32) as u32 {
            return None;
        }
        let open = slot.open.take()?;
        self.free.push(at);
        Some(open)
    }

    /// Closes all.
    pub fn close_all(&mut self) -> Vec<Open<A>> {
        let mut closed = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if let Some(open) = slot.open.take() {
                self.free.push(at as u32);
                closed.push(open);
            }
        }
        closed
    }

    /// Takes those who have waited until now, and tells when the next one will have. Operations that were not sent yet
    /// are closed; `true` stands beside those that were sent.
    pub fn expire(&mut self, now: Instant) -> (Vec<(Waiting<A>, bool)>, Option<Instant>) {
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        for slot in &mut self.slots {
            let Some(open) = &mut slot.open else { continue };
            if open.waiting.is_none() {
                continue;
            }
            if open.deadline > now {
                next = Some(next.map_or(open.deadline, |next| next.min(open.deadline)));
            } else if let Some(waiting) = open.waiting.take() {
                expired.push((waiting, open.sent));
            }
        }
        (expired, next)
    }

    /// How many are open.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_env::time::{self, Duration};

    fn open(deadline: Instant) -> (Open<u8>, oneshot::Receiver<Result<u8>>) {
        let (waiting, answer) = oneshot::channel();
        (Open { waiting: Some(waiting), deadline, bytes: 0, sent: true }, answer)
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_caller_of_the_place() {
        let mut slots = Slots::new();
        let now = time::now();
        let (first, _first_answer) = open(now);
        let (second, _second_answer) = open(now);
        let old = slots.open(first);
        assert!(slots.close(old).is_some());
        let new = slots.open(second);
        assert_eq!(old as u32, new as u32, "the place is used again");
        assert!(slots.close(old).is_none() && slots.get_mut(old).is_none());
        assert!(slots.close(new).is_some() && slots.close(new).is_none());
        assert_eq!(slots.len(), 0);
    }

    #[test]
    fn an_expired_operation_keeps_its_place_until_it_is_answered() {
        let mut slots = Slots::new();
        let now = time::now();
        let (late, mut late_answer) = open(now);
        let (early, mut early_answer) = open(now + Duration::from_secs(5));
        let late = slots.open(late);
        let early = slots.open(early);
        let (expired, next) = slots.expire(now);
        assert_eq!((expired.len(), next), (1, Some(now + Duration::from_secs(5))));
        drop(expired);
        assert!(late_answer.try_recv().is_err());
        assert_eq!(slots.len(), 2);
        assert!(slots.close(late).is_some_and(|open| open.waiting.is_none()));
        let waiting = slots.close(early).and_then(|open| open.waiting).unwrap();
        waiting.send(Ok(3)).unwrap();
        assert_eq!(early_answer.try_recv().unwrap(), Ok(3));
    }
}
