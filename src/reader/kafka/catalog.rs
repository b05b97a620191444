//! The questions that are not the hot road: which partitions there are, where they begin and end, and the group's
//! offsets.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{FetchError, From, settings};
use crate::flow::cluster::{Cluster, Start};

/// Every call blocks until the broker answers or its time is over.
pub struct Catalog {
    consumer: BaseConsumer,
}

/// Longest wait for one answer.
const ASK: Duration = Duration::from_secs(5);

impl Catalog {
    /// # Errors
    /// librdkafka refuses a setting.
    pub fn open(cluster: &Cluster, group_id: &str) -> Result<Catalog, FetchError> {
        let mut config = ClientConfig::new();
        config.extend(settings(cluster, group_id));
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        let consumer = config.create().map_err(|e| FetchError::Start(e.to_string()))?;
        Ok(Catalog { consumer })
    }

    /// The partitions of a topic, none if it does not exist.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, FetchError> {
        let failed = |source| FetchError::Request { deed: format!("ask for topic {topic}"), source };
        let answer = self.consumer.fetch_metadata(Some(topic), ASK).map_err(failed)?;
        let Some(found) = answer.topics().iter().find(|t| t.name() == topic) else { return Ok(Vec::new()) };
        match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(Vec::new()),
            Some(error) => return Err(failed(KafkaError::MetadataFetch(error))),
        }
        Ok(found.partitions().iter().map(|p| p.id()).collect())
    }

    /// First offset, and the end that a read_committed reader reaches.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), FetchError> {
        let failed = |source| FetchError::Request { deed: format!("ask for the ends of {topic}/{partition}"), source };
        self.consumer.fetch_watermarks(topic, partition, ASK).map_err(failed)
    }

    /// The offset that `start` means.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub fn resolve(&self, topic: &str, partition: i32, start: Start) -> Result<i64, FetchError> {
        let (low, high) = self.bounds(topic, partition)?;
        let Start::Timestamp(ms) = start else {
            return Ok(if start == Start::Earliest { low } else { high });
        };
        let failed = |source| FetchError::Request { deed: format!("ask {topic}/{partition} for a time"), source };
        let mut ask = TopicPartitionList::new();
        ask.add_partition_offset(topic, partition, Offset::Offset(ms)).map_err(failed)?;
        let answer = self.consumer.offsets_for_times(ask, ASK).map_err(failed)?;
        match answer.find_partition(topic, partition).map(|p| p.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => Ok(high),
        }
    }

    /// Commits offsets to the group, so that every lag tool sees them.
    ///
    /// # Errors
    /// No broker answers, or it refuses.
    pub fn commit(&self, places: &[From<'_>]) -> Result<(), FetchError> {
        let failed = |source| FetchError::Request { deed: "commit offsets to the group".into(), source };
        let mut list = TopicPartitionList::new();
        for place in places {
            list.add_partition_offset(place.topic, place.partition, Offset::Offset(place.offset)).map_err(failed)?;
        }
        self.consumer.commit(&list, CommitMode::Sync).map_err(failed)
    }
}
