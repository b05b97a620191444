//! Every channel and thread of a deliver task, in one place. Built before anything is spawned; no arrow runs back.
//!
//! ```text
//! engine --control--> readers --entries--> writers
//! engine --cuts-----> keeper          engine --asks--> scout
//! all ----events----> engine          (the engine never waits to send)
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::board::Gauge;
use super::queue::Queue;
use super::restore::{Restored, keeper_settings, writer_gauge, writer_settings};
use super::seat::Id;
use super::task::{Flow, ReaderEnd, Task, WriterEnd};
use super::{Event, Mode};
use crate::conf::config::{self, Deliver};
use crate::flow::name::Template;
use crate::flow::span::{Counts, Mark, queued};
use crate::ledger::cut::Cut;
use crate::ledger::keeper::Keeper;
use crate::ledger::store::Store;
use crate::reader::route::Rules;
use crate::reader::scout::{self, Ask, Scout};
use crate::reader::source::Choice;
use crate::reader::{self, Reader};
use crate::sys::thread;
use crate::transform::{LaneRule, Program};
use crate::writer::Writer;

/// Control messages that may wait for a reader.
const CONTROL_MAX: usize = 64;
/// Asks that may wait for a scout.
const ASKS_MAX: usize = 16;

/// The cores that pinned threads take in turn.
pub struct Cores {
    cores: Vec<usize>,
    /// They were named: they are shared where threads outnumber them.
    are_named: bool,
    next: usize,
}

impl Cores {
    pub fn new(wanted: &config::Cores) -> Cores {
        let (cores, are_named) = match wanted {
            config::Cores::Auto => (thread::cores(), false),
            config::Cores::These(cores) => (cores.clone(), true),
        };
        Cores { cores, are_named, next: 0 }
    }

    /// The next `count` of them, for some of the `all` threads that are to be placed. Nobody is pinned by default where
    /// threads outnumber cores: a reader that shares its core with a writer would be the last to be done, while another
    /// one has its core alone, and the kernel cannot even it out.
    pub fn take(&mut self, count: usize, all: usize) -> Vec<Option<usize>> {
        if self.cores.is_empty() || (all > self.cores.len() && !self.are_named) {
            return vec![None; count];
        }
        let core = |at: usize| Some(self.cores[at % self.cores.len()]);
        let taken = (self.next..self.next + count).map(core).collect();
        self.next += count;
        taken
    }
}

/// What a task shares with the rest of the program.
pub struct Wires {
    /// The number of the task's seat, which its events carry.
    pub seat: Id,
    pub events: Sender<Event>,
    pub store: Arc<Store>,
    pub program: Arc<Program>,
    /// For each writer and reader, in this order.
    pub cores: Vec<Option<usize>>,
}

/// Builds a task with its threads, which are still to be started. May take its time.
///
/// # Errors
/// Which part cannot be built.
pub fn build(deliver: &Deliver, restored: Restored, mut wires: Wires, mode: Mode) -> Result<Task, String> {
    let topics: Vec<String> = restored.cut.topics.iter().map(|t| t.name.clone()).collect();
    restored.maps.rings.iter().for_each(|ring| ring.set_topics(&topics));
    let cores = std::mem::take(&mut wires.cores).into_iter();
    let mut bench = Bench { deliver, restored: &restored, wires: &wires, cores, threads: Threads::default() };
    let writers = bench.writers()?;
    let shared = bench.shared();
    let scout_gauge = Arc::new(scout::Gauge::default());
    let readers = bench.readers(&topics, &writers, &shared)?;
    let keeper = bench.keeper()?;
    let (scout, scout_end) = bench.scout(&topics, mode, scout_gauge.clone())?;
    let built = bench.threads;
    let Restored { state_id, maps, cut, lock, .. } = restored;
    let rows = || maps.rings.iter().flat_map(|ring| ring.marks()).flatten();
    let in_rings: Vec<_> = rows().map(|m| (m.topic, m.partition)).collect();
    let gauge = Gauge::default();
    gauge.note_kept(cut.number);
    let durable = cut.sources.iter().filter(|s| !in_rings.contains(&(s.topic, s.partition))).copied().collect();
    let mut task = Task {
        name: deliver.name.clone(),
        state_id,
        dir: deliver.dir.clone(),
        topics,
        flow: Flow::new(counts_of(rows()), deliver.checkpoint_interval),
        queue: Queue::restored(&cut),
        gauge: Arc::new(gauge),
        scout_gauge,
        maps,
        shared,
        readers,
        writers,
        keeper: Some(keeper),
        scout: Some(scout),
        scout_end,
        built,
        threads: Vec::new(),
        checkpoint_interval: deliver.checkpoint_interval,
        last: cut,
        _lock: lock,
    };
    task.go_on(durable);
    Ok(task)
}

