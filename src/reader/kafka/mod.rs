//! The consumer's face: give me the next batch of records of my partitions.
//!
//! The only folder that names rdkafka's consumer. librdkafka's batch call moves whole batches without an object per
//! record; its own threads fetch and decompress.
#![allow(unsafe_code)]

mod catalog;

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::flow::cluster::Cluster;
use crate::flow::record::Record;
pub use crate::flow::record::{From, Item};

pub use catalog::{Catalog, Identity, Partition};

/// Messages of one batch.
const BATCH_MESSAGES: usize = 1024;

/// What librdkafka is told unless the cluster's own settings say otherwise. Memory: one reader's queue holds at most
/// `queued.max.messages.kbytes`, and one fetch at most `fetch.max.bytes` beside it.
const DEFAULTS: [(&str, &str); 9] = [
    ("client.id", "logmill"),
    ("fetch.queue.backoff.ms", "20"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.max.bytes", "4194304"),
    ("queued.max.messages.kbytes", "8192"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("statistics.interval.ms", "0"),
];

/// What exactness rests on: no cluster setting changes it.
const FIXED: [(&str, &str); 6] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

/// Why Kafka cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("librdkafka refuses {key} = {value}: {reason}")]
    Setting { key: String, value: String, reason: String },
    #[error("librdkafka cannot start: {0}")]
    Start(String),
    #[error("cannot {deed}: {source}")]
    Request { deed: String, source: KafkaError },
}

impl FetchError {
    /// No broker has answered.
    pub fn is_silence(&self) -> bool {
        let FetchError::Request { source, .. } = self else { return false };
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
        let silent = [AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve];
        source.rdkafka_error_code().is_some_and(|code| silent.contains(&code))
    }
}

/// One consumer instance with its partitions.
pub struct Fetch {
    rk: *mut rd::rd_kafka_t,
    queue: *mut rd::rd_kafka_queue_t,
    messages: Vec<*mut rd::rd_kafka_message_t>,
    topics: Vec<String>,
    /// The handle seen last and its topic's index.
    last_topic: (*mut rd::rd_kafka_topic_t, u16),
}

// SAFETY: librdkafka's handles may be used from any thread; this value is used by one at a time.
unsafe impl Send for Fetch {}

impl Fetch {
    /// `topics`: a record names its topic by the index here.
    ///
    /// # Errors
    /// librdkafka refuses a setting or has no room for its threads.
    pub fn open(cluster: &Cluster, group_id: &str, topics: &[String]) -> Result<Fetch, FetchError> {
        // SAFETY: plain constructors; the configuration is owned by `rd_kafka_new` once that succeeds.
        unsafe {
            let conf = rd::rd_kafka_conf_new();
            for (key, value) in settings(cluster, group_id) {
                set(conf, &key, &value)?;
            }
            rd::rd_kafka_conf_set_log_cb(conf, Some(log_line));
            let mut reason = [0; 512];
            let kind = rd::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let rk = rd::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
            if rk.is_null() {
                rd::rd_kafka_conf_destroy(conf);
                return Err(FetchError::Start(text(reason.as_ptr())));
            }
            rd::rd_kafka_poll_set_consumer(rk);
            let queue = rd::rd_kafka_queue_get_consumer(rk);
            let last_topic = (std::ptr::null_mut(), 0);
            Ok(Fetch { rk, queue, messages: Vec::with_capacity(BATCH_MESSAGES), topics: topics.to_vec(), last_topic })
        }
    }

    /// From now on exactly these partitions, from exactly these places.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn assign(&mut self, places: &[From<'_>]) -> Result<(), FetchError> {
        // SAFETY: the list is ours, and librdkafka copies it.
        unsafe {
            let list = list_of(places);
            let rc = rd::rd_kafka_assign(self.rk, list);
            rd::rd_kafka_topic_partition_list_destroy(list);
            match rc {
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                error => Err(FetchError::Start(format!("it refuses the partitions: {}", error_text(error)))),
            }
        }
    }

    /// Waits at most `wait` for the first record, and takes what else is there already: a trickle never waits for a
    /// batch to fill.
    pub fn next_batch(&mut self, wait: Duration) -> Batch<'_> {
        self.messages.clear();
        let wait_ms = wait.as_millis().min(i32::MAX as u128) as c_int;
        if self.take(wait_ms, 1) {
            self.take(0, BATCH_MESSAGES - 1);
        }
        Batch { fetch: self, at: 0 }
    }

    /// Takes up to `most` messages behind those that are here; false where none came within the time.
    fn take(&mut self, wait_ms: c_int, most: usize) -> bool {
        let here = self.messages.len();
        debug_assert!(here + most <= self.messages.capacity());
        // SAFETY: the vector has room for `most` more pointers; the call fills the first `n`, each ours to destroy.
        unsafe {
            let room = self.messages.as_mut_ptr().add(here);
            let n = rd::rd_kafka_consume_batch_queue(self.queue, wait_ms, room, most);
            self.messages.set_len(here + n.max(0) as usize);
        }
        self.messages.len() > here
    }

    /// The end of a partition's log as the newest fetch told it: asks no broker.
    pub fn high(&self, topic: u16, partition: i32) -> Option<i64> {
        let name = c_string(self.topics.get(usize::from(topic))?);
        let (mut low, mut high) = (0, 0);
        // SAFETY: a string and two integers of ours.
        let rc = unsafe {
            rd::rd_kafka_get_watermark_offsets(self.rk, name.as_ptr(), partition, &raw mut low, &raw mut high)
        };
        (rc == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    fn topic_index(&mut self, rkt: *mut rd::rd_kafka_topic_t) -> u16 {
        if self.last_topic.0 != rkt {
            // SAFETY: the message that names the topic is alive.
            let name = unsafe { text(rd::rd_kafka_topic_name(rkt)) };
            let index = self.topics.iter().position(|t| *t == name);
            self.last_topic = (rkt, index.unwrap_or(usize::from(u16::MAX)) as u16);
        }
        self.last_topic.1
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // SAFETY: the handles are ours, and no message of theirs is alive (a batch borrows this value).
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue);
            rd::rd_kafka_destroy_flags(self.rk, rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int);
        }
    }
}

