//! A cut: every source's mark and every file's length at one moment when nothing was under way between them.

use serde::{Deserialize, Serialize};

use super::queue::Job;
use crate::flow::span::{Counts, Mark, QUEUE, queued};
use crate::flow::tally::Tally;
use crate::ring::set::MapSet;
use crate::ring::slot::{Kind, State};

/// File numbers are reserved in steps: after a power loss numbering goes on behind all that were reserved.
pub const SEQ_STEP: u64 = 65_536;

/// One consistent state of a task. The form that is stored; fields may be added, never change meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Rises by one with every cut of this state.
    pub number: u64,
    /// Of the maps that this cut was taken from.
    pub set_id: u64,
    pub group_id: String,
    /// The id of the cluster that the topics are in ("" where it gave none yet).
    #[serde(default)]
    pub cluster: String,
    /// Marks point into it; a topic keeps its place.
    pub topics: Vec<Topic>,
    pub sources: Vec<Source>,
    /// Reasons and remarks counted so far, by name.
    pub tally: Vec<u64>,
    pub output: Output,
    pub files: Vec<FileMark>,
    /// The next file number.
    pub seq: u64,
    /// Numbers below it may have been taken since.
    pub seq_limit: u64,
    /// Mounts of the data directory and the output directory, where the kernel tells them.
    pub mounts: [Option<u64>; 2],
    /// Milliseconds since the epoch.
    pub taken_ms: i64,
    /// It came from a flat copy after the database was lost, and no start has gone on from it yet: that files are ahead
    /// of it is no surprise.
    #[serde(default)]
    pub rebuilt: bool,
    /// What is being done with the failure queue.
    #[serde(default)]
    pub job: Option<Job>,
    /// Parked records that were cleared, by jobs that have ended.
    #[serde(default)]
    pub cleared: u64,
}

/// A topic, and the id that tells it from a later one of the same name ("" where the broker gives none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    pub id: String,
}

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub dir: String,
    /// The random id that was written into the directory.
    pub dir_id: u64,
    /// The templates whose names are ours.
    pub templates: Vec<String>,
}

/// The mark of a partition, or of the failure queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub topic: u16,
    pub partition: i32,
    pub next: i64,
    pub k: u32,
    pub epoch: i32,
    pub seeks: u16,
    pub consumed: u64,
    pub written: u64,
    pub filtered: u64,
    pub parked: u64,
}

/// A file's length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// The writer and the row of its table; only told for the running process.
    #[serde(skip)]
    pub place: (usize, usize),
    pub failures: bool,
    pub name: String,
    pub length: u64,
    pub sealed: bool,
    pub seq: u64,
    pub route_hash: u64,
    pub period: i64,
}

impl From<Mark> for Source {
    fn from(m: Mark) -> Source {
        let Counts { consumed, written, filtered, parked } = m.counts;
        let Mark { topic, partition, next, k, epoch, seeks, .. } = m;
        Source { topic, partition, next, k, epoch, seeks, consumed, written, filtered, parked }
    }
}

impl From<Source> for Mark {
    fn from(s: Source) -> Mark {
        let Source { topic, partition, next, k, epoch, seeks, consumed, written, filtered, parked } = s;
        Mark { topic, partition, next, k, epoch, seeks, counts: Counts { consumed, written, filtered, parked } }
    }
}

impl FileMark {
    pub fn kind(&self) -> Kind {
        if self.failures { Kind::Failures } else { Kind::Lines }
    }
}

impl Cut {
    /// The next cut after `last`: what the maps say now, which must be at rest, and the sources that no ring has yet.
    ///
    /// # Errors
    /// A damaged map, or records that ended in no way or in two.
    pub fn take(last: &Cut, maps: &MapSet, added: &[Source], now_ms: i64) -> Result<Cut, String> {
        debug_assert!(maps.is_empty());
        let mut sources = Vec::new();
        for mark in maps.rings.iter().flat_map(|ring| ring.marks()) {
            sources.push(Source::from(mark.ok_or("a row of the partition table is damaged")?));
        }
        let known = |s: &Source, list: &[Source]| list.iter().any(|o| (o.topic, o.partition) == (s.topic, s.partition));
        sources.extend(added.iter().filter(|s| !known(s, &sources)).copied().collect::<Vec<_>>());
        sources.extend(last.sources.iter().filter(|s| !known(s, &sources)).copied().collect::<Vec<_>>());
        sources.sort_by_key(|s| (s.topic, s.partition));
        let mut files = Vec::new();
        for (writer, slot) in maps.slots.iter().enumerate() {
            for (at, row, state) in slot.rows()? {
                files.push(FileMark {
                    place: (writer, at),
                    failures: row.kind == Kind::Failures,
                    length: slot.length(at),
                    sealed: state == State::Sealed,
                    name: row.name,
                    seq: row.seq,
                    route_hash: row.route_hash,
                    period: row.period,
                });
            }
        }
        let seq = maps.slots[0].seq();
        let cut = Cut {
            number: last.number + 1,
            set_id: maps.set_id,
            sources,
            tally: maps.tally().words().collect(),
            files,
            seq,
            seq_limit: if seq + SEQ_STEP / 2 > last.seq_limit { seq + SEQ_STEP } else { last.seq_limit },
            taken_ms: now_ms,
            ..last.clone()
        };
        cut.check()?;
        Ok(cut)
    }

    /// What must hold of every cut: each record has ended in exactly one way.
    ///
    /// # Errors
    /// The first source that does not add up.
    pub fn check(&self) -> Result<(), String> {
        match self.sources.iter().map(|s| Mark::from(*s)).find(|m| !m.counts.balance()) {
            None => Ok(()),
            Some(m) => Err(format!(
                "topic {} partition {}: consumed {} is not written {} + filtered {} + parked {}",
                self.topic_name(m.topic),
                m.partition,
                m.counts.consumed,
                m.counts.written,
                m.counts.filtered,
                m.counts.parked
            )),
        }
    }

    /// Where the task stands in Kafka.
    pub fn partitions(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|s| s.topic != QUEUE)
    }

    /// Where it stands in its failure queue; all at 0 where nothing was ever taken out.
    pub fn queue(&self) -> Mark {
        let none = Mark { topic: QUEUE, ..Mark::default() };
        self.sources.iter().find(|s| s.topic == QUEUE).map_or(none, |s| Mark::from(*s))
    }

    /// Records in the failure queue.
    pub fn queued(&self) -> u64 {
        queued(self.sources.iter().map(|s| Mark::from(*s)))
    }

    /// Parked records that were cleared, with those of the job under way.
    pub fn cleared(&self) -> u64 {
        let now = self.job.as_ref().filter(|job| job.clear);
        self.cleared + now.map_or(0, |job| self.queue().counts.since(job.began).consumed)
    }

    /// What parked records that were tried again became.
    pub fn retried(&self) -> Counts {
        let (Counts { consumed, filtered, .. }, cleared) = (self.queue().counts, self.cleared());
        Counts { consumed: consumed - cleared, filtered: filtered - cleared, ..self.queue().counts }
    }

    pub fn topic_name(&self, topic: u16) -> &str {
        self.topics.get(usize::from(topic)).map_or("?", |t| &t.name)
    }

    /// Sums over all partitions.
    pub fn counts(&self) -> Counts {
        self.partitions().fold(Counts::default(), |mut sum, s| {
            sum.add(Mark::from(*s).counts);
            sum
        })
    }

    pub fn tally(&self) -> Tally {
        Tally::from_words(self.tally.iter().copied())
    }
}
