//! How old a line is when a consumer has it: many files grow at once, each by a line at a time.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use logmill::flow::cluster::Cluster;
use logmill::flow::record::{From, Item};
use logmill::reader::kafka::Fetch;

use crate::broker::Broker;
use crate::measure::{Ending, Place};
use crate::waited::{HEADING, percentiles, sent_us};
use crate::{Fault, collect};

const TOPIC: &str = "age";
const PARTITIONS: i32 = 8;
/// Lines of the beginning, in which all comes into motion, do not count.
const UNCOUNTED: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(60);

pub fn run(place: &Place, broker: &Broker, files: usize, per_second: u64, seconds: u64) -> Result<(), Fault> {
    std::fs::create_dir(place.path("logs"))?;
    let open = |n: usize| File::create(place.path(&format!("logs/{n}.log")));
    let all: Vec<File> = (0..files).map(open).collect::<Result<_, _>>()?;
    broker.create(TOPIC, PARTITIONS)?;
    let program = Ending(collect::follow(place, broker, "logs/*.log", TOPIC).start(place)?);
    let (begin, written) = (Instant::now(), AtomicU64::new(0));
    let lines = files as u64 * per_second * seconds;
    let mut waited = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(all, per_second, seconds, begin, &written).map_err(|e| e.to_string()));
        let seen = read(broker, lines, begin, Duration::from_secs(seconds) + LONGEST);
        writer.join().map_err(|_| "the writer died")??;
        seen
    })?;
    println!("| files {HEADING}\n|---|---|---|---|---|---|---|");
    println!("| {files} at {per_second} lines/s {}", percentiles(&mut waited));
    program.end()
}

/// Round after round, a line for each file.
fn write(
    mut files: Vec<File>,
    per_second: u64,
    seconds: u64,
    begin: Instant,
    written: &AtomicU64,
) -> Result<(), Fault> {
    let filler = "x".repeat(100);
    let first = begin.elapsed();
    let gap = Duration::from_secs(1) / (per_second as u32 * files.len() as u32);
    for round in 0..per_second * seconds {
        for (n, file) in files.iter_mut().enumerate() {
            let done = written.fetch_add(1, Ordering::Relaxed);
            let due = first + gap * done as u32;
            let now = begin.elapsed();
            if due > now + Duration::from_millis(1) {
                sleep(due - now);
            }
            let sent = begin.elapsed().as_micros();
            let line = format!("{{\"file\":{n},\"round\":{round},\"sent_us\":{sent},\"note\":\"{filler}\"}}\n");
            file.write_all(line.as_bytes())?;
        }
    }
    Ok(())
}

/// Microseconds of each line that counts, until all have come.
fn read(broker: &Broker, lines: u64, begin: Instant, longest: Duration) -> Result<Vec<u64>, Fault> {
    let mut fetch = Fetch::open(&Cluster::of_brokers(&broker.address), "age", &[TOPIC.to_string()])?;
    let places: Vec<_> =
        (0..PARTITIONS).map(|partition| From { topic: TOPIC, partition, offset: 0, epoch: -1 }).collect();
    fetch.assign(&places)?;
    let (mut waited, mut seen) = (Vec::new(), 0);
    while seen < lines {
        if begin.elapsed() > longest {
            return Err(format!("{seen} of {lines} lines have come").into());
        }
        let mut batch = fetch.next_batch(Duration::from_millis(100));
        let now = begin.elapsed();
        while let Some(item) = batch.next_item() {
            let Item::Record(_, record) = item else { continue };
            seen += 1;
            let sent = record.value.and_then(sent_us).ok_or("a line without its time")?;
            if Duration::from_micros(sent) >= UNCOUNTED {
                waited.push((now.as_micros() as u64).saturating_sub(sent));
            }
        }
    }
    Ok(waited)
}
