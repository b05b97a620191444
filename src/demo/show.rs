//! What the demo says on the terminal.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::feed::{PARTITIONS, TOPIC};
use super::place::{Place, TASK};
use super::proof::Proof;
use crate::engine::{Summary, TaskSummary};
use crate::flow::span::Counts;

/// Characters of one of two columns; both and the gap make 80.
const COLUMN: usize = 38;

pub fn beginning(place: &Place, bootstrap: &str) -> String {
    format!(
        "The whole road in one process: a producer, an embedded Kafka broker, the engine, files.\n\n  \
         broker   {bootstrap}  (librdkafka's mock), topic {TOPIC}, {PARTITIONS} partitions\n  \
         config   {}\n  \
         files    {}\n  \
         log      {}\n",
        place.config().display(),
        place.out().display(),
        place.log().display()
    )
}

/// A bar on stderr, where that is a terminal.
pub fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("  {bar:40} {human_pos} records delivered  {per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The bar of a run that goes on until somebody ends it.
pub fn endless_bar(done: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_position(done);
    match ProgressStyle::with_template("  {human_pos} records delivered, Ctrl-C ends it") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

pub fn rate(records: u64, bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(0.001);
    format!(
        "{} records in {seconds:.1} s: {} records/s, {:.1} MB/s of values\n\
         (no benchmark: producer, broker and engine share this process)\n",
        HumanCount(records),
        HumanCount((records as f64 / seconds) as u64),
        bytes as f64 / 1e6 / seconds
    )
}

/// A record and its line, side by side.
pub fn pair(value: &str, line: &str) -> String {
    let (left, right) = (folded(value), folded(line));
    let mut text = format!("{:COLUMN$}    {}\n", "in: a record's value", "out: its line");
    for at in 0..left.len().max(right.len()) {
        let [left, right] = [&left, &right].map(|column| column.get(at).map_or("", String::as_str));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", format!("{left:COLUMN$}    {right}").trim_end());
    }
    text
}

/// The text in rows that fit a column, broken behind commas where there are any.
fn folded(text: &str) -> Vec<String> {
    let mut rows = vec![String::new()];
    for part in text.split_inclusive(',') {
        for c in part.chars().collect::<Vec<_>>().chunks(COLUMN) {
            let row = rows.last_mut().filter(|row| width(row) + c.len() <= COLUMN);
            match row {
                Some(row) => row.extend(c),
                None => rows.push(c.iter().collect()),
            }
        }
    }
    rows
}

fn width(row: &str) -> usize {
    row.chars().count()
}

/// What a run ended with, and whether the promise was kept.
pub fn end(summary: &Summary, sent: u64, proof: &Proof) -> String {
    let mut text = String::new();
    for TaskSummary { counts: Counts { consumed, written, filtered, parked }, tally, .. } in &summary.tasks {
        let [consumed, written, filtered, parked] = [*consumed, *written, *filtered, *parked].map(HumanCount);
        let _ = writeln!(text, "consumed {consumed} = written {written} + filtered {filtered} + parked {parked}");
        let named: Vec<_> = tally.named().map(|(name, n)| format!("{name} {}", HumanCount(n))).collect();
        let _ = writeln!(text, "         {}", named.join(", "));
        if consumed.0 < sent {
            let left = HumanCount(sent - consumed.0);
            let _ = writeln!(text, "         stopped before its end: {left} records were not taken from the broker");
        }
    }
    let Proof { files, lines, bytes, wrong } = proof;
    if wrong.is_empty() {
        let (plural, lines, mb) = (if *files == 1 { "" } else { "s" }, HumanCount(*lines), *bytes as f64 / 1e6);
        let _ = writeln!(
            text,
            "checked  {lines} lines, {mb:.1} MB, in {files} file{plural}: each record's line or parked copy is there \
             once,\n         none is missing, and each partition's lines are in order"
        );
    }
    text
}

/// How to go on; `program` as it was called.
pub fn going_on(place: &Place, program: &str) -> String {
    let (config, examples) = (place.config(), place.examples());
    let (config, examples, root) = (config.display(), examples.display(), place.root.display());
    format!(
        "Go on:\n  \
         ls -l {out}\n  \
         {program} transform --config {config} --task {TASK} < {examples} | head -n 3\n  \
         {program} demo --keep                   goes on until Ctrl-C\n  \
         {program} run --config {config}    once your own brokers stand in it\n  \
         rm -r {root}\n",
        out = place.out().display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_text_fits_its_column_and_loses_nothing() {
        let text = format!("{{\"a\":1,\"世界\":\"{}\",\"b\":2}}", "x".repeat(100));
        let rows = folded(&text);
        assert!(rows.iter().all(|row| width(row) <= COLUMN), "{rows:?}");
        assert_eq!(rows.concat(), text);
        assert!(pair(&text, "{}").lines().all(|line| width(line) <= 80));
    }
}
