//! The topic once more: every record from where delivery began up to the checkpoint's marks, transformed again.

use std::time::{Duration, Instant};

use super::lines::{Lines, Place};
use super::{Finding, Parked, VerifyError};
use crate::conf::config::Deliver;
use crate::dry_run::{Desk, Ended, Rules};
use crate::flow::cluster::{Cluster, Start};
use crate::flow::record::Record;
use crate::flow::span::Counts;
use crate::ledger::cut::{Cut, Source};
use crate::reader::kafka::{Catalog, Fetch, From, Item};

const WAIT: Duration = Duration::from_millis(200);
/// Longest time without a record or an end.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Where to read.
pub struct Topic<'a> {
    cluster: &'a Cluster,
    group_id: &'a str,
    names: Vec<String>,
    sources: Vec<Source>,
    /// Of each source, where delivery began.
    begins: Vec<i64>,
    rules: Rules,
    parked: &'a Parked,
}

impl<'a> Topic<'a> {
    /// Asks the brokers where each partition begins.
    ///
    /// # Errors
    /// No broker answers; or `start` does not tell any more where delivery began.
    pub fn new(deliver: &'a Deliver, cut: &Cut, rules: Rules, parked: &'a Parked) -> Result<Topic<'a>, VerifyError> {
        if deliver.start == Start::Latest {
            return Err(VerifyError::Refused(
                "with start = \"latest\" nothing tells where delivery began; set start to that time and try again"
                    .into(),
            ));
        }
        let catalog = Catalog::open(&deliver.cluster, &deliver.group_id)?;
        let names: Vec<String> = cut.topics.iter().map(|topic| topic.name.clone()).collect();
        let places: Vec<_> = cut.partitions().map(|s| (cut.topic_name(s.topic), s.partition)).collect();
        let begins = catalog.resolve(&places, deliver.start)?;
        let begins = begins.into_iter().zip(cut.partitions()).map(|(begin, s)| begin.min(s.next)).collect();
        let (cluster, group_id, sources) =
            (&deliver.cluster, deliver.group_id.as_str(), cut.partitions().copied().collect());
        Ok(Topic { cluster, group_id, names, sources, begins, rules, parked })
    }

    /// Tells `lines` of every line that has to be there; a record that has to be parked and is not is lost. Returns
    /// what has to become of the records.
    ///
    /// # Errors
    /// A partition cannot be read to its mark.
    pub fn read(&self, lines: &mut Lines, lost: &mut Finding) -> Result<Counts, VerifyError> {
        let mut fetch = Fetch::open(self.cluster, self.group_id, &self.names)?;
        let mut pass = Pass { topic: self, desk: Desk::new(self.rules.clone()), counts: Counts::default() };
        let mut open: Vec<bool> =
            self.sources.iter().zip(&self.begins).map(|(s, begin)| (*begin, 0) < (s.next, s.k)).collect();
        let mut heard = Instant::now();
        fetch.assign(&self.places(&open))?;
        while open.iter().any(|is_open| *is_open) {
            if heard.elapsed() > SILENCE_MAX {
                return Err(VerifyError::Refused(format!("no broker has answered for {SILENCE_MAX:?}")));
            }
            let mut batch = fetch.next_batch(WAIT);
            while let Some(item) = batch.next_item() {
                match item {
                    Item::Record(topic, record) => {
                        heard = Instant::now();
                        let Some(at) = self.source(topic, record.partition).filter(|at| open[*at]) else { continue };
                        open[at] = pass.record(at, &record, lines, lost);
                    }
                    Item::End { topic, partition, offset, .. } => {
                        heard = Instant::now();
                        let ended = self.source(topic, partition).filter(|at| offset >= self.sources[*at].next);
                        ended.into_iter().for_each(|at| open[at] = false);
                    }
                    Item::Broken { topic, partition, reason, .. }
                    | Item::Unfit { topic, partition, reason, .. }
                    | Item::OutOfRange { topic, partition, reason } => {
                        let name = self.names.get(usize::from(topic)).map_or("?", String::as_str);
                        return Err(VerifyError::Refused(format!("{name}/{partition} cannot be read: {reason}")));
                    }
                    Item::Trouble(reason) => log::debug!("{reason}"),
                }
            }
        }
        Ok(pass.counts)
    }

    /// A record as people name it.
    pub fn name(&self, place: Place) -> String {
        let source = &self.sources[place.source as usize];
        let topic = self.names.get(usize::from(source.topic)).map_or("?", String::as_str);
        let k = if place.k == 0 { String::new() } else { format!(" (number {} of its value)", place.k) };
        format!("{topic}/{}@{}{k}", source.partition, place.offset)
    }

    fn places(&self, open: &[bool]) -> Vec<From<'_>> {
        let sources = self.sources.iter().zip(&self.begins).zip(open).filter(|(_, is_open)| **is_open);
        sources
            .map(|((source, begin), _)| From {
                topic: &self.names[usize::from(source.topic)],
                partition: source.partition,
                offset: *begin,
                epoch: -1,
            })
            .collect()
    }

    fn source(&self, topic: u16, partition: i32) -> Option<usize> {
        self.sources.iter().position(|s| (s.topic, s.partition) == (topic, partition))
    }
}

/// One reading.
struct Pass<'t, 'a> {
    topic: &'t Topic<'a>,
    desk: Desk,
    counts: Counts,
}

impl Pass<'_, '_> {
    /// False when the record is behind the mark: its partition is read.
    fn record(&mut self, at: usize, record: &Record<'_>, lines: &mut Lines, lost: &mut Finding) -> bool {
        let topic = self.topic;
        let source = &topic.sources[at];
        if (record.offset, 0) >= (source.next, source.k) {
            return false;
        }
        let counts = &mut self.counts;
        let mut place = (record.topic.to_string(), record.partition, record.offset, 0);
        let mut each = |k: u32, ended: Ended<'_>| {
            if (record.offset, k) >= (source.next, source.k) {
                return;
            }
            counts.consumed += 1;
            place.3 = k;
            let here = Place { source: at as u32, offset: record.offset, k };
            match ended {
                // Parked then, whatever today's settings make of it.
                _ if topic.parked.contains(&place) => counts.parked += 1,
                Ended::Written(line) => {
                    counts.written += 1;
                    lines.want(line, here);
                }
                Ended::Filtered => counts.filtered += 1,
                Ended::Parked(parked) => {
                    counts.parked += 1;
                    let code = parked.code.name();
                    lost.add(u64::from(lines.is_first()), || format!("{}: {code}, and not parked", topic.name(here)));
                }
            }
        };
        // Nothing is written here that could fail.
        let _ = self.desk.value(record, &mut |k, ended, _| {
            each(k, ended);
            Ok(())
        });
        (record.offset + 1, 0) < (source.next, source.k)
    }
}
