//! What logmill's cost grows with: one thing changes, all else stays as it is by default.

use clap::ValueEnum;

use crate::Fault;
use crate::broker::Broker;
use crate::made::Made;
use crate::measure::Place;
use crate::rivals;
use crate::table::Row;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// Partitions of the topic
    Partitions,
    /// Bytes of one record
    RecordBytes,
    /// Files that are written at a time
    Files,
    /// Reader threads
    Readers,
    /// Bytes that wait in the topic
    Backlog,
}

impl With {
    fn steps(self) -> &'static [u64] {
        match self {
            With::Partitions => &[1, 6, 64, 512],
            With::RecordBytes => &[100, 550, 4 << 10, 64 << 10],
            With::Files => &[1, 100, 5000],
            With::Readers => &[1, 2],
            With::Backlog => &[1_000_000_000, 10_000_000_000],
        }
    }

    fn name(self) -> &'static str {
        match self {
            With::Partitions => "partitions",
            With::RecordBytes => "bytes of a record",
            With::Files => "open files",
            With::Readers => "readers",
            With::Backlog => "backlog in bytes",
        }
    }

    /// What stands in the topic, and in the task.
    fn step(self, step: u64, made: &Made) -> (Made, String) {
        let bytes = made.records * made.record_bytes as u64;
        match self {
            With::Partitions => (Made { partitions: step as i32, ..*made }, String::new()),
            With::RecordBytes => (Made { record_bytes: step as usize, records: bytes / step, ..*made }, String::new()),
            With::Files => (*made, files(step)),
            With::Readers => (*made, format!("readers = {step}\n")),
            With::Backlog => (Made { records: step / made.record_bytes as u64, ..*made }, String::new()),
        }
    }
}

/// Keys that spread records over so many files: lanes, and where those do not reach the eight kinds as well.
fn files(count: u64) -> String {
    match count {
        1 => String::new(),
        2..=1000 => format!("lanes = {count}\ndeliver_by = \"role_id\"\n"),
        _ => format!(
            "lanes = {}\ndeliver_by = \"role_id\"\nfile_name = \"{{lane}}_{{log_name}}_{{seq}}\"\n",
            count / crate::made::KINDS
        ),
    }
}

pub fn run(place: &Place, broker: &Broker, made: &Made, rounds: usize, with: &[With]) -> Result<Vec<Row>, Fault> {
    let all = if with.is_empty() { With::value_variants() } else { with };
    let mut rows = Vec::new();
    for with in all {
        for &step in with.steps() {
            let (made, keys) = with.step(step, made);
            let name = format!("{}-{step}", with.name().replace(' ', "-"));
            let topic = made.produce(broker, &name)?;
            let rival = rivals::logmill(place, &broker.address, &topic.name, &name, with.name(), &keys)?;
            let mut row = Row::new(&step.to_string(), with.name());
            row.at = Some(step as f64);
            for round in 1..=rounds {
                row.add(round, rival.run(place, made.records)?);
            }
            rows.push(row);
            broker.delete(&topic.name)?;
        }
    }
    Ok(rows)
}
