//! Which partition a line goes to, where librdkafka has to be asked how many there are.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};

use rdkafka::bindings as rd;

/// librdkafka's word for "no partition was chosen".
pub const UNASSIGNED: i32 = -1;

/// librdkafka asks while the number of partitions is not known here; from then on it is.
pub extern "C" fn partition(
    _: *const rd::rd_kafka_topic_t,
    _: *const c_void,
    _: usize,
    partitions: i32,
    known: *mut c_void,
    opaque: *mut c_void,
) -> i32 {
    // SAFETY: the number of the topic, which lives as long as the topic.
    unsafe { &*known.cast_const().cast::<AtomicI32>() }.store(partitions, Ordering::Relaxed);
    let hash = (opaque as u64 >> 32) as u32;
    (hash % partitions.max(1) as u32) as i32
}
