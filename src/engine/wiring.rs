//! Every channel and thread of a deliver task, in one place. Built before anything is spawned; no arrow runs back.
//!
//! ```text
//! engine --control--> readers --entries--> writers
//! engine --cuts-----> keeper          engine --asks--> scout
//! all ----events----> engine          (the engine never waits to send)
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::board::View;
use super::restore::{Restored, keeper_settings, writer_settings};
use super::task::{self, Flow, ReaderEnd, Task, WriterEnd};
use super::{Event, Mode};
use crate::conf::config::{self, Deliver};
use crate::flow::name::Template;
use crate::flow::span::{Counts, Mark};
use crate::ledger::cut::Cut;
use crate::ledger::keeper::Keeper;
use crate::ledger::store::Store;
use crate::reader::route::Rules;
use crate::reader::scout::{self, Ask, Scout};
use crate::reader::{self, Reader};
use crate::sys::thread;
use crate::transform::{LaneRule, Program};
use crate::writer::{self, Writer};

/// Control messages that may wait for a reader.
const CONTROL_MAX: usize = 64;
/// Asks that may wait for a scout.
const ASKS_MAX: usize = 16;

/// The cores that pinned threads take in turn.
pub struct Cores {
    cores: Vec<usize>,
    next: usize,
}

impl Cores {
    pub fn new(wanted: &config::Cores) -> Cores {
        let cores = match wanted {
            config::Cores::Auto => thread::cores(),
            config::Cores::These(cores) => cores.clone(),
        };
        Cores { cores, next: 0 }
    }

    fn take(&mut self) -> Option<usize> {
        let core = self.cores.get(self.next % self.cores.len().max(1)).copied();
        self.next += 1;
        core
    }
}

/// What a task shares with the rest of the program.
pub struct Wires {
    /// The task's number in its events.
    pub index: usize,
    pub events: Sender<Event>,
    pub store: Arc<Store>,
    pub program: Arc<Program>,
}

/// Builds and starts a task.
///
/// # Errors
/// Which part cannot be built; no thread of the task runs then.
pub fn start(
    deliver: &Deliver,
    restored: Restored,
    wires: Wires,
    mode: Mode,
    cores: &mut Cores,
) -> Result<Task, String> {
    let topics: Vec<String> = restored.cut.topics.iter().map(|t| t.name.clone()).collect();
    restored.maps.rings.iter().for_each(|ring| ring.set_topics(&topics));
    let mut bench = Bench { deliver, restored: &restored, wires: &wires, cores, threads: Threads::default() };
    let (shared, scout_gauge) = (Arc::new(reader::Shared::default()), Arc::new(scout::Gauge::default()));
    let writers = bench.writers()?;
    let readers = bench.readers(&topics, &writers, &shared)?;
    let keeper = bench.keeper()?;
    let (scout, scout_end) = bench.scout(&topics, mode, scout_gauge.clone())?;
    let mut threads = bench.threads.spawn()?;
    // Nobody joins the scout, the last one: it may be waiting for a broker.
    threads.pop();
    let Restored { maps, cut, lock, .. } = restored;
    let rows = || maps.rings.iter().flat_map(|ring| ring.marks()).flatten();
    let in_rings: Vec<_> = rows().map(|m| (m.topic, m.partition)).collect();
    let gauge = task::Gauge::default();
    gauge.note_kept(cut.number);
    let flow = Flow::new(counts_of(rows()), deliver.checkpoint_interval);
    let view = Arc::new(View {
        name: deliver.name.clone(),
        dir: deliver.dir.clone(),
        topics: topics.clone(),
        began: flow.began,
        readers: readers.iter().map(|r| r.gauge.clone()).collect(),
        writers: writers.iter().map(|w| w.gauge.clone()).collect(),
        scout: scout_gauge,
        task: Arc::new(gauge),
        shared,
        rings: maps.rings.clone(),
        queues: writers.iter().map(|w| w.queue.clone()).collect(),
    });
    let durable = cut.sources.iter().filter(|s| !in_rings.contains(&(s.topic, s.partition))).copied().collect();
    let mut task = Task {
        name: deliver.name.clone(),
        dir: deliver.dir.clone(),
        topics,
        flow,
        view,
        maps,
        readers,
        writers,
        keeper: Some(keeper),
        scout: Some(scout),
        scout_end,
        threads,
        checkpoint_interval: deliver.checkpoint_interval,
        last: cut,
        _lock: lock,
    };
    task.add_durable(durable);
    Ok(task)
}