/// Where a task's threads are built, one kind after the other.
struct Bench<'a> {
    deliver: &'a Deliver,
    restored: &'a Restored,
    wires: &'a Wires,
    cores: std::vec::IntoIter<Option<usize>>,
    threads: Threads,
}

impl Bench<'_> {
    fn writers(&mut self) -> Result<Vec<WriterEnd>, String> {
        let Restored { maps, places, .. } = self.restored;
        let mut ends = Vec::new();
        for index in 0..self.deliver.writers {
            let gauge = writer_gauge(&self.restored.cut);
            let (inbox, messages) = bounded(self.deliver.channel_capacity);
            let queue = messages.clone();
            let settings = writer_settings(self.deliver, places, index);
            let writer = Writer::new(settings, maps.rings.clone(), &maps.slots, gauge.clone())?;
            self.threads.add(writer_name(index, &self.deliver.name), self.cores.next().flatten(), move || {
                writer.run(&messages);
            });
            ends.push(WriterEnd { inbox, gauge, queue });
        }
        Ok(ends)
    }

    fn shared(&self) -> Arc<reader::Shared> {
        let choice = Choice::new(self.deliver.client, &self.deliver.cluster);
        if let Some(reason) = choice.reason() {
            log::info!("{}: fetch = librdkafka ({reason})", self.deliver.name);
        }
        let shared = Arc::new(reader::Shared::new(choice));
        let parked = queued(self.restored.maps.rings.iter().flat_map(|ring| ring.marks()).flatten());
        shared.failures.store(parked, Ordering::Relaxed);
        shared.failures_max.store(self.deliver.failures_max, Ordering::Relaxed);
        shared
    }

    fn readers(
        &mut self,
        topics: &[String],
        writers: &[WriterEnd],
        shared: &Arc<reader::Shared>,
    ) -> Result<Vec<ReaderEnd>, String> {
        let maps = &self.restored.maps;
        let mut ends = Vec::new();
        for index in 0..self.deliver.readers {
            let gauge = Arc::new(reader::Gauge::default());
            let (control, commands) = bounded(CONTROL_MAX);
            let (events, seat) = (self.wires.events.clone(), self.wires.seat);
            let wires = reader::Wires {
                control: commands,
                writers: writers.iter().map(|w| w.inbox.clone()).collect(),
                report: Box::new(move |event| drop(events.send(Event::Reader(seat, index, event)))),
            };
            let settings = reader::Settings {
                deadly: self.restored.deadly.clone(),
                failures_dir: self.restored.places.failures_dir.clone(),
                ..reader_settings(self.deliver, index, topics, &self.wires.program)?
            };
            let gauges = (gauge.clone(), shared.clone());
            let reader = Reader::new(settings, maps, wires, gauges)?;
            self.threads.add(reader_name(index, &self.deliver.name), self.cores.next().flatten(), move || {
                reader.run();
            });
            ends.push(ReaderEnd { control, gauge, partitions: maps.rings[index].marks().len(), at_end: false });
        }
        Ok(ends)
    }

    fn keeper(&mut self) -> Result<Sender<Box<Cut>>, String> {
        let Restored { state_id, maps, cut, places, .. } = self.restored;
        let settings = keeper_settings(self.deliver, places, *state_id);
        let keeper = Keeper::new(settings, self.wires.store.clone(), maps.clone(), cut).map_err(|e| e.to_string())?;
        let (cuts, taken) = bounded(1);
        let (events, seat) = (self.wires.events.clone(), self.wires.seat);
        let report = move |kept| drop(events.send(Event::Keeper(seat, kept)));
        self.threads.add(format!("k-{}", self.deliver.name), None, move || keeper.run(&taken, report));
        Ok(cuts)
    }

    /// With a channel that is closed when its thread has ended.
    fn scout(
        &mut self,
        topics: &[String],
        mode: Mode,
        gauge: Arc<scout::Gauge>,
    ) -> Result<(Sender<Ask>, Receiver<()>), String> {
        let settings = scout::Settings {
            task: self.deliver.name.clone(),
            cluster: self.deliver.cluster.clone(),
            group_id: self.deliver.group_id.clone(),
            topics: topics.to_vec(),
            wanted: self.deliver.topics.clone(),
            new: self.restored.new_topics.clone(),
            start: self.deliver.start,
            ids_known: self.restored.cut.topics.iter().any(|t| !t.id.is_empty()),
            want_ends: mode.exit_at_end,
        };
        let scout = Scout::new(settings, gauge).map_err(|e| e.to_string())?;
        let (asks, asked) = bounded(ASKS_MAX);
        let known = self.restored.cut.partitions().map(|s| (s.topic, s.partition)).collect();
        asks.send(Ask::Known(known)).map_err(|e| e.to_string())?;
        let (events, seat) = (self.wires.events.clone(), self.wires.seat);
        let report = move |found| drop(events.send(Event::Scout(seat, found)));
        let (alive, end) = bounded(1);
        self.threads.add(format!("s-{}", self.deliver.name), None, move || {
            scout.run(&asked, report);
            drop::<Sender<()>>(alive);
        });
        Ok((asks, end))
    }
}

