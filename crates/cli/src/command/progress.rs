//! A bar on standard error, if somebody looks at it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lamina_env::time::{self, Duration, Instant};

use crate::figures;

const STEPS: u64 = 1000;
const REDRAW: Duration = Duration::from_millis(100);

/// A bar with words.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// A bar for `name`. Without a known end there are only words.
    pub fn new(name: &str, end_is_known: bool) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
        let template = if end_is_known { "{prefix}  {bar:24}  {msg}" } else { "{prefix}  {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▓░"));
        }
        bar.set_prefix(name.to_owned());
        Progress { bar, start: time::now(), drawn: None }
    }

    /// Since the begin.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Shows how far it is, at most ten times a second. `words` is called only then.
    pub fn show(&mut self, done: Option<f64>, words: impl FnOnce() -> String) {
        if self.bar.is_hidden() || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        self.drawn = Some(time::now());
        let left = done.filter(|done| *done > 0.01).map(|done| {
            let left = self.start.elapsed().as_secs_f64() * (1.0 - done) / done;
            format!(" · {} left", figures::duration(Duration::from_secs_f64(left.max(0.0))))
        });
        self.bar.set_position((done.unwrap_or(0.0).clamp(0.0, 1.0) * STEPS as f64) as u64);
        self.bar.set_message(format!("{}{}", words(), left.unwrap_or_default()));
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
