//! The task's keys that steer the transform.

/// Everything the transform needs beside the settings files.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Seconds east of UTC.
    pub timezone_s: i32,
    pub value_codec: ValueCodec,
    /// Bytes of one value.
    pub max_record_bytes: usize,
    /// Bytes of one line with its newline.
    pub max_line_bytes: usize,
    pub unknown_log_name: UnknownLog,
    /// `bad_property = "fail"`: a bad name parks the record instead of being left out.
    pub fail_bad_property: bool,
    /// `long_string = "truncate"`.
    pub truncate_long_string: bool,
    pub add_uuid: bool,
    /// `time_fallback = "now"` instead of the Kafka timestamp.
    pub time_fallback_now: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueCodec {
    None,
    Snappy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownLog {
    /// The `"*"` entry, else E14.
    Entry,
    Park,
    Drop,
}

impl Default for Options {
    /// The defaults of the configuration file; `timezone` there defaults to +08:00.
    fn default() -> Options {
        Options {
            timezone_s: 8 * 3600,
            value_codec: ValueCodec::None,
            max_record_bytes: 1 << 20,
            max_line_bytes: 1 << 20,
            unknown_log_name: UnknownLog::Entry,
            fail_bad_property: false,
            truncate_long_string: false,
            add_uuid: false,
            time_fallback_now: false,
        }
    }
}
