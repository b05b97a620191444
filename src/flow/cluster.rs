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

/// What fetches from a cluster.
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
