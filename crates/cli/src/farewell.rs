//! What is said when somebody presses Ctrl-C.

use std::sync::Arc;

use parking_lot::Mutex;

type Words = Box<dyn Fn() -> String + Send>;

/// A sentence that a command keeps ready. Cheap to clone.
#[derive(Clone, Default)]
pub struct Farewell(Arc<Mutex<Option<Words>>>);

impl Farewell {
    /// From now on, say this.
    pub fn set(&self, words: impl Fn() -> String + Send + 'static) {
        *self.0.lock() = Some(Box::new(words));
    }

    /// The sentence.
    pub fn sentence(&self) -> String {
        match self.0.lock().as_ref() {
            Some(words) => words(),
            None => "interrupted; a write that had not been answered may have been done or not".to_owned(),
        }
    }
}
