//! How long to wait before what failed is tried again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Health for so long forgets all failures.
const HEALTHY: Duration = Duration::from_secs(60);

/// 100 ms, doubled with every failure in a row up to 30 s; 60 s of health begin a new row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    pub in_a_row: u32,
    again_at: Option<Instant>,
}

impl Backoff {
    /// It failed after `well` in health: how long to wait.
    pub fn after(&mut self, well: Duration) -> Duration {
        if well >= HEALTHY {
            self.in_a_row = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.in_a_row.min(20)).min(LONGEST);
        self.in_a_row += 1;
        pause
    }

    /// It failed, and was well since it was tried last: when to try again.
    pub fn next(&mut self, now: Instant) -> Instant {
        let well = self.again_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let pause = self.after(well);
        *self.again_at.insert(now + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_forgotten_after_a_minute_of_health() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let next = backoff.next(now);
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses[..10], [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!((pauses[39], backoff.in_a_row), (30_000, 40));
        now += HEALTHY - Duration::from_millis(1);
        now = backoff.next(now);
        assert_eq!(backoff.in_a_row, 41);
        now += HEALTHY;
        assert_eq!((backoff.next(now) - now, backoff.in_a_row), (FIRST, 1));
    }
}
