//! Gauges: numbers that a thread writes as it works and any other may read. Neither waits for the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock;

/// Buckets of a histogram.
pub const BUCKETS: usize = 16;

/// Values by size: bucket n counts those up to 4^n, the last one also what is larger.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    pub buckets: [u64; BUCKETS],
    pub sum: u64,
}

impl Histogram {
    /// Counts `value` as often as `times` says.
    pub fn observe(&self, value: u64, times: u64) {
        self.buckets[bucket(value)].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    pub fn read(&self) -> Spread {
        Spread {
            buckets: std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Spread {
    /// The largest value that bucket n counts; `None` for the last one.
    pub fn bound(n: usize) -> Option<u64> {
        (n + 1 < BUCKETS).then(|| 1 << (2 * n))
    }

    pub fn add(&mut self, other: Spread) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(a, b)| *a += b);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

fn bucket(value: u64) -> usize {
    let n = if value < 2 { 0 } else { (value - 1).ilog2() / 2 + 1 };
    (n as usize).min(BUCKETS - 1)
}

/// Since when a thread has been at its present piece of work.
#[derive(Debug, Default)]
pub struct Beat {
    /// The process's milliseconds; 0: it waits for work.
    since_ms: AtomicU64,
}

impl Beat {
    pub fn begin(&self) {
        self.since_ms.store(clock::running_ms(), Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.since_ms.store(0, Ordering::Relaxed);
    }

    /// `None` where it waits for work.
    pub fn at_it_for(&self) -> Option<Duration> {
        let since = self.since_ms.load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_millis(clock::running_ms().saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_stands_in_the_first_bucket_that_holds_it() {
        for value in (0..1000).chain([1 << 20, (1 << 20) + 1, u64::MAX]) {
            let n = bucket(value);
            assert!(Spread::bound(n).is_none_or(|bound| value <= bound), "{value}");
            assert!(n == 0 || Spread::bound(n - 1).is_some_and(|below| value > below), "{value}");
        }
        let histogram = Histogram::default();
        histogram.observe(5, 3);
        histogram.observe(u64::MAX, 0);
        assert_eq!((histogram.read().buckets[2], histogram.read().sum), (3, 15));
    }

    #[test]
    fn a_beat_that_has_ended_is_at_nothing() {
        let beat = Beat::default();
        assert_eq!(beat.at_it_for(), None);
        beat.begin();
        assert!(beat.at_it_for().is_some());
        beat.end();
        assert_eq!(beat.at_it_for(), None);
    }
}
