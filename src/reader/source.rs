//! Where a reader's records come from: one of two Kafka clients, behind the same small face.

use std::time::Duration;

use super::kafka;
use crate::fetch;
use crate::flow::cluster::{Client, Cluster};
use crate::flow::record::{From, Item};

/// A client with its partitions.
pub enum Source {
    Librdkafka(kafka::Fetch),
    Native(Box<fetch::Fetch>),
}

impl Source {
    /// `topics`: a record names its topic by the index here.
    ///
    /// # Errors
    /// A property of the cluster is refused, or there is no room for librdkafka's threads.
    pub fn open(client: Client, cluster: &Cluster, group_id: &str, topics: &[String]) -> Result<Source, String> {
        match client {
            Client::Native => {
                let settings = fetch::Settings::of(cluster).map_err(|e| e.to_string())?;
                Ok(Source::Native(Box::new(fetch::Fetch::new(settings, topics))))
            }
            Client::Librdkafka => {
                kafka::Fetch::open(cluster, group_id, topics).map(Source::Librdkafka).map_err(|e| e.to_string())
            }
        }
    }

    /// From now on exactly these partitions, from exactly these places.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn assign(&mut self, places: &[From<'_>]) -> Result<(), String> {
        match self {
            Source::Librdkafka(fetch) => fetch.assign(places).map_err(|e| e.to_string()),
            Source::Native(fetch) => {
                fetch.assign(places);
                Ok(())
            }
        }
    }

    /// Waits at most `wait` for the first record, and takes what else is there already: a trickle never waits for a
    /// batch to fill.
    pub fn next_batch(&mut self, wait: Duration) -> Batch<'_> {
        match self {
            Source::Librdkafka(fetch) => Batch::Librdkafka(fetch.next_batch(wait)),
            Source::Native(fetch) => Batch::Native(fetch.next_batch(wait)),
        }
    }

    /// The end of a partition's log as the newest fetch told it: asks no broker.
    pub fn high(&self, topic: u16, partition: i32) -> Option<i64> {
        match self {
            Source::Librdkafka(fetch) => fetch.high(topic, partition),
            Source::Native(fetch) => fetch.high(topic, partition),
        }
    }
}

/// Records that are here.
pub enum Batch<'a> {
    Librdkafka(kafka::Batch<'a>),
    Native(fetch::Batch<'a>),
}

impl Batch<'_> {
    /// Records alone, not what is said about partitions.
    pub fn records(&self) -> usize {
        match self {
            Batch::Librdkafka(batch) => batch.records(),
            Batch::Native(batch) => batch.records(),
        }
    }

    /// The next item, until the next call.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        match self {
            Batch::Librdkafka(batch) => batch.next_item(),
            Batch::Native(batch) => batch.next_item(),
        }
    }
}
