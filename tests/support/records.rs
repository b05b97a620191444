//! Records as a game's servers write them, in all the ways they can go: written, filtered, parked. Each carries its
//! partition and its number there (`"p":3,"s":1234`), so that its line is known again.

use std::path::Path;

use super::{Dice, Record};

/// What has to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Written,
    Filtered,
    /// With this code.
    Parked(&'static str),
}

/// One record and what has to become of it.
#[derive(Debug, Clone)]
pub struct Made {
    pub partition: i32,
    /// Counts all records of the partition from 0: in a topic that was empty it is the offset.
    pub sequence: u64,
    pub fate: Fate,
    pub payload: Vec<u8>,
    pub timestamp_ms: i64,
}

/// An endless mix of records (500 bytes on average, 560 the usual one), spread over the partitions at
/// random; the same seed gives the same.
///
/// Of 100: 78 log_item, 7 log_role (user_set), 8 log_chat (escapes, other scripts), 3 log_order (track_update),
/// 2 filtered by name or by rule, 2 parked.
#[derive(Debug, Clone)]
pub struct Mix {
    dice: Dice,
    next: Vec<u64>,
    only_written: bool,
}

impl Mix {
    pub fn new(seed: u64, partitions: i32) -> Mix {
        Mix { dice: Dice(seed), next: vec![0; partitions as usize], only_written: false }
    }

    /// The same without records that have to be filtered or parked.
    pub fn only_written(self) -> Mix {
        Mix { only_written: true, ..self }
    }

    /// From now on over this many partitions.
    pub fn set_partitions(&mut self, partitions: i32) {
        self.next.resize(partitions as usize, 0);
    }
}

impl Iterator for Mix {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        let partition = self.dice.below(self.next.len() as u64) as usize;
        let sequence = self.next[partition];
        self.next[partition] += 1;
        let mark = format!("\"p\":{partition},\"s\":{sequence}");
        let second = 1_608_184_000 + sequence / 100;
        let (fate, payload) = match self.dice.below(if self.only_written { 96 } else { 100 }) {
            0..78 => (Fate::Written, self.item(&mark, second, 0)),
            78..85 => (Fate::Written, self.role(&mark, second)),
            85..93 => (Fate::Written, self.chat(&mark, second)),
            93..96 => (Fate::Written, self.order(&mark, second)),
            96 => (Fate::Filtered, record("tbllog_login", &format!("{mark},\"role_id\":1"))),
            97 => (Fate::Filtered, self.item(&mark, second, 1)),
            _ => self.broken(&mark),
        };
        let timestamp_ms = second as i64 * 1000 + 123;
        Some(Made { partition: partition as i32, sequence, fate, payload: payload.into_bytes(), timestamp_ms })
    }
}

impl Mix {
    fn item(&mut self, mark: &str, second: u64, internal: u8) -> String {
        let role = 6_001_310_000_000 + self.dice.below(100_000);
        let (server, platform) = (5000 + self.dice.below(40), 3100 + self.dice.below(9));
        let (account, serial) = (4_866_000_000 + self.dice.below(1_000_000), self.dice.below(u64::MAX));
        let (item, amount, level) = (31_103_000 + self.dice.below(500), self.dice.below(2000), self.dice.below(1000));
        record(
            "log_item",
            &format!(
                "{mark},\"account_name\":\"{account}\",\"action\":2146,\"agent_id\":36,\"amount\":{amount},\
                 \"bag_amount\":0,\"bag_type\":0,\"bind_type\":1,\"client_version\":\"\",\"device_id\":\"\",\
                 \"end_time\":0,\"idfa\":\"\",\"imei\":\"\",\"is_internal\":{internal},\"item_id\":{item},\"mac\":\"\",\
                 \"mtime\":{second},\"pid\":{second}000008,\"platform\":{platform},\"quality\":0,\"regrow\":14,\
                 \"role_id\":{role},\"role_level\":{level},\"server_id\":{server},\"server_version\":\"\",\
                 \"sn\":\"{serial:016X}\",\"star\":0,\"start_time\":{second},\"upf\":{platform},\
                 \"via\":\"36|{platform}\",\"zero_dateline\":1608134400"
            ),
        )
    }

    fn role(&mut self, mark: &str, second: u64) -> String {
        let (role, vip) = (6_001_310_000_000 + self.dice.below(100_000), self.dice.below(16));
        let guild = 90_071_992_547_000_000 + self.dice.below(1_000_000);
        let logs = format!("{mark},\"role_id\":{role},\"vip\":\"{vip}\",\"guild_id\":{guild},\"mtime\":{second}");
        record("log_role", &logs)
    }

