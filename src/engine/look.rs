//! Looks at the tasks' counters, a second apart: what has changed between two of them is a rate.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Time between two looks.
const BETWEEN: Duration = Duration::from_secs(1);
/// Looks that are kept: rates are of the last ten seconds.
const KEPT: usize = 11;

/// What was seen, oldest first, and how often each task was started.
#[derive(Default)]
pub struct Looks {
    seen: VecDeque<(Instant, BTreeMap<String, Seen>)>,
    hung: BTreeMap<String, u64>,
}

/// A task's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub consumed: u64,
    pub lag: Option<u64>,
}

/// How fast a task is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// Records a second.
    pub rate: f64,
    /// Seconds until the lag is gone; `None` where it does not shrink, or nobody knows it.
    pub catch_up_s: Option<u64>,
}

impl Looks {
    pub fn is_due(&self) -> bool {
        self.seen.back().is_none_or(|(at, _)| at.elapsed() >= BETWEEN)
    }

    pub fn note(&mut self, tasks: BTreeMap<String, Seen>) {
        self.seen.push_back((Instant::now(), tasks));
        if self.seen.len() > KEPT {
            self.seen.pop_front();
        }
    }

    /// A task was started.
    pub fn hung(&mut self, task: &str) {
        *self.hung.entry(task.into()).or_default() += 1;
    }

    pub fn restarts(&self, task: &str) -> u64 {
        self.hung.get(task).map_or(0, |hung| hung.saturating_sub(1))
    }

    /// From the oldest look that shows the task to what is seen now.
    pub fn pace(&self, task: &str, now: Seen) -> Pace {
        let oldest = self.seen.iter().find_map(|(at, tasks)| Some((*at, *tasks.get(task)?)));
        oldest.map_or_else(Pace::default, |(at, then)| Pace::between(then, now, at.elapsed()))
    }
}

impl Pace {
    fn between(then: Seen, now: Seen, time: Duration) -> Pace {
        let seconds = time.as_secs_f64();
        // A task that was started anew may count from an earlier place.
        let done = now.consumed.saturating_sub(then.consumed);
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let catch_up_s = match (then.lag, now.lag) {
            (_, Some(0)) => Some(0),
            (Some(before), Some(lag)) if lag < before => {
                Some((lag as f64 / (before - lag) as f64 * seconds).ceil() as u64)
            }
            _ => None,
        };
        Pace { rate, catch_up_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_follow_from_two_looks() {
        let pace = |then: (u64, Option<u64>), now: (u64, Option<u64>)| {
            let seen = |(consumed, lag)| Seen { consumed, lag };
            let Pace { rate, catch_up_s } = Pace::between(seen(then), seen(now), Duration::from_secs(10));
            (rate, catch_up_s)
        };
        assert_eq!(pace((100, Some(1_000)), (600, Some(600))), (50.0, Some(15)));
        assert_eq!(pace((100, Some(1_000)), (600, Some(1_000))), (50.0, None));
        assert_eq!(pace((100, None), (600, Some(600))), (50.0, None));
        assert_eq!(pace((100, Some(1_000)), (600, None)), (50.0, None));
        assert_eq!(pace((100, None), (600, Some(0))), (50.0, Some(0)));
        assert_eq!(pace((600, Some(0)), (100, Some(0))), (0.0, Some(0)));
    }
}
