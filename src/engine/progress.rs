//! A bar on stderr for a run that has an end.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::task::Task;

/// Shows records done, rate and time left; nothing where it is not wanted.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new(wanted: bool) -> Progress {
        let bar = ProgressBar::new(0);
        bar.set_draw_target(if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        let template = "{bar:30} {human_pos}/{human_len} records  {per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar }
    }

    pub fn show<'t>(&mut self, tasks: impl Iterator<Item = &'t Task>) {
        let add = |(goal, done): (u64, u64), t: &Task| (goal + t.flow.goal, done + t.counts().consumed);
        let (goal, done) = tasks.fold((0, 0), add);
        if goal > 0 {
            self.bar.set_length(goal);
            self.bar.set_position(done);
        }
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
