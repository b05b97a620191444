//! A Kafka cluster as the configuration names it.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub brokers: String,
    /// Passed to librdkafka as they stand.
    pub librdkafka: Vec<(String, String)>,
}

impl Cluster {
    /// A cluster of which nothing is known but where to ask.
    pub fn of_brokers(brokers: &str) -> Cluster {
        Cluster { name: "default".into(), brokers: brokers.into(), librdkafka: Vec::new() }
    }
}

/// Which client is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// The native one where it can serve the cluster.
    #[default]
    Auto,
    Only(Client),
}

impl Wish {
    /// As the configuration writes it; a client's name asks for that one.
    pub fn of(text: &str) -> Wish {
        let client = [Client::Native, Client::Librdkafka].into_iter().find(|client| client.name() == text);
        client.map_or(Wish::Auto, Wish::Only)
    }

    /// `is_native_fit`: nothing is asked for that the native client cannot do.
    pub fn client(self, is_native_fit: bool) -> Client {
        match self {
            Wish::Only(client) => client,
            Wish::Auto if is_native_fit => Client::Native,
            Wish::Auto => Client::Librdkafka,
        }
    }
}

/// What speaks to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// Kafka's protocol as it is spoken here; no TLS, no SASL.
    Native,
    Librdkafka,
}

impl Client {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Client::Native => "native",
            Client::Librdkafka => "librdkafka",
        }
    }
}

/// Where an operator wants a partition to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Offset(i64),
    /// Milliseconds since the epoch: the first record at or after it.
    Timestamp(i64),
}

/// Where a partition without a stored offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// Milliseconds since the epoch: the first record at or after it.
    Timestamp(i64),
}
