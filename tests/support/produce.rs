//! Records into a topic, fast, and each one's delivery confirmed.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::{Kafka, SOON};

/// One record to produce; no payload is Kafka's null value.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// How the producer compresses its batches.
#[derive(Debug, Clone, Copy)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    Commit,
    Abort,
}

impl Kafka {
    /// Produces all records, snappy in batches, each partition's in their order; returns their number when the broker
    /// has confirmed every one.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) -> u64 {
        self.produce_with(topic, Codec::Snappy, records)
    }

    pub fn produce_with(&self, topic: &str, codec: Codec, records: impl IntoIterator<Item = Record>) -> u64 {
        let producer = self.producer(&[("compression.type", name(codec))]);
        send(&producer, topic, keyless(records))
    }

    /// Produces records with keys, each in its partition: what compaction goes by.
    pub fn produce_keyed(&self, topic: &str, records: impl IntoIterator<Item = (Vec<u8>, Record)>) -> u64 {
        let producer = self.producer(&[]);
        send(&producer, topic, records.into_iter().map(|(key, record)| (Some(key), record)))
    }

    /// Produces all records in one transaction. Records of an aborted one keep their offsets but are never to be seen
    /// by a `read_committed` reader; the end itself takes one offset more in each partition.
    pub fn produce_transaction(
        &self,
        topic: &str,
        end: TransactionEnd,
        records: impl IntoIterator<Item = Record>,
    ) -> u64 {
        let id = format!("{topic}-transactions");
        let producer = self.producer(&[("compression.type", "snappy"), ("transactional.id", &id)]);
        producer.init_transactions(SOON).expect("transactions");
        producer.begin_transaction().expect("transaction");
        let count = send(&producer, topic, keyless(records));
        match end {
            TransactionEnd::Commit => producer.commit_transaction(SOON).expect("commit"),
            TransactionEnd::Abort => producer.abort_transaction(SOON).expect("abort"),
        }
        count
    }

    /// Produces all records in a transaction that is still open when this returns.
    pub fn open_transaction(&self, topic: &str, records: impl IntoIterator<Item = Record>) -> OpenTransaction {
        let id = format!("{topic}-open");
        let producer = self.producer(&[("compression.type", "snappy"), ("transactional.id", &id)]);
        producer.init_transactions(SOON).expect("transactions");
        producer.begin_transaction().expect("transaction");
        send(&producer, topic, keyless(records));
        OpenTransaction(producer)
    }

    fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer<Reports> {
        producer(self.bootstrap(), settings)
    }
}

/// The same to brokers of any kind.
pub fn produce_to(bootstrap: &str, topic: &str, records: impl IntoIterator<Item = Record>) -> u64 {
    send(&producer(bootstrap, &[("compression.type", "snappy")]), topic, keyless(records))
}

fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseProducer<Reports> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("message.max.bytes", "8388608")
        .set("queue.buffering.max.messages", "200000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create_with_context(Reports::default()).expect("producer")
}

/// Its records stand in the topic; nobody who reads only what is committed sees them or what is behind them.
pub struct OpenTransaction(BaseProducer<Reports>);

impl OpenTransaction {
    pub fn commit(self) {
        self.0.commit_transaction(SOON).expect("commit");
    }
}

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::None => "none",
        Codec::Gzip => "gzip",
        Codec::Snappy => "snappy",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
    }
}

type Keyed = (Option<Vec<u8>>, Record);

fn keyless(records: impl IntoIterator<Item = Record>) -> impl Iterator<Item = Keyed> {
    records.into_iter().map(|record| (None, record))
}

fn send(producer: &BaseProducer<Reports>, topic: &str, records: impl Iterator<Item = Keyed>) -> u64 {
    let mut sent = 0;
    for (key, record) in records {
        let mut message =
            BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition).timestamp(record.timestamp_ms);
        (message.key, message.payload) = (key.as_deref(), record.payload.as_deref());
        while let Err((error, again)) = producer.send(message) {
            assert!(is_queue_full(&error), "produce to {topic}: {error}");
            message = again;
            producer.poll(Duration::from_millis(20));
        }
        sent += 1;
        if sent % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(SOON).expect("all records delivered in time");
    let reports = producer.context().0.lock().expect("reports");
    assert!(reports.failures.is_empty(), "{} not delivered: {}", reports.failures.len(), reports.failures[0]);
    assert_eq!(reports.delivered, sent, "records confirmed by the broker");
    sent
}

fn is_queue_full(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
}

/// What the broker has said about the records of one producer.
#[derive(Default)]
struct Reports(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    delivered: u64,
    failures: Vec<String>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = self.0.lock().expect("reports");
        match result {
            Ok(_) => counts.delivered += 1,
            Err((error, message)) => {
                let line = format!("{}/{}: {error}", message.topic(), message.partition());
                counts.failures.push(line);
            }
        }
    }
}