/// Records as librdkafka holds them, freed as one steps on.
pub struct Batch<'a> {
    fetch: &'a mut Fetch,
    at: usize,
}

impl Batch<'_> {
    /// Records alone, not what is said about partitions.
    pub fn records(&self) -> usize {
        let no_error = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: messages of ours; before the first step none of them is destroyed.
        let is_record =
            |message: &&*mut rd::rd_kafka_message_t| unsafe { !message.is_null() && (***message).err == no_error };
        self.fetch.messages.iter().filter(is_record).count()
    }

    /// The next item, until the next call.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        if self.at > 0 {
            self.free(self.at - 1);
        }
        let message = *self.fetch.messages.get(self.at)?;
        self.at += 1;
        // SAFETY: a message of ours that is not destroyed before the next call.
        let m = unsafe { &*message };
        if m.rkt.is_null() {
            return Some(Item::Trouble(error_text(m.err)));
        }
        let topic = self.fetch.topic_index(m.rkt);
        let (partition, offset) = (m.partition, m.offset);
        Some(match m.err {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: payload and length belong together and live as long as the message.
                let (value, timestamp_ms, leader_epoch) = unsafe {
                    let value =
                        (!m.payload.is_null()).then(|| std::slice::from_raw_parts(m.payload.cast::<u8>(), m.len));
                    let time = rd::rd_kafka_message_timestamp(message, std::ptr::null_mut());
                    (value, time, rd::rd_kafka_message_leader_epoch(message))
                };
                let name = self.fetch.topics.get(usize::from(topic)).map_or("", String::as_str);
                Item::Record(topic, Record { topic: name, partition, offset, timestamp_ms, leader_epoch, value })
            }
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Item::End { topic, partition, offset, epoch: -1 }
            }
            error => {
                // SAFETY: an error message's payload is its text.
                let reason = unsafe { text(rd::rd_kafka_message_errstr(message)) };
                let reason = if reason.is_empty() { error_text(error) } else { reason };
                if is_mended_by_itself(error) {
                    Item::Trouble(reason)
                } else if error == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET {
                    Item::OutOfRange { topic, partition, reason }
                } else {
                    Item::Broken { topic, partition, offset, reason }
                }
            }
        })
    }

    fn free(&mut self, at: usize) {
        let message = std::mem::replace(&mut self.fetch.messages[at], std::ptr::null_mut());
        if !message.is_null() {
            // SAFETY: ours, and destroyed once: its place is null now.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        (0..self.fetch.messages.len()).for_each(|at| self.free(at));
    }
}

