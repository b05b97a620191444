//! When a worker that died is started again: at once at first, later and later while it dies again and again, never
//! after too many deaths in a row.

use std::time::Duration;

/// Before the second start.
const SHORTEST: Duration = Duration::from_millis(100);
/// Between later starts; each is twice the one before, up to this.
const LONGEST: Duration = Duration::from_secs(30);
/// A worker that was well for so long begins a new row.
const HEALTHY: Duration = Duration::from_secs(60);
/// Deaths in a row after which it is given up: enough to park three deadly records, each after its third death.
pub const DEATHS_MAX: u32 = 10;

/// The deaths of one row.
#[derive(Debug, Default)]
pub struct Deaths {
    pub in_a_row: u32,
}

impl Deaths {
    /// Counts a death after `well` at work; the pause before the next start, or `None` where it is given up.
    pub fn count(&mut self, well: Duration) -> Option<Duration> {
        if well >= HEALTHY {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        let pause = SHORTEST.saturating_mul(1 << (self.in_a_row - 1).min(20));
        (self.in_a_row < DEATHS_MAX).then(|| pause.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_longest_one_and_then_it_is_given_up() {
        let mut deaths = Deaths::default();
        let pauses: Vec<_> = (0..DEATHS_MAX).map(|_| deaths.count(Duration::ZERO).map(|p| p.as_millis())).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600].map(Some);
        assert_eq!((&pauses[..9], pauses[9]), (&expected[..], None));
        let last = Deaths { in_a_row: DEATHS_MAX - 2 }.count(Duration::ZERO);
        assert!(last.is_some_and(|pause| pause <= LONGEST));
    }

    #[test]
    fn a_minute_of_health_begins_anew() {
        let mut deaths = Deaths { in_a_row: DEATHS_MAX - 1 };
        assert_eq!(deaths.count(HEALTHY), Some(SHORTEST));
        assert_eq!(deaths.count(HEALTHY - Duration::from_millis(1)), Some(2 * SHORTEST));
    }
}
