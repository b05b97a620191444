//! How long a record takes from the producer's hand until its line can be read in the file, with a steady trickle.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::Fault;
use crate::broker::Broker;
use crate::measure::{Ending, Place};
use crate::rivals;
use crate::waited::{HEADING, LONGEST, Waited};

const PARTITIONS: i32 = 8;
/// Records are sent in such steps.
const STEP: Duration = Duration::from_millis(1);
/// How often the file is looked at: the measurement is coarser than the truth by as much.
const LOOK: Duration = Duration::from_micros(500);

pub fn run(place: &Place, broker: &Broker, per_second: u64, seconds: u64, rounds: usize) -> Result<(), Fault> {
    println!("| by, round {HEADING}\n|---|---|---|---|---|---|---|");
    for round in 1..=rounds {
        for fetch in ["native", "librdkafka"] {
            let topic = format!("latency-{fetch}-{round}");
            broker.create(&topic, PARTITIONS)?;
            let keys = format!("fetch = {fetch:?}\n");
            let rival = rivals::logmill(place, &broker.address, &topic, &topic, "transform", &keys)?;
            let program = Ending(rival.endless().start(place)?);
            let out = place.path("work/out");
            let waited =
                one(broker, &topic, per_second, seconds, |begin, lines, longest| of_file(&out, lines, begin, longest))?;
            program.end()?;
            println!("| fetch = {fetch:?}, {round} {}", waited.percentiles());
        }
        let topic = format!("latency-{round}");
        broker.create(&topic, PARTITIONS)?;
        let waited = one(broker, &topic, per_second, seconds, |begin, lines, longest| {
            Waited::of_topic(broker, (&topic, PARTITIONS), lines, begin, longest)
        })?;
        println!("| a consumer alone, {round} {}", waited.percentiles());
    }
    Ok(())
}

/// One run, seen by `watch`.
fn one(
    broker: &Broker,
    topic: &str,
    per_second: u64,
    seconds: u64,
    watch: impl FnOnce(Instant, u64, Duration) -> Result<Waited, Fault>,
) -> Result<Waited, Fault> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(broker, topic, per_second, seconds, begin).map_err(|e| e.to_string()));
        let seen = watch(begin, per_second * seconds, Duration::from_secs(seconds) + LONGEST);
        sender.join().map_err(|_| "the producer died")??;
        seen
    })
}

/// A few records each step, to one partition after the other: the client makes a request of each partition's, and a broker
/// takes only so many of those.
fn send(broker: &Broker, topic: &str, per_second: u64, seconds: u64, begin: Instant) -> Result<(), Fault> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("compression.type", "snappy")
        .set("linger.ms", "1")
        .set("max.in.flight", "5")
        .create()?;
    let filler = "x".repeat(400);
    let gap = Duration::from_secs(1) / per_second as u32;
    let first = begin.elapsed();
    for n in 0..per_second * seconds {
        let due = first + gap * n as u32;
        if due > begin.elapsed() + STEP {
            std::thread::sleep(STEP);
        }
        let sent = begin.elapsed().as_micros();
        let value = format!(
            r#"{{"headers":{{"app_id":24,"log_name":"log_item"}},"logs":{{"mtime":1608184243,"role_id":{n},"device_id":"d{n}","sent_us":{sent},"note":"{filler}"}}}}"#
        );
        let partition = ((due - first).as_millis() / STEP.as_millis()) as i32 % PARTITIONS;
        let record = BaseRecord::<(), _>::to(topic).partition(partition).payload(value.as_bytes());
        producer.send(record).map_err(|(e, _)| e)?;
    }
    Ok(producer.flush(LONGEST)?)
}

/// Reads the file as it grows, until so many lines have come.
fn of_file(out: &Path, lines: u64, begin: Instant, longest: Duration) -> Result<Waited, Fault> {
    let (mut waited, mut rest) = (Waited::default(), Vec::new());
    let mut file = None;
    while waited.is_short_of(lines, begin, longest)? {
        std::thread::sleep(LOOK);
        let Some(file) = &mut file else {
            // The program's own files in there have hidden names.
            let mut entries = fs::read_dir(out)?.flatten();
            let found = entries.find(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            file = found.and_then(|entry| File::open(entry.path()).ok());
            continue;
        };
        File::read_to_end(file, &mut rest)?;
        let now = begin.elapsed();
        let whole = memchr::memrchr(b'\n', &rest).map_or(0, |at| at + 1);
        for line in rest[..whole].split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            waited.line(line, now)?;
        }
        rest.drain(..whole);
    }
    Ok(waited)
}
