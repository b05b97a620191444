//! Where a reader's records come from: one of two Kafka clients, behind the same small face.

use std::sync::OnceLock;
use std::time::Duration;

use super::kafka;
use crate::fetch;
use crate::flow::cluster::{Client, Cluster, Wish};
use crate::flow::record::{From, Item};
use crate::protocol;

/// Which client all readers of a task fetch with. It changes once at most, from the native one to librdkafka.
#[derive(Debug, Default)]
pub struct Choice {
    wish: Wish,
    /// Why the native client cannot serve.
    reason: OnceLock<String>,
}

impl Choice {
    /// Where the native client is not the only one, it has to know every property of the cluster.
    pub fn new(wish: Wish, cluster: &Cluster) -> Choice {
        let unknown = protocol::Settings::unknown(wish, cluster);
        Choice { wish, reason: unknown.map_or_else(OnceLock::new, |unknown| unknown.to_string().into()) }
    }

    pub fn client(&self) -> Client {
        self.wish.client(self.reason.get().is_none())
    }

    /// Why it is not the native client, which was not excluded.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// The native client cannot serve. False where no other may.
    pub fn leave_native(&self, task: &str, reason: String) -> bool {
        if self.wish == Wish::Auto && self.reason.set(reason.clone()).is_ok() {
            log::warn!("{task}: fetch = librdkafka from now on ({reason})");
        }
        self.wish == Wish::Auto
    }
}

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
                let settings = protocol::Settings::of(cluster).map_err(|e| e.to_string())?;
                Ok(Source::Native(Box::new(fetch::Fetch::new(settings, topics))))
            }
            Client::Librdkafka => {
                kafka::Fetch::open(cluster, group_id, topics).map(Source::Librdkafka).map_err(|e| e.to_string())
            }
        }
    }

    pub fn client(&self) -> Client {
        match self {
            Source::Librdkafka(_) => Client::Librdkafka,
            Source::Native(_) => Client::Native,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_serves_where_the_native_client_cannot() {
        let properties = vec![("sasl.password".into(), "secret".into())];
        let secured = Cluster { librdkafka: properties, ..Cluster::of_brokers("a") };
        let choice = Choice::new(Wish::Auto, &secured);
        assert_eq!(choice.client(), Client::Librdkafka);
        assert_eq!(choice.reason(), Some("the native client does not know sasl.password"));
        let choice = Choice::new(Wish::Auto, &Cluster::of_brokers("a"));
        assert_eq!((choice.client(), choice.reason()), (Client::Native, None));
        assert!(choice.leave_native("game", "old".into()) && choice.leave_native("game", "older".into()));
        assert_eq!((choice.client(), choice.reason()), (Client::Librdkafka, Some("old")));
        let choice = Choice::new(Wish::Only(Client::Native), &secured);
        assert!(!choice.leave_native("game", "old".into()));
        assert_eq!((choice.client(), choice.reason()), (Client::Native, None));
    }
}
