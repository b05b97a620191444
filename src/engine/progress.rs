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

    pub fn show(&mut self, tasks: &[Task]) {
        let goal: u64 = tasks.iter().map(|t| t.flow.goal).sum();
        if goal > 0 {
            self.bar.set_length(goal);
            self.bar.set_position(tasks.iter().map(|t| t.counts().consumed).sum());
        }
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
