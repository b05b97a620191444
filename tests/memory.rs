//! The process's memory at full load, with all keys at their defaults.

mod support;

use std::time::Duration;

use support::{Kafka, Mix, Part, Record, Site, eventually, left_out};

/// What the README promises for 6 partitions.
const PROMISED_KIB: u64 = 256 << 10;

#[test]
fn a_backlog_of_six_partitions_fits_the_promised_memory() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let topic = kafka.create_topic("memory", 6);
    let made: Vec<_> = Mix::new(7, 6).take(400_000).collect();
    kafka.produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka.bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&["--exit-at-end"]);
    let mut peak_kib = 0;
    let status = eventually("the backlog is delivered", Duration::from_secs(120), || {
        peak_kib = peak_resident_kib(run.pid()).unwrap_or(0).max(peak_kib);
        run.ended()
    });
    assert!(status.success(), "{}", site.log());
    println!("peak resident memory: {} MiB", peak_kib >> 10);
    assert!(peak_kib > 0 && peak_kib < PROMISED_KIB, "{} MiB at the peak", peak_kib >> 10);
}

/// `VmHWM` of a process that still runs.
fn peak_resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
