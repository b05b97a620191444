//! The places in a compacted topic, read back: the newest committed value of every key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::flow::cluster::Cluster;

/// Longest wait for an answer about the topic.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for a record; then it is asked whether to go on.
const STEP: Duration = Duration::from_millis(500);
/// Longest silence of a broker that still has records for us.
const SILENCE: Duration = Duration::from_secs(30);

/// Why the places are not known.
#[derive(Debug, thiserror::Error)]
#[error("topic {topic}: {source}")]
pub struct RecallError {
    pub topic: String,
    pub source: KafkaError,
}

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
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, KafkaError> {
    let mut config = ClientConfig::new();
    for (key, value) in &cluster.librdkafka {
        config.set(key, value);
    }
    config.set("bootstrap.servers", &cluster.brokers).set("group.id", "logmill-positions");
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "error").set("enable.partition.eof", "true");
    config.set("isolation.level", "read_committed").set("check.crcs", "true");
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    let partitions = found.map_or(0, |t| t.partitions().len());
    if partitions == 0 {
        return Err(KafkaError::MetadataFetch(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    let mut places = TopicPartitionList::new();
    for partition in 0..partitions {
        places.add_partition_offset(topic, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let (mut values, mut open, mut heard) = (BTreeMap::new(), partitions, Instant::now());
    while open > 0 {
        if !goes_on() {
            return Err(KafkaError::Canceled);
        }
        match consumer.poll(STEP) {
            Some(Ok(message)) => {
                let key = message.key().unwrap_or_default().to_vec();
                match message.payload() {
                    Some(value) => drop(values.insert(key, value.to_vec())),
                    None => drop(values.remove(&key)),
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) if heard.elapsed() > SILENCE => return Err(error),
            None if heard.elapsed() > SILENCE => return Err(KafkaError::Canceled),
            Some(Err(_)) | None => continue,
        }
        heard = Instant::now();
    }
    Ok(values)
}
