//! What files cost that are followed while nobody writes to them, and partitions that are read while nothing comes.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::broker::Broker;
use crate::measure::{Ending, Place};
use crate::{Fault, collect, rivals};

/// By then all files were found and read to their end.
const SETTLED: Duration = Duration::from_secs(30);
/// The kernel's unit of processor time (proc_pid_stat(5)); Linux has it at 100 on all machines that logmill runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn run(place: &Place, broker: &Broker, files: usize, seconds: u64) -> Result<(), Fault> {
    fs::create_dir(place.path("logs"))?;
    for n in 0..files {
        fs::write(place.path(&format!("logs/{n}.log")), format!("the only line of file {n}\n"))?;
    }
    broker.create("idle", 1)?;
    let program = Ending(collect::follow(place, broker, "logs/*.log", "idle").start(place)?);
    measure(program, &format!("{files} idle files"), seconds)
}

/// Of one topic, with each client.
pub fn partitions(place: &Place, broker: &Broker, count: i32, seconds: u64) -> Result<(), Fault> {
    broker.create("idle", count)?;
    for client in ["native", "librdkafka"] {
        let keys = format!("transform = \"none\"\nfetch = {client:?}\n");
        let rival = rivals::logmill(place, &broker.address, "idle", client, "idle", &keys)?.endless();
        measure(Ending(rival.start(place)?), &format!("{count} idle partitions, {client}"), seconds)?;
    }
    Ok(())
}

/// The share of a core that a program takes once it has settled.
fn measure(program: Ending, name: &str, seconds: u64) -> Result<(), Fault> {
    let pid = program.0.id();
    sleep(SETTLED);
    let before = ticks(pid)?;
    sleep(Duration::from_secs(seconds));
    let share = (ticks(pid)? - before) as f64 / TICKS_PER_SECOND / seconds as f64;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    println!("{name}: {:.2} % of a core over {seconds} s, {resident} resident at most", share * 100.0);
    program.end()
}

/// User and system time of a process.
fn ticks(pid: u32) -> Result<u64, Fault> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
    // Fields 14 and 15; what follows the name begins with field 3.
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}
