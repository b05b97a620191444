//! What it costs to deliver a topic into files, beside the programs that others use to copy one: on one broker, on the
//! same records, one after the other, several rounds. `tools/bench --help` tells the rest.

mod broker;
mod chart;
mod growth;
mod latency;
mod made;
mod measure;
mod rivals;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use broker::Broker;
use made::{Made, Shapes};
use measure::Place;
use rivals::Rival;
use table::Row;

pub type Fault = Box<dyn Error>;

/// Delivers the same records with logmill and with what it finds on this machine, in turn, and compares
#[derive(Debug, Parser)]
#[command(name = "tools/bench", bin_name = "tools/bench")]
struct Typed {
    /// How many records stand in the topic
    #[arg(long, default_value_t = 3_000_000)]
    records: u64,
    /// How often each program runs; figures are medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// Bytes of one record
    #[arg(long, default_value_t = 550)]
    record_bytes: usize,
    /// few: eight kinds of records, each with its members in one order; unlike: every record has its own order
    #[arg(long, value_enum, default_value = "few")]
    shapes: Shapes,
    /// Only programs whose name holds one of these words; may be given several times
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Rows as JSON, one line each, instead of tables
    #[arg(long)]
    json: bool,
    /// Draw the medians into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Instead: how logmill's cost grows with partitions, record sizes, open files, readers and the backlog
    #[arg(long, conflicts_with_all = ["latency", "only"])]
    growth: bool,
    /// With --growth: what it grows with; may be given several times (all of it where it is absent)
    #[arg(long, value_enum, requires = "growth")]
    with: Vec<growth::With>,
    /// Instead: how long a record takes from the producer's hand to the file, at 10,000 records a second
    #[arg(long)]
    latency: bool,
    /// Where topic and files live while it runs
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[arg(long, hide = true)]
    bench: bool,
    /// What this program does when it stands beside itself as a rival
    #[arg(long, hide = true, num_args = 4)]
    bare_loop: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let typed = Typed::parse();
    match run(&typed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("tools/bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(typed: &Typed) -> Result<(), Fault> {
    if let Some([brokers, topic, partitions, out]) = typed.bare_loop.as_deref() {
        return rivals::bare_loop(brokers, topic, partitions.parse()?, out.as_ref());
    }
    let place = Place::new(typed.dir.as_deref())?;
    let broker = Broker::start(&place)?;
    let made = Made {
        records: typed.records,
        partitions: typed.partitions,
        record_bytes: typed.record_bytes,
        shapes: typed.shapes,
    };
    if typed.latency {
        return latency::run(&place, &broker, typed.rounds);
    }
    let rows = if typed.growth {
        growth::run(&place, &broker, &made, typed.rounds, &typed.with)?
    } else {
        beside(&place, &broker, &made, typed)?
    };
    match typed.json {
        true => rows.iter().for_each(|row| println!("{}", row.json())),
        false => table::print(&rows),
    }
    if let Some(svg) = &typed.svg {
        let drawn = if typed.growth { chart::growth(&rows) } else { chart::beside(&rows) };
        std::fs::write(svg, drawn)?;
    }
    Ok(())
}

fn beside(place: &Place, broker: &Broker, made: &Made, typed: &Typed) -> Result<Vec<Row>, Fault> {
    let topic = made.produce(broker, "beside")?;
    let is_asked = |rival: &Rival| typed.only.is_empty() || typed.only.iter().any(|word| rival.name.contains(word));
    let rivals: Vec<Rival> = rivals::all(place, broker, &topic, made)?.into_iter().filter(is_asked).collect();
    let mut rows: Vec<Row> = rivals.iter().map(|rival| Row::new(&rival.name, rival.deed)).collect();
    for round in 1..=typed.rounds {
        for (rival, row) in rivals.iter().zip(&mut rows) {
            let run = rival.run(place, made)?;
            eprintln!("round {round}: {}: {run}", rival.name);
            row.add(run);
        }
    }
    Ok(rows)
}
