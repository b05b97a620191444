//! The records: logs of a game as they come in the field, the same for the same numbers.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Fault;
use crate::broker::Broker;

const ANSWER: Duration = Duration::from_secs(120);

/// Names of whole-number members; which of them a log holds depends on its kind.
const NUMBERS: [&str; 20] = [
    "action",
    "agent_id",
    "amount",
    "bag_amount",
    "bag_type",
    "bind_type",
    "item_id",
    "pid",
    "platform",
    "quality",
    "regrow",
    "role_level",
    "server_id",
    "star",
    "start_time",
    "upf",
    "vip_level",
    "zero_dateline",
    "guild_id",
    "power",
];
/// Names of members that hold hexadecimal text: this is what does not compress.
const TEXTS: [&str; 6] = ["device_id", "sn", "idfa", "account_name", "via", "trace"];
pub const KINDS: u64 = 8;
/// Room that any one of them takes at most, and the note's beginning.
const MEMBER_MAX: usize = 48;
const NOTE: &str = r#","note":""#;
const END: &str = r#""}}"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shapes {
    Few,
    Unlike,
}

/// What a topic or a file is made of.
#[derive(Debug, Clone, Copy, Args)]
pub struct Made {
    /// How many records there are
    #[arg(long, default_value_t = 3_000_000)]
    pub records: u64,
    #[arg(long, default_value_t = 8)]
    pub partitions: i32,
    /// Bytes of one record
    #[arg(long, default_value_t = 550)]
    pub record_bytes: usize,
    /// few: eight kinds of records, each with its members in one order; unlike: every record has its own order
    #[arg(long, value_enum, default_value = "few")]
    pub shapes: Shapes,
}

/// A topic that was made.
pub struct Topic {
    pub name: String,
    /// Of all values, each with a newline.
    pub bytes: u64,
}

impl Made {
    /// Makes the topic and fills it, snappy in batches; returns when the broker has confirmed all.
    pub fn produce(&self, broker: &Broker, name: &str) -> Result<Topic, Fault> {
        broker.create(name, self.partitions)?;
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &broker.address)
            .set("compression.type", "snappy")
            .set("linger.ms", "50")
            .set("queue.buffering.max.messages", "500000")
            .set("message.max.bytes", "8000000")
            .create()?;
        let (mut value, mut bytes) = (String::new(), 0);
        for n in 0..self.records {
            value.clear();
            self.write(n, &mut value);
            bytes += value.len() as u64 + 1;
            let partition = (n % self.partitions as u64) as i32;
            let mut record = BaseRecord::<(), _>::to(name).partition(partition).payload(value.as_bytes());
            while let Err((e, back)) = producer.send(record) {
                if !matches!(e, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(e.into());
                }
                producer.poll(Duration::from_millis(10));
                record = back;
            }
            if n % 1024 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(ANSWER)?;
        Ok(Topic { name: name.to_string(), bytes })
    }

    /// The record with this number.
    pub fn write(&self, n: u64, out: &mut String) {
        let mut dice = Dice(n);
        let kind = n % KINDS;
        let _ = write!(out, r#"{{"headers":{{"app_id":24,"log_name":"log_{kind}"}},"logs":{{"mtime":"#);
        let _ = write!(out, r#"{},"role_id":{}"#, 1_608_184_243 + n / 10_000, dice.below(10_000_000_000_000));
        let first = match self.shapes {
            Shapes::Few => kind as usize,
            Shapes::Unlike => dice.below(NUMBERS.len() as u64) as usize,
        };
        let step = match self.shapes {
            Shapes::Few => 1,
            // Each has no divisor in common with the number of names: all are met.
            Shapes::Unlike => [1, 3, 7, 9, 11, 13, 17, 19][dice.below(8) as usize],
        };
        for (at, text) in TEXTS.iter().enumerate() {
            if out.len() + MEMBER_MAX + END.len() <= self.record_bytes {
                let _ = write!(out, r#","{text}":"{:016x}""#, dice.next());
            }
            for i in 0..2 {
                let number = NUMBERS[(first + (at * 2 + i) * step) % NUMBERS.len()];
                let most = 10_u64.pow(1 + dice.below(9) as u32);
                if out.len() + MEMBER_MAX + END.len() <= self.record_bytes {
                    let _ = write!(out, r#","{number}":{}"#, dice.below(most));
                }
            }
        }
        out.push_str(NOTE);
        while out.len() + 32 + END.len() <= self.record_bytes {
            let _ = write!(out, "item {:09x} gone ", dice.below(1 << 36));
        }
        while out.len() + END.len() < self.record_bytes {
            out.push('.');
        }
        out.push_str(END);
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
