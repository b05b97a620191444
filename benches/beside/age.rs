//! How old a line is when a consumer has it: many files grow at once, each by a line at a time.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::measure::{Ending, Place};
use crate::waited::{HEADING, LONGEST, Waited};
use crate::{Fault, collect};

const TOPIC: &str = "age";
const PARTITIONS: i32 = 8;

pub fn run(place: &Place, broker: &Broker, files: usize, per_second: u64, seconds: u64) -> Result<(), Fault> {
    std::fs::create_dir(place.path("logs"))?;
    let open = |n: usize| File::create(place.path(&format!("logs/{n}.log")));
    let all: Vec<File> = (0..files).map(open).collect::<Result<_, _>>()?;
    broker.create(TOPIC, PARTITIONS)?;
    let program = Ending(collect::follow(place, broker, "logs/*.log", TOPIC).start(place)?);
    let (begin, written) = (Instant::now(), AtomicU64::new(0));
    let lines = files as u64 * per_second * seconds;
    let waited = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(all, per_second, seconds, begin, &written).map_err(|e| e.to_string()));
        let seen = Waited::of_topic(broker, (TOPIC, PARTITIONS), lines, begin, Duration::from_secs(seconds) + LONGEST);
        writer.join().map_err(|_| "the writer died")??;
        seen
    })?;
    println!("| files {HEADING}\n|---|---|---|---|---|---|---|");
    println!("| {files} at {per_second} lines/s {}", waited.percentiles());
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
