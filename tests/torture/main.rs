//! The torture: real processes on a real broker, a producer whose records carry (partition, sequence), a tailer that
//! never goes back, a checker that knows every line, and faults.
//!
//! In: which faults, how often, a seed. Out: a table with a row for each fault, and `N passed, N failed`. Without
//! arguments a short version of every fault; `--help` tells the rest.

#[path = "../support/mod.rs"]
mod support;

mod brokers;
mod combined;
mod course;
mod errno;
mod full;
mod kills;
mod power;
mod syscalls;

use std::process::ExitCode;

use course::{Ground, Outcome};
use support::{Kafka, Part, left_out};

const HELP: &str = "\
usage: tools/torture [--seed N] [FAULT [N]]...

  --kill9 N          kill -9 at N random moments, other numbers of readers and writers and other lanes in between
  --power-loss N     N times the filesystem loses what was not synced: of the output, of data_dir, of both
  --every-syscall [N]  SIGKILL at the Nth write, fdatasync, openat ... of the start, of the writer, of the keeper, for
                     N = 1, 2, 3 ... until a run passes without (a number above 1: at fewer of these,
                     and a third of the calls)
  --errno [N]        EIO from fdatasync and fsync, ENOSPC, EIO and writes of nothing, EMFILE; N rounds
  --disk-full N      N times the disk is full until a janitor takes finished files or the disk grows
  --combined N       N times kill -9 while the disk is full, the broker stands still, its connections are slow, silent or
                     broken, in any combination
  --broker N         N times a broker stands still, dies and comes back, or hands its partitions to another, or its
                     connections break off, go slow or silent

A seed repeats the choices of a run. Several faults happen at the same time. Without a fault: a short version of each.
";

/// A fault: its option, how often it happens in the short version, what it needs, and how it is done.
struct Fault {
    name: &'static str,
    short: u64,
    full: u64,
    needs: &'static [Part],
    run: fn(&Ground<'_>, u64) -> Outcome,
}

const FAULTS: [Fault; 7] = [
    Fault { name: "kill9", short: 12, full: 1000, needs: &[Part::Kafka], run: kills::run },
    Fault { name: "power-loss", short: 6, full: 100, needs: &[Part::Kafka, Part::Mount], run: power::run },
    Fault { name: "every-syscall", short: 60, full: 1, needs: &[Part::Kafka, Part::Strace], run: syscalls::run },
    Fault { name: "errno", short: 1, full: 4, needs: &[Part::Kafka, Part::Strace], run: errno::run },
    Fault { name: "disk-full", short: 8, full: 20, needs: &[Part::Kafka, Part::Mount], run: full::run },
    Fault { name: "combined", short: 6, full: 60, needs: &[Part::Kafka, Part::Mount], run: combined::run },
    Fault { name: "broker", short: 6, full: 20, needs: &[Part::Kafka], run: brokers::run },
];

/// What was typed.
struct Typed {
    seed: u64,
    faults: Vec<(&'static Fault, u64)>,
}

fn main() -> ExitCode {
    let typed = match typed(std::env::args().skip(1)) {
        Ok(Some(typed)) => typed,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(what) => {
            eprintln!("{what}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let wanted: Vec<_> = typed.faults.iter().filter(|(fault, _)| !is_left_out(fault)).collect();
    println!("--seed {}", typed.seed);
    let kafka = (!wanted.is_empty()).then(|| Kafka::start(1));
    let ground = kafka.as_ref().map(|kafka| Ground { kafka, seed: typed.seed });
    let rows: Vec<_> = std::thread::scope(|scope| {
        let Some(ground) = &ground else { return Vec::new() };
        let running: Vec<_> =
            wanted.iter().map(|(fault, times)| (fault.name, scope.spawn(|| fault.run(ground, *times)))).collect();
        running.into_iter().map(|(name, fault)| (name, fault.join().ok().flatten())).collect()
    });
    table(&rows);
    let failed = rows.iter().filter(|(_, row)| row.as_ref().is_none_or(|row| !row.is_exact())).count();
    println!("{} passed, {failed} failed", rows.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Fault {
    /// `None`: it panicked, and has said why.
    fn run(&self, ground: &Ground<'_>, times: u64) -> Option<Outcome> {
        let began = std::time::Instant::now();
        let outcome = on_a_thread(self.name, || (self.run)(ground, times));
        println!("{} took {} s", self.name, began.elapsed().as_secs());
        outcome
    }
}

/// `None` asks for help. What other test binaries understand (`--nocapture`, the name of a test) is not for this one:
/// a name runs the faults whose names hold it.
fn typed(words: impl Iterator<Item = String>) -> Result<Option<Typed>, String> {
    let mut typed = Typed { seed: 1, faults: Vec::new() };
    let mut words = words.peekable();
    let mut filters = Vec::new();
    while let Some(word) = words.next() {
        let mut number = || words.next_if(|next| next.parse::<u64>().is_ok()).and_then(|next| next.parse().ok());
        match word.strip_prefix("--") {
            Some("help") => return Ok(None),
            Some("seed") => typed.seed = number().ok_or("--seed takes a number")?,
            Some("nocapture" | "exact" | "ignored" | "include-ignored" | "quiet" | "list") => {}
            Some(name) => {
                let fault = FAULTS.iter().find(|fault| fault.name == name);
                let fault = fault.ok_or_else(|| format!("there is no option {word}"))?;
                typed.faults.push((fault, number().unwrap_or(fault.full)));
            }
            None => filters.push(word),
        }
    }
    if typed.faults.is_empty() {
        let meant = |fault: &&Fault| filters.is_empty() || filters.iter().any(|f| fault.name.contains(f.as_str()));
        typed.faults = FAULTS.iter().filter(meant).map(|fault| (fault, fault.short)).collect();
    }
    typed.faults.sort_by_key(|(fault, _)| FAULTS.iter().position(|f| f.name == fault.name));
    Ok(Some(typed))
}

fn is_left_out(fault: &Fault) -> bool {
    on_a_thread(fault.name, || left_out(fault.needs)).unwrap_or(true)
}

/// `None`: it panicked, and has said why.
fn on_a_thread<T: Send>(name: &str, body: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, body);
        thread.expect("a thread").join().ok()
    })
}

fn table(rows: &[(&str, Option<Outcome>)]) {
    println!(
        "\n{:<14} {:>6} {:>9} {:>6} {:>8} {:>7} {:>13} {:>6} {:>17}",
        "fault", "times", "lines", "lost", "doubled", "shrunk", "out of order", "other", "slowest recovery"
    );
    for (name, row) in rows {
        let Some(row) = row else {
            println!("{name:<14} broken off, see above");
            continue;
        };
        let slowest = match row.slowest.as_millis() {
            0 => "-".to_owned(),
            slowest => format!("{slowest} ms"),
        };
        println!(
            "{name:<14} {:>6} {:>9} {:>6} {:>8} {:>7} {:>13} {:>6} {slowest:>17}",
            row.times,
            row.lines,
            row.lost,
            row.doubled,
            row.shrunk,
            row.out_of_order,
            row.other.len(),
        );
        row.other.iter().take(20).for_each(|what| println!("    {what}"));
    }
}
