//! A look at what passes. While nobody looks it costs a reader one relaxed load a batch; while somebody does, some
//! samples a second go onto a small shelf, and one that would have to wait for it is left out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem::Finder;

use super::Shared;
use crate::flow::clock;
use crate::flow::record::{Record, Sample};

/// Samples that one reader gives in a second.
const SAMPLES_PER_SECOND: u32 = 50;
/// Samples that wait to be taken.
const SHELF_MAX: usize = 200;
/// Bytes of a value or line that are shown.
const SHOWN_MAX: usize = 2048;
/// How long after somebody has looked last.
const WANTED_MS: u64 = 3_000;

/// The shelf of one task.
#[derive(Debug, Default)]
pub struct Tap {
    /// In milliseconds of [`clock::running_ms`]; 0 while nobody looks.
    wanted_until: AtomicU64,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    filter: Option<Finder<'static>>,
    samples: VecDeque<Sample>,
}

impl Tap {
    /// What has been put there since it was asked last, oldest first; from now on, and for `WANTED_MS`, readers put
    /// samples of records there whose value holds `filter`.
    ///
    /// # Errors
    /// Somebody else looks for something else.
    pub fn take(&self, filter: Option<&str>) -> Result<Vec<Sample>, String> {
        let now = clock::running_ms();
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let needle = filter.filter(|text| !text.is_empty()).map(str::as_bytes);
        if shelf.filter.as_ref().map(|finder| finder.needle()) != needle {
            if now < self.wanted_until.load(Ordering::Relaxed) {
                return Err("somebody else taps this task with another filter; wait until he has ended".into());
            }
            shelf.filter = needle.map(|needle| Finder::new(needle).into_owned());
            shelf.samples.clear();
        }
        self.wanted_until.store(now + WANTED_MS, Ordering::Relaxed);
        Ok(shelf.samples.drain(..).collect())
    }
}

/// A reader's end of the tap.
pub struct Tapping {
    shared: Arc<Shared>,
    is_on: bool,
    filter: Option<Finder<'static>>,
    /// When the second began for which `left` samples remain; `None` before the first.
    second_ms: Option<u64>,
    left: u32,
    /// The record in hand is a sample.
    is_sample: bool,
    line: Vec<u8>,
}

impl Tapping {
    pub fn new(shared: Arc<Shared>) -> Tapping {
        Tapping { shared, is_on: false, filter: None, second_ms: None, left: 0, is_sample: false, line: Vec::new() }
    }

    /// Once a batch.
    pub fn look(&mut self) {
        let until = self.shared.tap.wanted_until.load(Ordering::Relaxed);
        self.is_on = until != 0 && self.is_wanted(until);
    }

    fn is_wanted(&mut self, until: u64) -> bool {
        let now = clock::running_ms();
        if now >= until {
            // Whoever asks again meanwhile has stored another number.
            let _ = self.shared.tap.wanted_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
            return false;
        }
        if self.second_ms.is_none_or(|began| now >= began + 1000)
            && let Ok(shelf) = self.shared.tap.shelf.try_lock()
        {
            (self.second_ms, self.left) = (Some(now), SAMPLES_PER_SECOND);
            self.filter = shelf.filter.clone();
        }
        true
    }

    /// A record is taken in hand.
    pub fn begin(&mut self, value: Option<&[u8]>) {
        if self.is_on {
            let found = |finder: &Finder<'_>| value.is_some_and(|value| finder.find(value).is_some());
            self.is_sample = self.left > 0 && self.filter.as_ref().is_none_or(found);
            self.line.clear();
        }
    }

    /// Its line, as it stands in the ring.
    pub fn line(&mut self, line: &[u8]) {
        if self.is_on && self.is_sample {
            self.line.clear();
            self.line.extend_from_slice(&line[..line.len().min(SHOWN_MAX)]);
        }
    }

    /// What became of it.
    pub fn end(&mut self, record: &Record<'_>, value: Option<&[u8]>, k: u32, ended: &str) {
        if self.is_on && std::mem::take(&mut self.is_sample) {
            let Ok(mut shelf) = self.shared.tap.shelf.try_lock() else { return };
            if shelf.samples.len() < SHELF_MAX {
                self.left -= 1;
                shelf.samples.push_back(Sample {
                    topic: record.topic.into(),
                    partition: record.partition,
                    offset: record.offset,
                    k,
                    ended: ended.into(),
                    value: shown(value.unwrap_or(b"(none)")),
                    line: shown(self.line.strip_suffix(b"\n").unwrap_or(&self.line)),
                });
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(tapping: &mut Tapping, values: &[&str]) {
        tapping.look();
        for (offset, value) in (0..).zip(values) {
            let value = value.as_bytes();
            let record =
                Record { topic: "t", partition: 1, offset, timestamp_ms: 0, leader_epoch: -1, value: Some(value) };
            tapping.begin(record.value);
            tapping.line(&[b"> ", value, b"\n"].concat());
            tapping.end(&record, record.value, 0, "written");
        }
    }

    fn offsets(samples: &[Sample]) -> Vec<i64> {
        samples.iter().map(|sample| sample.offset).collect()
    }

    #[test]
    fn nothing_is_kept_while_nobody_looks_and_little_while_somebody_does() {
        let shared = Arc::new(Shared::default());
        let mut tapping = Tapping::new(shared.clone());
        pass(&mut tapping, &["a"]);
        assert_eq!(shared.tap.take(None), Ok(Vec::new()));
        pass(&mut tapping, &["a", "b"]);
        let samples = shared.tap.take(None).unwrap();
        assert_eq!(offsets(&samples), [0, 1]);
        assert_eq!((&*samples[1].value, &*samples[1].line, &*samples[1].ended), ("b", "> b", "written"));
        pass(&mut tapping, &["x"; 1000]);
        assert_eq!(shared.tap.take(None).unwrap().len(), SAMPLES_PER_SECOND as usize - 2);
    }

    #[test]
    fn a_filter_is_one_text_at_a_time() {
        let shared = Arc::new(Shared::default());
        let mut tapping = Tapping::new(shared.clone());
        assert_eq!(shared.tap.take(Some("needle")), Ok(Vec::new()));
        pass(&mut tapping, &["hay", "a needle in it", "hay"]);
        assert!(shared.tap.take(None).is_err());
        assert_eq!(offsets(&shared.tap.take(Some("needle")).unwrap()), [1]);
    }

    #[test]
    fn a_shelf_that_is_in_use_is_not_waited_for() {
        let shared = Arc::new(Shared::default());
        let mut tapping = Tapping::new(shared.clone());
        shared.tap.take(None).unwrap();
        pass(&mut tapping, &["a"]);
        let shelf = shared.tap.shelf.lock().unwrap();
        pass(&mut tapping, &["b"]);
        assert_eq!(shelf.samples.len(), 1);
    }
}
