//! How long to wait before something that failed is tried again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Health for so long forgets all failures.
const HEALTHY: Duration = Duration::from_secs(60);

/// 100 ms, doubled with every failure up to 30 s, and 100 ms again after 60 s without one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pause {
    length: Duration,
    failed: Option<Instant>,
}

impl Pause {
    /// It failed: when to try again.
    pub fn next(&mut self, now: Instant) -> Instant {
        let healthy = self.failed.is_none_or(|at| now.saturating_duration_since(at + self.length) >= HEALTHY);
        self.length = if healthy { FIRST } else { (self.length * 2).min(LONGEST) };
        self.failed = Some(now);
        now + self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_forgotten_after_a_minute_of_health() {
        let mut pause = Pause::default();
        let mut now = Instant::now();
        let mut lengths = Vec::new();
        for _ in 0..10 {
            let next = pause.next(now);
            lengths.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(lengths, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        now += HEALTHY;
        assert_eq!(pause.next(now) - now, FIRST);
    }
}
