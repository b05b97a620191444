//! How long a record takes from the producer's hand until its line can be read in the file, with a steady trickle.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Fault;
use crate::broker::Broker;
use crate::measure::{Ending, Place};
use crate::rivals;

/// Of one round; the first second, in which all begins, does not count.
const RECORDS: u64 = 110_000;
const UNCOUNTED: u64 = 10_000;
const PER_SECOND: u64 = 10_000;
const PARTITIONS: i32 = 8;
/// How often the file is looked at: the measurement is coarser than the truth by as much.
const LOOK: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_secs(60);
/// The program's own file in there.
const OWN: &str = ".logmill-id";
const SENT: &[u8] = b"\"sent_us\":";

pub fn run(place: &Place, broker: &Broker, rounds: usize) -> Result<(), Fault> {
    println!("| round {HEADING}\n|---|---|---|---|---|---|---|");
    for round in 1..=rounds {
        let mut waited = one(place, broker, &format!("latency-{round}"))?;
        println!("| {round} {}", percentiles(&mut waited));
    }
    Ok(())
}

pub const HEADING: &str = "| records | p50 ms | p90 ms | p99 ms | p99.9 ms | worst ms |";

/// Cells of a table, from microseconds.
pub fn percentiles(waited: &mut [u64]) -> String {
    waited.sort_unstable();
    let last = waited.len().saturating_sub(1) as f64;
    let at = |part: f64| waited.get((last * part) as usize).map_or(f64::NAN, |us| *us as f64 / 1000.0);
    let [a, b, c, d, e] = [0.5, 0.9, 0.99, 0.999, 1.0].map(at);
    format!("| {} | {a:.2} | {b:.2} | {c:.2} | {d:.2} | {e:.2} |", waited.len())
}

/// Microseconds of each record that counts.
fn one(place: &Place, broker: &Broker, topic: &str) -> Result<Vec<u64>, Fault> {
    broker.create(topic, PARTITIONS)?;
    let rival = rivals::logmill(place, &broker.address, topic, topic, "transform", "")?;
    let program = Ending(rival.endless().start(place)?);
    let (begin, is_over) = (Instant::now(), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(broker, topic, begin, &is_over).map_err(|e| e.to_string()));
        let seen = watch(&place.path("work/out"), begin);
        is_over.store(true, Ordering::Relaxed);
        match sender.join() {
            Ok(Ok(())) => seen,
            Ok(Err(e)) => Err(e.into()),
            Err(_) => Err("the producer died".into()),
        }
    });
    program.end()?;
    result
}

/// Ten records each millisecond, sent on at once.
fn send(broker: &Broker, topic: &str, begin: Instant, is_over: &AtomicBool) -> Result<(), Fault> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("compression.type", "snappy")
        .set("linger.ms", "0")
        .create()?;
    let filler = "x".repeat(400);
    let first = begin.elapsed();
    for n in 0..RECORDS {
        let due = first + Duration::from_micros(n * 1_000_000 / PER_SECOND);
        producer.poll(Duration::ZERO);
        if !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
        }
        let sent = begin.elapsed().as_micros();
        let value = format!(
            r#"{{"headers":{{"app_id":24,"log_name":"log_item"}},"logs":{{"mtime":1608184243,"role_id":{n},"sent_us":{sent},"note":"{filler}"}}}}"#
        );
        let record = BaseRecord::<(), _>::to(topic).partition((n % PARTITIONS as u64) as i32).payload(value.as_bytes());
        producer.send(record).map_err(|(e, _)| e)?;
    }
    Ok(producer.flush(LONGEST)?)
}

/// Reads the files as they grow.
fn watch(out: &Path, begin: Instant) -> Result<Vec<u64>, Fault> {
    let (mut waited, mut seen, mut rest) = (Vec::new(), 0, Vec::new());
    let mut file = None;
    while seen < RECORDS {
        if begin.elapsed() > LONGEST {
            return Err(format!("{seen} of {RECORDS} lines after a minute").into());
        }
        let Some(file) = &mut file else {
            let paths = fs::read_dir(out)?.flatten().map(|entry| entry.path());
            file = paths.filter(|path| !path.ends_with(OWN)).find_map(|path| fs::File::open(path).ok());
            std::thread::sleep(LOOK);
            continue;
        };
        let from = rest.len();
        match fs::File::read_to_end(file, &mut rest) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
        let now = begin.elapsed().as_micros() as u64;
        if rest.len() == from {
            std::thread::sleep(LOOK);
            continue;
        }
        let whole = memchr::memrchr(b'\n', &rest).map_or(0, |at| at + 1);
        for line in rest[..whole].split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            seen += 1;
            let sent = sent_us(line).ok_or("a line without its time")?;
            if seen > UNCOUNTED {
                waited.push(now.saturating_sub(sent));
            }
        }
        rest.drain(..whole);
    }
    Ok(waited)
}

pub fn sent_us(line: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, SENT)? + SENT.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
}