/// What a reader is built from. Only what is `live` in it may change while it runs.
pub fn reader_settings(
    deliver: &Deliver,
    index: usize,
    topics: &[String],
    program: &Arc<Program>,
) -> Result<reader::Settings, String> {
    let dormant = (0..topics.len()).filter(|t| !deliver.topics.contains(&topics[*t]));
    Ok(reader::Settings {
        task: deliver.name.clone(),
        index,
        cluster: deliver.cluster.clone(),
        group_id: deliver.group_id.clone(),
        topics: topics.to_vec(),
        dormant: dormant.map(|t| t as u16).collect(),
        transform: deliver.transform == config::Transform::Te,
        rules: Rules {
            template: Template::parse(&deliver.file_name)?,
            lane: LaneRule::new(deliver.lanes, deliver.deliver_by.clone()),
            writers: deliver.writers,
        },
        deadly: Vec::new(),
        failures_dir: PathBuf::new(),
        live: reader_live(deliver, program.clone()),
    })
}

/// Of one reader.
pub fn reader_live(deliver: &Deliver, program: Arc<Program>) -> reader::Live {
    reader::Live {
        program,
        options: deliver.options.clone(),
        poll_timeout: deliver.poll_timeout,
        rate_limit: deliver.rate_limit.div_ceil(deliver.readers as u64),
    }
}

/// A reader thread's name.
pub fn reader_name(index: usize, task: &str) -> String {
    format!("r{index}-{task}")
}

/// A writer thread's name.
pub fn writer_name(index: usize, task: &str) -> String {
    format!("w{index}-{task}")
}

fn counts_of(marks: impl Iterator<Item = Mark>) -> Counts {
    marks.filter(Mark::is_of_kafka).fold(Counts::default(), |mut sum, mark| {
        sum.add(mark.counts);
        sum
    })
}

/// Threads that are built and not yet running.
#[derive(Default)]
pub struct Threads {
    built: Vec<Built>,
}

/// Name, core, body.
type Built = (String, Option<usize>, Box<dyn FnOnce() + Send>);

impl Threads {
    fn add(&mut self, name: String, core: Option<usize>, body: impl FnOnce() + Send + 'static) {
        self.built.push((name, core, Box::new(body)));
    }

    /// # Errors
    /// The kernel has no room for another thread.
    pub fn spawn(self) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
        let spawn = |(name, core, body): Built| {
            thread::spawn(&name, core, body).map_err(|e| format!("cannot start thread {name}: {e}"))
        };
        self.built.into_iter().map(spawn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_a_core_each_or_the_scheduler_places_them() {
        let mut auto = Cores { cores: vec![4, 5, 6], are_named: false, next: 0 };
        assert_eq!(auto.take(2, 3), [Some(4), Some(5)]);
        assert_eq!(auto.take(2, 3), [Some(6), Some(4)], "one that is built anew goes on in turn");
        assert_eq!(auto.take(3, 4), [None; 3]);
        let mut named = Cores { cores: vec![4, 5], are_named: true, next: 0 };
        assert_eq!(named.take(3, 3), [Some(4), Some(5), Some(4)]);
        let mut unknown = Cores { cores: Vec::new(), are_named: false, next: 0 };
        assert_eq!(unknown.take(1, 1), [None]);
    }
}
