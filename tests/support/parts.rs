//! Tests that need something not every machine can have say so here. `tools/test` finds out what is missing and names
//! in its last lines the tests that were left out for it; without it (plain `cargo test`) nothing is left out, and a
//! test whose part is missing fails.

use std::fs::OpenOptions;
use std::io::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Java, and Kafka itself.
    Kafka,
    /// strace, and the right to trace.
    Strace,
    /// The right to mount, and a loop device.
    Mount,
    /// The server.
    Etcd,
    /// The same right, with `service`, `update-rc.d` and `useradd`, as on Debian.
    Service,
    /// systemd-analyze.
    Systemd,
    /// shellcheck.
    Shellcheck,
    /// Prometheus's checker.
    Promtool,
}

/// True when the calling test has to return at once because a part is missing; then its name stands in the list.
///
/// `LOGMILL_TEST_WITHOUT` holds the missing parts, comma-separated; `LOGMILL_TEST_LEFT_OUT` names the list's file.
pub fn left_out(needed: &[Part]) -> bool {
    let without = std::env::var("LOGMILL_TEST_WITHOUT").unwrap_or_default();
    let name = |part: &Part| format!("{part:?}").to_lowercase();
    let Some(missing) = needed.iter().map(name).find(|part| without.split(',').any(|w| w == part)) else {
        return false;
    };
    let thread = std::thread::current();
    let line = format!("{}::{} (no {missing})\n", env!("CARGO_CRATE_NAME"), thread.name().unwrap_or("?"));
    let list = std::env::var("LOGMILL_TEST_LEFT_OUT").expect("tools/test sets both variables");
    let mut list = OpenOptions::new().append(true).create(true).open(list).expect("list of tests left out");
    list.write_all(line.as_bytes()).expect("list of tests left out");
    true
}
