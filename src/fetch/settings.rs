//! How to fetch, out of a cluster's properties: those of librdkafka's that mean something here.

use std::time::Duration;

use super::link::Times;
use super::message::Limits;
use crate::flow::cluster::Cluster;

/// How a cluster is fetched from.
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

/// A property that this client does not know, or a value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the native client does not know {key} = {value:?}")]
pub struct Unknown {
    pub key: String,
    pub value: String,
}

impl Settings {
    /// # Errors
    /// A property is not known here, as all that is about TLS and SASL.
    pub fn of(cluster: &Cluster) -> Result<Settings, Unknown> {
        let bootstrap = cluster.brokers.split(',').map(|broker| with_port(broker.trim())).collect();
        let mut settings = Settings {
            bootstrap,
            client_id: "logmill".into(),
            limits: Limits { wait_ms: 100, min_bytes: 1, max_bytes: 4 << 20 },
            part_bytes: 1 << 20,
            times: Times { silence_max: Duration::from_secs(10), backoff_max: Duration::from_secs(2) },
        };
        for (key, value) in &cluster.librdkafka {
            settings.set(key, value).ok_or_else(|| Unknown { key: key.clone(), value: value.clone() })?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        let number = || value.parse::<i32>().ok().filter(|number| *number >= 0);
        let millis = || number().map(|ms| Duration::from_millis(ms as u64));
        let limits = &mut self.limits;
        match key {
            "client.id" => self.client_id = (value.len() < 256).then(|| value.into())?,
            "security.protocol" if value.eq_ignore_ascii_case("plaintext") => {}
            "fetch.wait.max.ms" => limits.wait_ms = number()?,
            "fetch.min.bytes" => limits.min_bytes = number()?,
            "fetch.max.bytes" => limits.max_bytes = number()?.min(limits.max_bytes),
            "queued.max.messages.kbytes" => limits.max_bytes = number()?.saturating_mul(1024).min(limits.max_bytes),
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => self.part_bytes = number()?.max(1),
            "socket.timeout.ms" => self.times.silence_max = millis()?,
            "reconnect.backoff.max.ms" => self.times.backoff_max = millis()?,
            _ => return None,
        }
        Some(())
    }
}

/// As librdkafka takes an address: it may have a scheme, and no port.
fn with_port(broker: &str) -> String {
    let broker = broker.rsplit_once("://").map_or(broker, |(_, broker)| broker);
    let has_port = broker.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { broker.into() } else { format!("{broker}:9092") }
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
        assert!(of(&[("security.protocol", "PLAINTEXT")]).is_ok());
        let error = of(&[("security.protocol", "SSL")]).unwrap_err().to_string();
        assert_eq!(error, "the native client does not know security.protocol = \"SSL\"");
        assert!(of(&[("debug", "fetch")]).is_err() && of(&[("fetch.wait.max.ms", "soon")]).is_err());
    }
}
