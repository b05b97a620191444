//! The process's memory at full load, with all keys at their defaults.

use std::time::Duration;

use crate::support::{Codec, Mix, Part, Record, Site, eventually, kafka, left_out};

const LONG: Duration = Duration::from_secs(600);
/// What the README promises for 6 partitions, in MiB.
const PROMISED_MIB: u64 = 128;
/// The same where librdkafka fetches.
const LIBRDKAFKA_MIB: u64 = 256;

#[test]
fn a_backlog_of_six_partitions_fits_the_promised_memory() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = kafka();
    let topic = kafka.create_topic("memory", 6);
    let made: Vec<_> = Mix::new(7, 6).take(400_000).collect();
    kafka.produce(&topic, made.iter().map(Record::from));
    for (fetch, promised_mib) in [("native", PROMISED_MIB), ("librdkafka", LIBRDKAFKA_MIB)] {
        let mut site = Site::new(kafka.bootstrap());
        site.task("game", &[&topic], &format!("fetch = {fetch:?}"));
        let peak_mib = peak_mib(&site);
        println!("peak resident memory, fetch = {fetch}: {peak_mib} MiB");
        assert!(peak_mib < promised_mib, "{fetch}: {peak_mib} MiB at the peak");
    }
}

/// The peak of a run that delivers all there is.
fn peak_mib(site: &Site) -> u64 {
    let mut run = site.start(&["--exit-at-end"]);
    let mut peak_kib = 0;
    let status = eventually("the backlog is delivered", LONG, || {
        peak_kib = peak_resident_kib(run.pid()).unwrap_or(0).max(peak_kib);
        run.ended()
    });
    assert!(status.success() && peak_kib > 0, "{}", site.log());
    peak_kib >> 10
}

/// `VmHWM` of a process that still runs.
fn peak_resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Gzip has no bound of its own: what one fetch brings is in memory as a whole once it is unpacked. What a fetch brings
/// is the one thing that bounds it.
#[test]
fn a_compression_bomb_is_bounded_by_what_a_fetch_may_bring() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    const RECORDS: usize = 300;
    const RECORD_BYTES: usize = 900_000;
    let kafka = kafka();
    let topic = kafka.create_topic("bomb", 1);
    let bomb = Record { partition: 0, payload: Some(vec![b'a'; RECORD_BYTES]), timestamp_ms: 1 };
    // 810 MB in 0.8 MB, which is one fetch with all keys at their defaults.
    for _ in 0..3 {
        kafka.produce_with(&topic, Codec::Gzip, (0..RECORDS).map(|_| Record { payload: bomb.payload.clone(), ..bomb }));
    }
    let mut site = Site::new(kafka.bootstrap());
    site.process("[cluster.default.librdkafka]\n\"fetch.message.max.bytes\" = \"32768\"");
    site.task("game", &[&topic], "transform = \"none\"");
    let peak_mib = peak_mib(&site);
    assert_eq!(site.told("game").run.written, 3 * RECORDS as u64);
    println!("peak resident memory: {peak_mib} MiB");
    assert!(peak_mib < PROMISED_MIB, "{peak_mib} MiB at the peak");
}
