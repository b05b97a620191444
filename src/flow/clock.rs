//! The clock, and civil time at a fixed offset.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Milliseconds that this process has counted, from 1 on; they never go back.
pub fn running_ms() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// An instant as `2026-01-31T12:34:56.789Z`.
pub fn utc(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| format!("{t:.3}"))
}

/// The civil time of an instant; `offset_s` is seconds east of UTC.
pub fn civil(ms: i64, offset_s: i32) -> DateTime {
    let offset = Offset::from_seconds(offset_s).unwrap_or(Offset::UTC);
    jiff::Timestamp::from_millisecond(ms).map_or(DateTime::ZERO, |t| offset.to_datetime(t))
}