/// The errors of a partition that librdkafka retries until they pass.
fn is_mended_by_itself(error: rd::rd_kafka_resp_err_t) -> bool {
    use rd::rd_kafka_resp_err_t as e;
    matches!(
        error,
        e::RD_KAFKA_RESP_ERR__TRANSPORT
            | e::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
            | e::RD_KAFKA_RESP_ERR__TIMED_OUT
            | e::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            | e::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | e::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | e::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            | e::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
            | e::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
            | e::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE
            | e::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
            | e::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
            | e::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
            | e::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE
    )
}

fn settings(cluster: &Cluster, group_id: &str) -> Vec<(String, String)> {
    let pair = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
    let mut all: Vec<_> = DEFAULTS.iter().map(pair).collect();
    all.extend(cluster.librdkafka.iter().cloned());
    all.push(("bootstrap.servers".into(), cluster.brokers.clone()));
    all.push(("group.id".into(), group_id.into()));
    all.extend(FIXED.iter().map(pair));
    all
}

/// # Safety
/// `conf` is alive.
unsafe fn set(conf: *mut rd::rd_kafka_conf_t, key: &str, value: &str) -> Result<(), FetchError> {
    let mut reason = [0; 512];
    let (name, text_) = (c_string(key), c_string(value));
    // SAFETY: three valid strings and a buffer with its length.
    let rc = unsafe { rd::rd_kafka_conf_set(conf, name.as_ptr(), text_.as_ptr(), reason.as_mut_ptr(), reason.len()) };
    if rc == rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
        return Ok(());
    }
    // SAFETY: librdkafka ends its text with a NUL within the buffer.
    let reason = unsafe { text(reason.as_ptr()) };
    Err(FetchError::Setting { key: key.into(), value: value.into(), reason })
}

/// Places as librdkafka takes them; the caller destroys the list.
fn list_of(places: &[From<'_>]) -> *mut rd::rd_kafka_topic_partition_list_t {
    // SAFETY: the rows are the list's own, which is not shared yet; names are copied.
    unsafe {
        let list = rd::rd_kafka_topic_partition_list_new(places.len() as c_int);
        for place in places {
            let name = c_string(place.topic);
            let row = rd::rd_kafka_topic_partition_list_add(list, name.as_ptr(), place.partition);
            (*row).offset = place.offset;
            if place.epoch >= 0 {
                rd::rd_kafka_topic_partition_set_leader_epoch(row, place.epoch);
            }
        }
        list
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// # Safety
/// Null, or a string that ends in NUL.
unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

fn error_text(error: rd::rd_kafka_resp_err_t) -> String {
    // SAFETY: a static string for every code.
    unsafe { text(rd::rd_kafka_err2str(error)) }
}

/// librdkafka's own lines. That brokers are away is said once, by the scout: here it is detail.
extern "C" fn log_line(_: *const rd::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: librdkafka hands two valid strings.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    let level = match (facility.as_str(), level) {
        ("FAIL" | "ERROR" | "MAXPOLL", _) => log::Level::Debug,
        (_, 0..=3) => log::Level::Error,
        (_, 4) => log::Level::Warn,
        (_, 5) => log::Level::Info,
        _ => log::Level::Debug,
    };
    log::log!(target: "librdkafka", level, "{facility}: {line}");
}
