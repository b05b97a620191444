//! What the two roads cost, beside the programs that others use: on one broker, on the same records, one after the
//! other, several rounds. `tools/bench --help` tells the rest.

mod age;
mod broker;
mod chart;
mod collect;
mod growth;
mod idle;
mod latency;
mod made;
mod measure;
mod rivals;
mod table;
mod waited;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use broker::Broker;
use made::Made;
use measure::Place;
use rivals::Rival;
use table::Row;

pub type Fault = Box<dyn Error>;

/// Measures logmill beside what else this machine has, in turn, on a broker of its own
#[derive(Debug, Parser)]
#[command(name = "tools/bench", bin_name = "tools/bench")]
struct Typed {
    #[command(subcommand)]
    deed: Deed,
    /// Where topics and files live while it runs
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// A topic into files: CPU a record, speed, memory
    Deliver {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        show: Show,
        /// Only programs whose name holds one of these words; may be given several times
        #[arg(long, value_name = "WORD")]
        only: Vec<String>,
    },
    /// How the cost of that grows with partitions, record sizes, open files, readers and the backlog
    Growth {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        show: Show,
        /// What it grows with; may be given several times (all of it where it is absent)
        #[arg(long, value_enum)]
        with: Vec<growth::With>,
    },
    /// From the producer's hand until the line stands in the file, at a steady rate
    Latency {
        #[arg(long, default_value_t = 10_000)]
        records_per_second: u64,
        #[arg(long, default_value_t = 20, value_name = "S")]
        seconds: u64,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// A file into a topic: CPU a line, speed, memory
    Collect {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        show: Show,
    },
    /// What followed files cost that nobody writes to
    Idle {
        #[arg(long, default_value_t = 10_000)]
        files: usize,
        /// Instead of files, so many partitions into which nothing comes
        #[arg(long)]
        partitions: Option<i32>,
        #[arg(long, default_value_t = 60, value_name = "S")]
        seconds: u64,
    },
    /// From the writing of a line until a consumer has it, with many files that grow
    Age {
        #[arg(long, default_value_t = 1000)]
        files: usize,
        /// Of each file
        #[arg(long, default_value_t = 100)]
        lines_per_second: u64,
        #[arg(long, default_value_t = 20, value_name = "S")]
        seconds: u64,
    },
    /// What this program does when it stands beside itself
    #[command(hide = true)]
    BareLoop { brokers: String, topic: String, partitions: i32, out: PathBuf },
}

#[derive(Debug, Args)]
struct Show {
    /// How often each program runs; figures are medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Rows as JSON, one line each, instead of a table
    #[arg(long)]
    json: bool,
    /// Draw the medians into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Show {
    fn rows(&self, rows: &[Row], draw: fn(&[Row]) -> String) -> Result<(), Fault> {
        match self.json {
            true => rows.iter().for_each(|row| println!("{}", row.json())),
            false => table::print(rows),
        }
        match &self.svg {
            Some(file) => Ok(std::fs::write(file, draw(rows))?),
            None => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    match run(Typed::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("tools/bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(typed: Typed) -> Result<(), Fault> {
    if let Deed::BareLoop { brokers, topic, partitions, out } = &typed.deed {
        return rivals::bare_loop(brokers, topic, *partitions, out);
    }
    let place = &Place::new(typed.dir.as_deref())?;
    let broker = &Broker::start(place)?;
    match typed.deed {
        Deed::Deliver { made, show, only } => {
            let topic = made.produce(broker, "beside")?;
            let is_asked = |rival: &Rival| only.is_empty() || only.iter().any(|word| rival.name.contains(word));
            let rivals: Vec<_> = rivals::all(place, broker, &topic, &made)?.into_iter().filter(is_asked).collect();
            show.rows(&in_turn(place, &rivals, &made, show.rounds)?, chart::beside)
        }
        Deed::Growth { made, show, with } => {
            show.rows(&growth::run(place, broker, &made, show.rounds, &with)?, chart::growth)
        }
        Deed::Latency { records_per_second, seconds, rounds } => {
            latency::run(place, broker, records_per_second, seconds, rounds)
        }
        Deed::Collect { made, show } => show.rows(&collect::run(place, broker, &made, show.rounds)?, chart::beside),
        Deed::Idle { partitions: Some(count), seconds, .. } => idle::partitions(place, broker, count, seconds),
        Deed::Idle { files, seconds, .. } => idle::run(place, broker, files, seconds),
        Deed::Age { files, lines_per_second, seconds } => age::run(place, broker, files, lines_per_second, seconds),
        Deed::BareLoop { .. } => Ok(()),
    }
}

fn in_turn(place: &Place, rivals: &[Rival], made: &Made, rounds: usize) -> Result<Vec<Row>, Fault> {
    let mut rows: Vec<Row> = rivals.iter().map(|rival| Row::new(&rival.name, rival.deed)).collect();
    for round in 1..=rounds {
        for (rival, row) in rivals.iter().zip(&mut rows) {
            row.add(round, rival.run(place, made.records)?);
        }
    }
    Ok(rows)
}
