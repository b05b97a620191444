//! What librdkafka is told, and what it says.

use std::ffi::{CStr, CString, c_char, c_int};

use rdkafka::bindings as rd;

use super::{ProduceError, Settings};

/// What a message may be larger than its line: key and headers.
const MESSAGE_OVERHEAD: usize = 64 << 10;
/// What librdkafka is told unless the cluster's own settings say otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    ("client.id", "logmill"),
    ("linger.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    ("statistics.interval.ms", "0"),
];

/// What delivery rests on: no cluster setting changes it. Messages are tried until the broker takes or refuses them.
const FIXED: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("message.send.max.retries", "2147483647"),
    ("message.timeout.ms", "0"),
    // Else librdkafka chooses a partition of its own for messages without a key.
    ("sticky.partitioning.linger.ms", "0"),
    ("queue.buffering.max.messages", "1000000"),
    ("queue.buffering.max.kbytes", "2097151"),
];

/// librdkafka's configuration; the caller owns it.
///
/// # Errors
/// A setting that librdkafka refuses.
pub fn made(settings: &Settings) -> Result<*mut rd::rd_kafka_conf_t, ProduceError> {
    // SAFETY: a plain constructor; the configuration is alive while it is filled.
    unsafe {
        let conf = rd::rd_kafka_conf_new();
        rd::rd_kafka_conf_set_log_cb(conf, Some(log_line));
        for (key, value) in pairs(settings) {
            if let Err(e) = set(conf, &key, &value) {
                rd::rd_kafka_conf_destroy(conf);
                return Err(e);
            }
        }
        Ok(conf)
    }
}

fn pairs(settings: &Settings) -> Vec<(String, String)> {
    let pair = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
    let mut all: Vec<_> = DEFAULTS.iter().map(pair).collect();
    all.push(("compression.type".into(), settings.compression.clone()));
    all.push(("batch.size".into(), settings.batch_bytes.to_string()));
    all.push(("message.max.bytes".into(), (settings.read_bytes + MESSAGE_OVERHEAD).to_string()));
    all.extend(settings.cluster.librdkafka.iter().cloned());
    all.push(("bootstrap.servers".into(), settings.cluster.brokers.clone()));
    all.extend(settings.transactional_id.iter().map(|id| ("transactional.id".into(), id.clone())));
    all.extend(FIXED.iter().map(pair));
    all
}

/// # Safety
/// `conf` is alive.
unsafe fn set(conf: *mut rd::rd_kafka_conf_t, key: &str, value: &str) -> Result<(), ProduceError> {
    let mut reason = [0; 512];
    let (name, value_) = (c_string(key), c_string(value));
    // SAFETY: valid strings and a buffer with its length, in which librdkafka ends its text with a NUL.
    unsafe {
        let rc = rd::rd_kafka_conf_set(conf, name.as_ptr(), value_.as_ptr(), reason.as_mut_ptr(), reason.len());
        if rc == rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Ok(());
        }
        Err(ProduceError::Setting { key: key.into(), value: value.into(), reason: text(reason.as_ptr()) })
    }
}

pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// # Safety
/// Null, or a string that ends in NUL.
pub unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

pub fn error_text(error: rd::rd_kafka_resp_err_t) -> String {
    // SAFETY: a static string for every code.
    unsafe { text(rd::rd_kafka_err2str(error)) }
}

/// librdkafka's own lines. That brokers are away is said by the station: here it is detail.
extern "C" fn log_line(_: *const rd::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: librdkafka hands two valid strings.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    let level = match (facility.as_str(), level) {
        ("FAIL" | "ERROR", _) => log::Level::Debug,
        (_, 0..=3) => log::Level::Error,
        (_, 4) => log::Level::Warn,
        (_, 5) => log::Level::Info,
        _ => log::Level::Debug,
    };
    log::log!(target: "librdkafka", level, "{facility}: {line}");
}
