//! How long lines waited that carry the time of their writing.

use std::time::{Duration, Instant};

use logmill::flow::cluster::Cluster;
use logmill::flow::record::{From, Item};
use logmill::reader::kafka::Fetch;

use crate::Fault;
use crate::broker::Broker;

pub const HEADING: &str = "| records | p50 ms | p90 ms | p99 ms | p99.9 ms | worst ms |";
/// More than the time in which lines are written: then the rest is not waited for any longer.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Lines of the beginning, in which all comes into motion, do not count.
const UNCOUNTED: Duration = Duration::from_secs(3);
const SENT: &[u8] = b"\"sent_us\":";

/// What was seen of them.
#[derive(Default)]
pub struct Waited {
    seen: u64,
    /// Microseconds, of each that counts.
    times: Vec<u64>,
}

impl Waited {
    /// A line is seen `now`; both times count from the writer's `begin`.
    pub fn line(&mut self, line: &[u8], now: Duration) -> Result<(), Fault> {
        let sent = sent_us(line).ok_or("a line without its time")?;
        self.seen += 1;
        if Duration::from_micros(sent) >= UNCOUNTED {
            self.times.push((now.as_micros() as u64).saturating_sub(sent));
        }
        Ok(())
    }

    /// More are to come.
    ///
    /// # Errors
    /// They have not come within `longest` after `begin`.
    pub fn is_short_of(&self, lines: u64, begin: Instant, longest: Duration) -> Result<bool, Fault> {
        if self.seen < lines && begin.elapsed() > longest {
            return Err(format!("{} of {lines} lines have come", self.seen).into());
        }
        Ok(self.seen < lines)
    }

    /// As a consumer sees the topic's records, until so many have come.
    pub fn of_topic(
        broker: &Broker,
        (topic, partitions): (&str, i32),
        lines: u64,
        begin: Instant,
        longest: Duration,
    ) -> Result<Waited, Fault> {
        let mut fetch = Fetch::open(&Cluster::of_brokers(&broker.address), "waited", &[topic.to_string()])?;
        let places: Vec<_> = (0..partitions).map(|partition| From { topic, partition, offset: 0, epoch: -1 }).collect();
        fetch.assign(&places)?;
        let mut waited = Waited::default();
        while waited.is_short_of(lines, begin, longest)? {
            let mut batch = fetch.next_batch(Duration::from_millis(100));
            let now = begin.elapsed();
            while let Some(item) = batch.next_item() {
                if let Item::Record(_, record) = item {
                    waited.line(record.value.unwrap_or_default(), now)?;
                }
            }
        }
        Ok(waited)
    }

    /// Cells of a table.
    pub fn percentiles(mut self) -> String {
        self.times.sort_unstable();
        let last = self.times.len().saturating_sub(1) as f64;
        let at = |part: f64| self.times.get((last * part) as usize).map_or(f64::NAN, |us| *us as f64 / 1000.0);
        let [a, b, c, d, e] = [0.5, 0.9, 0.99, 0.999, 1.0].map(at);
        format!("| {} | {a:.2} | {b:.2} | {c:.2} | {d:.2} | {e:.2} |", self.times.len())
    }
}

/// When the line was written, in microseconds of the writer's clock.
fn sent_us(line: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, SENT)? + SENT.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
}
