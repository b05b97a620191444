//! How to fetch, out of a cluster's properties: those of librdkafka's that mean something here.

use std::time::Duration;

use super::link::Times;
use crate::flow::cluster::{Cluster, Wish};

/// Bytes of one answer, unless it is set.
const MAX_BYTES: i32 = 4 << 20;

/// The most that it may be set to: far from [`super::link::ANSWER_MAX`], which ends a connection.
const MAX_BYTES_MOST: i32 = 64 << 20;

/// The limits of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait of the broker for `min_bytes`.
    pub wait_ms: i32,
    pub min_bytes: i32,
    /// Of the answer; a first batch that is larger comes all the same.
    pub max_bytes: i32,
}

/// How a cluster is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `host:port` of each broker to ask first.
    pub bootstrap: Vec<String>,
    pub client_id: String,
    pub limits: Limits,
    /// Bytes of one partition in one answer.
    pub part_bytes: i32,
    pub times: Times,
}

/// What of a cluster's section this client cannot honour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Without its value, which may be a secret.
    #[error("the native client does not know {0}")]
    Property(String),
    #[error("the native client cannot take {key} = {value:?}")]
    Value { key: String, value: String },
    #[error("the native client cannot take the broker {0:?}")]
    Broker(String),
}

impl Settings {
    /// # Errors
    /// A property is not known here, as all that is about TLS and SASL: none is passed over.
    pub fn of(cluster: &Cluster) -> Result<Settings, Unknown> {
        let address = |broker: &str| address(broker.trim()).ok_or_else(|| Unknown::Broker(broker.trim().into()));
        let bootstrap = cluster.brokers.split(',').map(address).collect::<Result<_, _>>()?;
        let mut settings = Settings {
            bootstrap,
            client_id: "logmill".into(),
            limits: Limits { wait_ms: 100, min_bytes: 1, max_bytes: MAX_BYTES },
            part_bytes: 1 << 20,
            times: Times { silence_max: Duration::from_secs(10), backoff_max: Duration::from_secs(2) },
        };
        // Those that are honoured by holding less than they allow.
        let mut queued = i32::MAX;
        for (key, value) in &cluster.librdkafka {
            settings.set(key, value, &mut queued)?;
        }
        settings.limits.max_bytes = settings.limits.max_bytes.min(queued);
        // A broker may be silent for as long as it was told to wait.
        settings.times.silence_max += Duration::from_millis(settings.limits.wait_ms as u64);
        Ok(settings)
    }

    /// What the native client does not know of a cluster that another one may serve.
    pub fn unknown(wish: Wish, cluster: &Cluster) -> Option<Unknown> {
        Settings::of(cluster).err().filter(|_| wish == Wish::Auto)
    }

    fn set(&mut self, key: &str, value: &str, queued: &mut i32) -> Result<(), Unknown> {
        let refused = || Unknown::Value { key: key.into(), value: value.into() };
        let number = || value.parse().ok().filter(|number: &i32| *number > 0).ok_or_else(refused);
        let millis = || number().map(|ms| Duration::from_millis(ms as u64));
        let limits = &mut self.limits;
        match key {
            "client.id" if value.len() < 256 => self.client_id = value.into(),
            "security.protocol" if value.eq_ignore_ascii_case("plaintext") => {}
            "client.id" | "security.protocol" => return Err(refused()),
            "fetch.wait.max.ms" => limits.wait_ms = number()?,
            "fetch.min.bytes" => limits.min_bytes = number()?,
            "fetch.max.bytes" if number()? <= MAX_BYTES_MOST => limits.max_bytes = number()?,
            "fetch.max.bytes" => return Err(refused()),
            "queued.max.messages.kbytes" => *queued = number()?.saturating_mul(1024),
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => self.part_bytes = number()?,
            "socket.timeout.ms" => self.times.silence_max = millis()?,
            "reconnect.backoff.max.ms" => self.times.backoff_max = millis()?,
            _ => return Err(Unknown::Property(key.into())),
        }
        Ok(())
    }
}

/// As librdkafka takes an address: it may have a scheme, and no port. `None`: a scheme that is not spoken here.
fn address(broker: &str) -> Option<String> {
    let (scheme, broker) = broker.rsplit_once("://").unwrap_or(("plaintext", broker));
    let has_port = broker.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { broker.into() } else { format!("{broker}:9092") };
    scheme.eq_ignore_ascii_case("plaintext").then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_named() {
        let of = |pairs: &[(&str, &str)]| {
            let librdkafka = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            Settings::of(&Cluster { librdkafka, ..Cluster::of_brokers("a, PLAINTEXT://b:1 ,[::1]:2") })
        };
        let settings = of(&[("fetch.message.max.bytes", "65536"), ("queued.max.messages.kbytes", "256")]).unwrap();
        assert_eq!(settings.bootstrap, ["a:9092", "b:1", "[::1]:2"]);
        assert_eq!((settings.part_bytes, settings.limits.max_bytes), (65536, 256 << 10));
        let settings = of(&[("queued.max.messages.kbytes", "65536"), ("fetch.max.bytes", "8388608")]).unwrap();
        assert_eq!(settings.limits.max_bytes, 8 << 20, "more than usual, where it is asked for");
        let settings = of(&[("socket.timeout.ms", "3000"), ("fetch.wait.max.ms", "60000")]).unwrap();
        assert_eq!(settings.times.silence_max, Duration::from_secs(63));
        assert!(of(&[("security.protocol", "PLAINTEXT")]).is_ok());
        let error = |pairs| of(pairs).unwrap_err().to_string();
        let ssl = error(&[("security.protocol", "SSL")]);
        assert_eq!(ssl, "the native client cannot take security.protocol = \"SSL\"");
        assert_eq!(error(&[("sasl.password", "secret")]), "the native client does not know sasl.password");
        let zero = error(&[("fetch.wait.max.ms", "0")]);
        assert_eq!(zero, "the native client cannot take fetch.wait.max.ms = \"0\"");
        assert!(of(&[("fetch.max.bytes", "52428800")]).is_ok(), "librdkafka's own");
        assert!(of(&[("fetch.max.bytes", "524288000")]).is_err());
        let error = Settings::of(&Cluster::of_brokers("a,SSL://b")).unwrap_err().to_string();
        assert_eq!(error, "the native client cannot take the broker \"SSL://b\"");
    }
}