/// Where a task's threads are built, one kind after the other.
struct Bench<'a> {
    deliver: &'a Deliver,
    restored: &'a Restored,
    wires: &'a Wires,
    cores: &'a mut Cores,
    threads: Threads,
}

impl Bench<'_> {
    fn writers(&mut self) -> Result<Vec<WriterEnd>, String> {
        let Restored { maps, places, .. } = self.restored;
        let mut ends = Vec::new();
        for index in 0..self.deliver.writers {
            let gauge = Arc::new(writer::Gauge::default());
            let (inbox, messages) = bounded(self.deliver.channel_capacity);
            let queue = messages.clone();
            let settings = writer_settings(self.deliver, places, index);
            let writer = Writer::new(settings, maps.rings.clone(), &maps.slots, gauge.clone())?;
            self.threads.add(writer_name(index, &self.deliver.name), self.cores.take(), move || {
                writer.run(&messages);
            });
            ends.push(WriterEnd { inbox, gauge, queue });
        }
        Ok(ends)
    }

    fn readers(
        &mut self,
        topics: &[String],
        writers: &[WriterEnd],
        shared: &Arc<reader::Shared>,
    ) -> Result<Vec<ReaderEnd>, String> {
        let maps = &self.restored.maps;
        let parked = counts_of(maps.rings.iter().flat_map(|ring| ring.marks()).flatten()).parked;
        shared.failures.store(parked, Ordering::Relaxed);
        shared.failures_max.store(self.deliver.failures_max, Ordering::Relaxed);
        let mut ends = Vec::new();
        for index in 0..self.deliver.readers {
            let gauge = Arc::new(reader::Gauge::default());
            let (control, commands) = bounded(CONTROL_MAX);
            let (events, task) = (self.wires.events.clone(), self.wires.index);
            let wires = reader::Wires {
                control: commands,
                writers: writers.iter().map(|w| w.inbox.clone()).collect(),
                report: Box::new(move |event| drop(events.send(Event::Reader(task, index, event)))),
            };
            let settings = self.reader_settings(index, topics)?;
            let gauges = (gauge.clone(), shared.clone());
            let reader = Reader::new(settings, maps, wires, gauges)?;
            self.threads.add(reader_name(index, &self.deliver.name), self.cores.take(), move || reader.run());
            ends.push(ReaderEnd { control, gauge, partitions: maps.rings[index].marks().len(), at_end: false });
        }
        Ok(ends)
    }

    fn keeper(&mut self) -> Result<Sender<Box<Cut>>, String> {
        let Restored { state_id, maps, cut, places, .. } = self.restored;
        let settings = keeper_settings(self.deliver, places, *state_id);
        let keeper = Keeper::new(settings, self.wires.store.clone(), maps.clone(), cut).map_err(|e| e.to_string())?;
        let (cuts, taken) = bounded(1);
        let (events, task) = (self.wires.events.clone(), self.wires.index);
        let report = move |kept| drop(events.send(Event::Keeper(task, kept)));
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
        let known = self.restored.cut.sources.iter().map(|s| (s.topic, s.partition)).collect();
        asks.send(Ask::Known(known)).map_err(|e| e.to_string())?;
        let (events, task) = (self.wires.events.clone(), self.wires.index);
        let report = move |found| drop(events.send(Event::Scout(task, found)));
        let (alive, end) = bounded(1);
        self.threads.add(format!("s-{}", self.deliver.name), None, move || {
            scout.run(&asked, report);
            drop::<Sender<()>>(alive);
        });
        Ok((asks, end))
    }

    fn reader_settings(&self, index: usize, topics: &[String]) -> Result<reader::Settings, String> {
        let deliver = self.deliver;
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
            deadly: self.restored.deadly.clone(),
            live: reader_live(deliver, self.wires.program.clone()),
        })
    }
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
    marks.fold(Counts::default(), |mut sum, mark| {
        sum.add(mark.counts);
        sum
    })
}

/// Threads that are built and not yet running.
#[derive(Default)]
struct Threads {
    built: Vec<Built>,
}

/// Name, core, body.
type Built = (String, Option<usize>, Box<dyn FnOnce() + Send>);

impl Threads {
    fn add(&mut self, name: String, core: Option<usize>, body: impl FnOnce() + Send + 'static) {
        self.built.push((name, core, Box::new(body)));
    }

    fn spawn(self) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
        let spawn = |(name, core, body): Built| {
            thread::spawn(&name, core, body).map_err(|e| format!("cannot start thread {name}: {e}"))
        };
        self.built.into_iter().map(spawn).collect()
    }
}
