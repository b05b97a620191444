//! What stands in a topic.

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::Offset;

use super::{Kafka, SOON};

impl Kafka {
    /// The values of each partition, as a reader of committed records sees them.
    pub fn values(&self, topic: &str) -> Vec<Vec<Vec<u8>>> {
        let value = |m: &rdkafka::message::BorrowedMessage<'_>| m.payload().unwrap_or_default().to_vec();
        self.read(topic, value)
    }

    /// Values with their times, in milliseconds since the epoch.
    pub fn values_and_times(&self, topic: &str) -> Vec<Vec<(Vec<u8>, i64)>> {
        self.read(topic, |m| (m.payload().unwrap_or_default().to_vec(), m.timestamp().to_millis().unwrap_or(0)))
    }

    /// Values with the text of one header; "" where it has none.
    pub fn values_with(&self, topic: &str, header: &str) -> Vec<(Vec<u8>, String)> {
        let read = self.read(topic, |m| {
            let of = |headers: &rdkafka::message::BorrowedHeaders| {
                let found = headers.iter().find(|h| h.key == header);
                found.map(|h| String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned())
            };
            (m.payload().unwrap_or_default().to_vec(), m.headers().and_then(of).unwrap_or_default())
        });
        read.into_iter().flatten().collect()
    }

    /// Records in a topic without transactions; `None` while a partition has no leader to ask.
    pub fn records(&self, topic: &str, partitions: i32) -> Option<i64> {
        let consumer = self.consumer("logmill-tests");
        let high = |p| consumer.fetch_watermarks(topic, p, SOON).ok().map(|(_, high)| high);
        (0..partitions).map(high).sum()
    }

    fn read<T>(&self, topic: &str, take: impl Fn(&rdkafka::message::BorrowedMessage<'_>) -> T) -> Vec<Vec<T>> {
        let ends = self.watermarks(topic);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("group.id", "logmill-tests");
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true").set("check.crcs", "true");
        config.set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().expect("consumer");
        let mut places = TopicPartitionList::new();
        for partition in 0..ends.len() {
            places.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("a partition");
        }
        consumer.assign(&places).expect("assigned");
        let mut values: Vec<Vec<T>> = ends.iter().map(|_| Vec::new()).collect();
        let mut open = ends.len();
        while open > 0 {
            match consumer.poll(SOON).expect("a record in time") {
                Ok(message) => values[message.partition() as usize].push(take(&message)),
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("read {topic}: {error}"),
            }
        }
        values
    }
}
