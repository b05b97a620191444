//! The demo's Kafka: librdkafka's mock cluster in this process, and the producer that fills its topic.
//!
//! The mock keeps 5 MiB of a partition and drops the oldest without a word, so records go in only as fast as they are
//! consumed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, DeliveryResult, Producer, ProducerContext};

use super::made;

pub const TOPIC: &str = "mulog_clean_24";
pub const PARTITIONS: u64 = 6;

/// Records that may be in the topic and not yet consumed: all of them in one partition would not fill it.
const AHEAD_MAX: u64 = 6000;
/// Records between two looks at what was consumed.
pub const STEP: u64 = 200;
/// Bytes of a batch, before compression.
const BATCH_BYTES: usize = 256 << 10;
/// Longest wait for the last confirmations.
const FLUSH: Duration = Duration::from_secs(5);

/// The broker with its producer. It stays on the thread that made it, and ends with this value.
pub struct Feed {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer<Confirmed>,
    confirmed: Arc<AtomicU64>,
    sent: u64,
    /// Of all values sent.
    pub bytes: u64,
    /// The time of record 0, seconds since the epoch.
    began_s: i64,
    per_second: u64,
}

impl Feed {
    /// `began_s`: the time of the first record, seconds since the epoch; they tell of `per_second` a second.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn start(began_s: i64, per_second: u64) -> Result<Feed, KafkaError> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(TOPIC, PARTITIONS as i32, 1)?;
        let confirmed = Arc::new(AtomicU64::new(0));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("compression.type", "snappy")
            .set("linger.ms", "5")
            .set("batch.size", BATCH_BYTES.to_string())
            .set("enable.idempotence", "true")
            .create_with_context(Confirmed(confirmed.clone()))?;
        Ok(Feed { cluster, producer, confirmed, sent: 0, bytes: 0, began_s, per_second })
    }

    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Records given to the producer.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The value of record number `n`.
    pub fn value(&self, n: u64) -> String {
        made::value(n, self.time_s(n))
    }

    fn time_s(&self, n: u64) -> i64 {
        self.began_s + (n / self.per_second) as i64
    }

    /// True where more may go in while `consumed` have come out; else a moment was waited.
    pub fn has_room(&self, consumed: u64) -> bool {
        self.producer.poll(Duration::ZERO);
        let room = self.sent.saturating_sub(consumed) + STEP <= AHEAD_MAX;
        if !room {
            self.wait(Duration::from_millis(1));
        }
        room
    }

    /// The next few records.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn send(&mut self, count: u64) -> Result<(), KafkaError> {
        for n in self.sent..self.sent + count {
            let value = self.value(n);
            let partition = (n % PARTITIONS) as i32;
            let mut record =
                BaseRecord::<(), str>::to(TOPIC).partition(partition).timestamp(self.time_s(n) * 1000).payload(&value);
            while let Err((error, again)) = self.producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error);
                }
                self.wait(Duration::from_millis(10));
                record = again;
            }
            self.bytes += value.len() as u64;
            self.sent += 1;
        }
        Ok(())
    }

    /// Serves the producer for so long.
    pub fn wait(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// Until the broker has confirmed every record.
    ///
    /// # Errors
    /// What it has not confirmed.
    pub fn flush(&self) -> Result<(), String> {
        self.producer.flush(FLUSH).map_err(|e| format!("the demo's broker does not confirm: {e}"))?;
        match self.sent - self.confirmed.load(Ordering::Relaxed) {
            0 => Ok(()),
            refused => Err(format!("the demo's broker has refused {refused} records")),
        }
    }
}

/// Counts the records that the broker has taken.
struct Confirmed(Arc<AtomicU64>);

impl ClientContext for Confirmed {}

impl ProducerContext for Confirmed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_consumed_never_fills_a_partition() {
        let largest = (0..20_000).map(|n| made::value(n, i64::from(u32::MAX)).len()).max().unwrap_or(0);
        // Beside the records stands the batch that the first of them came in.
        assert!(AHEAD_MAX as usize * (largest + 20) + BATCH_BYTES < 5 << 20, "{largest} bytes");
    }
}
