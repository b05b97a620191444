//! Brokers in the test's own process, whose leaders move and whose versions are old at a word: librdkafka's mock.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;

use super::Record;
use super::produce::produce_to;

pub struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Mock {
    /// Brokers 1 to `brokers`, and a topic.
    pub fn start(brokers: i32, topic: &str, partitions: i32) -> Mock {
        let cluster = MockCluster::new(brokers).expect("brokers");
        cluster.create_topic(topic, partitions, brokers).expect("a topic");
        Mock { cluster }
    }

    /// They answer fetches of this version and older ones.
    pub fn fetch_is_at_most(&self, version: i16) {
        self.cluster.apiversion(RDKafkaApiKey::Fetch, Some(0), Some(version)).expect("a version");
    }

    /// They take batches in requests of this version and older ones.
    pub fn produce_is_at_most(&self, version: i16) {
        self.cluster.apiversion(RDKafkaApiKey::Produce, Some(0), Some(version)).expect("a version");
    }

    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    pub fn lead(&self, topic: &str, partition: i32, broker: i32) {
        self.cluster.partition_leader(topic, partition, Some(broker)).expect("a leader");
    }

    /// What it leads stays its own, and its connections are cut.
    pub fn set_down(&self, broker: i32, is_down: bool) {
        let done = if is_down { self.cluster.broker_down(broker) } else { self.cluster.broker_up(broker) };
        done.expect("a broker");
    }

    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) -> u64 {
        produce_to(&self.bootstrap(), topic, records)
    }
}