    fn chat(&mut self, mark: &str, second: u64) -> String {
        let role = 6_001_310_000_000 + self.dice.below(100_000);
        let said = ["\\u4f60\\u597d \\/\\ud83d\\ude00\\u0001\\n", "世界 \\\"quoted\\\"", "plain words", ""];
        let said = said[self.dice.below(4) as usize].repeat(1 + self.dice.below(12) as usize);
        let logs = format!(
            "{mark},\"account_name\":\"4866014107\",\"role_id\":{role},\"server_id\":5001,\"ip\":\"203.0.113.7\",\
             \"ts_ms\":{second}045,\"mtime\":{second},\"msg\":\"{said}\",\"price\":1.50,\"sum\":1E3,\"none\":null,\
             \"team\":[{{\"id\":1}},{{\"id\":2}}]"
        );
        record("log_chat", &logs)
    }

    fn order(&mut self, mark: &str, second: u64) -> String {
        let (role, order) = (6_001_310_000_000 + self.dice.below(100_000), self.dice.below(1_000_000));
        let logs = format!(
            "{mark},\"role_id\":{role},\"order_id\":\"o-{order}\",\"status\":3,\"price\":6.00,\"time_str\":{second}"
        );
        record("log_order", &logs)
    }

    fn broken(&mut self, mark: &str) -> (Fate, String) {
        match self.dice.below(6) {
            0 => (Fate::Parked("E01_EMPTY"), String::new()),
            1 => {
                let whole = record("log_item", &format!("{mark},\"role_id\":1"));
                (Fate::Parked("E05_JSON"), whole[..whole.len() - 1].to_owned())
            }
            2 => (Fate::Parked("E07_ROOT"), format!("[{}]", record("log_item", mark))),
            3 => (Fate::Parked("E08_HEADERS"), format!("{{\"logs\":{{{mark},\"role_id\":1}}}}")),
            4 => (Fate::Parked("E14_NO_ID"), record("log_item", &format!("{mark},\"item_id\":1"))),
            _ => (Fate::Parked("E16_EVENT_ID"), record("log_order", &format!("{mark},\"role_id\":1"))),
        }
    }
}

impl From<&Made> for Record {
    fn from(made: &Made) -> Record {
        let payload = Some(made.payload.clone());
        Record { partition: made.partition, payload, timestamp_ms: made.timestamp_ms }
    }
}

fn record(log_name: &str, logs: &str) -> String {
    format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"{log_name}\"}},\"logs\":{{{logs}}}}}")
}

/// Writes the settings of project 24 by which `Mix` says what becomes of a record.
pub fn write_settings(dir: &Path) {
    std::fs::create_dir_all(dir).expect("settings directory");
    std::fs::write(dir.join("mthinkingdata:metadata.24.json"), METADATA).expect("settings");
    std::fs::write(dir.join("mthinkingdata:filter.24.json"), FILTER).expect("settings");
}

const METADATA: &str = r##"// project 24
[
  { "log_name": "log_item", "event_name": "t_log_item", "event_type": "track",
    "metadata": { "#account_id": { "field": "role_id", "default": "" }, "#distinct_id": { "field": "device_id" },
                  "#ip": { "field": "null" }, "#time": { "field": "mtime" } } },
  { "log_name": "log_role", "event_name": "null", "event_type": "user_set",
    "metadata": { "#account_id": { "field": "role_id" }, "#time": { "field": "mtime" } },
    "exclude": ["mtime"], "cast": { "vip": "number", "guild_id": "string" } },
  { "log_name": "log_chat", "event_type": "track",
    "metadata": { "#account_id": { "field": "account_name" },
                  "#distinct_id": { "field": "device_id", "default": "dev_{server_id}_{role_id}" },
                  "#ip": { "field": "ip" }, "#time": { "field": "ts_ms", "default": "{mtime}" },
                  "#zone_offset": { "field": "null", "default": 8 } } },
  { "log_name": "log_order", "event_name": "t_log_order", "event_type": "track_update",
    "metadata": { "#account_id": { "field": "role_id" }, "#event_id": { "field": "order_id" },
                  "#time": { "field": "time_str" } } },
]
"##;

const FILTER: &str = r#"{
  "mode": "drop",
  "names": ["tbllog_login"],
  "rules": [ { "log_name": "log_item", "when": [ { "field": "is_internal", "op": "eq", "value": 1 } ] } ]
}
"#;
