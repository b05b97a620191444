//! The places in a compacted topic, read back: the newest committed value of every key.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::flow::cluster::Cluster;

/// Longest wait for an answer about the topic.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for a record; then it is asked whether to go on.
const STEP: Duration = Duration::from_millis(500);
/// Longest silence of a broker that still has records for us.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether transactions of others are over, and longest wait for that.
const LOOK: Duration = Duration::from_millis(50);
const OTHERS: Duration = Duration::from_secs(2);

/// Why the places are not known.
#[derive(Debug, thiserror::Error)]
#[error("topic {topic}: {source}")]
pub struct RecallError {
    pub topic: String,
    pub source: Obstacle,
}

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("partition {0} has places behind a transaction that is not over: its task ends it, or its broker in time")]
    Open(i32),
}

/// What librdkafka has to say comes back as an error where it matters.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        log::debug!("{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// Reads the topic from its beginning to its end, as long as `goes_on`. What belongs to no committed transaction is not
/// seen.
///
/// # Errors
/// The topic is not there, or cannot be read to its end.
pub fn recall(
    cluster: &Cluster,
    topic: &str,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, RecallError> {
    read(cluster, topic, goes_on).map_err(|source| RecallError { topic: topic.into(), source })
}

fn read(
    cluster: &Cluster,
    topic: &str,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Obstacle> {
    let consumer = consumer(cluster, "read_committed")?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    let partitions = found.map_or(0, |t| t.partitions().len()) as i32;
    if partitions == 0 {
        return Err(KafkaError::MetadataFetch(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition).into());
    }
    await_others(cluster, &consumer, topic, partitions, goes_on)?;
    let mut places = TopicPartitionList::new();
    for partition in 0..partitions {
        places.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let (mut values, mut heard) = (BTreeMap::new(), Instant::now());
    let mut open: HashSet<i32> = (0..partitions).collect();
    while !open.is_empty() {
        if !goes_on() {
            return Err(KafkaError::Canceled.into());
        }
        match consumer.poll(STEP) {
            Some(Ok(message)) => {
                let key = message.key().unwrap_or_default().to_vec();
                match message.payload() {
                    Some(value) => drop(values.insert(key, value.to_vec())),
                    None => drop(values.remove(&key)),
                }
            }
            // It may come again, where another task writes.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) if heard.elapsed() > SILENCE => return Err(error.into()),
            None if heard.elapsed() > SILENCE => return Err(KafkaError::Canceled.into()),
            Some(Err(_)) | None => continue,
        }
        heard = Instant::now();
    }
    Ok(values)
}

/// Tasks may share the topic: what stands behind another one's open transaction is not to be read before that is over.
fn await_others(
    cluster: &Cluster,
    committed: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: i32,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<(), Obstacle> {
    let all = consumer(cluster, "read_uncommitted")?;
    let began = Instant::now();
    for partition in 0..partitions {
        let (_, end) = all.fetch_watermarks(topic, partition, ANSWER)?;
        while committed.fetch_watermarks(topic, partition, ANSWER)?.1 < end {
            if !goes_on() {
                return Err(KafkaError::Canceled.into());
            }
            if began.elapsed() > OTHERS {
                return Err(Obstacle::Open(partition));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn consumer(cluster: &Cluster, isolation: &str) -> Result<BaseConsumer<Quiet>, KafkaError> {
    let mut config = ClientConfig::new();
    for (key, value) in &cluster.librdkafka {
        config.set(key, value);
    }
    config.set("bootstrap.servers", &cluster.brokers).set("group.id", "logmill-positions");
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "error").set("enable.partition.eof", "true");
    config.set("isolation.level", isolation).set("check.crcs", "true");
    config.set_log_level(RDKafkaLogLevel::Critical);
    config.create_with_context(Quiet)
}
