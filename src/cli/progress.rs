//! A line on stderr that shows how far a long command is: only to a person, and only once it has
//! taken more than a second.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::is_watched;
use crate::clock::Clock;

/// What passes in less time needs no line.
const PATIENCE: Duration = Duration::from_secs(1);
const REDRAWS_PER_SECOND: u8 = 10;

/// How far a command is.
pub(crate) struct Progress {
    bar: ProgressBar,
    clock: Clock,
    began: Duration,
    is_shown: bool,
}

impl Progress {
    /// Counts `what` towards `total`, where that is known.
    pub(crate) fn new(what: &'static str, total: Option<u64>, clock: &Clock) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = if total.is_some() {
            "{bar:30} {percent:>3} %  {msg}  {elapsed}"
        } else {
            "{spinner} {msg}  {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, clock: clock.clone(), began: clock.elapsed(), is_shown: false }
    }

    /// Says that it is at `done`, and what to write beside that.
    pub(crate) fn at(&mut self, done: u64, message: impl FnOnce() -> String) {
        if !is_watched() || self.clock.elapsed().saturating_sub(self.began) < PATIENCE {
            return;
        }
        if !self.is_shown {
            self.is_shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        }
        self.bar.set_position(done);
        self.bar.set_message(message());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
