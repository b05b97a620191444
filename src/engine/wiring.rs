//! Every channel and thread of a deliver task, in one place. Built before anything is spawned; no arrow runs back.
//!
//! ```text
//! engine --control--> readers --entries--> writers
//! engine --cuts-----> keeper          engine --asks--> scout
//! all ----events----> engine          (the engine never waits to send)
//! ```

use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::restore::{Restored, writer_settings};
use super::task::{Flow, ReaderEnd, Task, WriterEnd};
use super::{Event, Mode};
use crate::conf::config::{self, Deliver};
use crate::flow::name::Template;
use crate::flow::span::Counts;
use crate::ledger::cut::Cut;
use crate::ledger::keeper::{self, Keeper};
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
    let Restored { state_id, maps, cut, places, deadly, lock } = restored;
    let topics: Vec<String> = cut.topics.iter().map(|t| t.name.clone()).collect();
    maps.rings.iter().for_each(|ring| ring.set_topics(&topics));
    let began = counts_of(&maps);
    let shared = Arc::new(reader::Shared::default());
    shared.failures.store(began.parked, std::sync::atomic::Ordering::Relaxed);

    let mut threads = Threads::default();
    let mut writers = Vec::new();
    for index in 0..deliver.writers {
        let gauge = Arc::new(writer::Gauge::default());
        let (inbox, messages) = bounded(deliver.channel_capacity);
        let settings = writer_settings(deliver, &places, index);
        let writer = Writer::new(settings, maps.rings.clone(), &maps.slots, gauge.clone())?;
        threads.add(format!("w{index}-{}", deliver.name), cores.take(), move || writer.run(&messages));
        writers.push(WriterEnd { inbox, gauge });
    }

    let mut readers = Vec::new();
    for index in 0..deliver.readers {
        let gauge = Arc::new(reader::Gauge::default());
        let (control, commands) = bounded(CONTROL_MAX);
        let (events, task) = (wires.events.clone(), wires.index);
        let reader_wires = reader::Wires {
            control: commands,
            writers: writers.iter().map(|w| w.inbox.clone()).collect(),
            report: Box::new(move |event| drop(events.send(Event::Reader(task, index, event)))),
        };
        let settings = reader_settings(deliver, index, &cut, deadly.clone())?;
        let parts = (gauge.clone(), shared.clone());
        let reader = Reader::new(settings, &maps, wires.program.clone(), reader_wires, parts)?;
        threads.add(format!("r{index}-{}", deliver.name), cores.take(), move || reader.run());
        readers.push(ReaderEnd { control, gauge, partitions: maps.rings[index].marks().len(), at_end: false });
    }

    let (cuts, kept) = bounded(1);
    let settings = keeper::Settings {
        task: deliver.name.clone(),
        state_id,
        dir: places.dir,
        failures_dir: places.failures_dir,
        snapshots_dir: places.snapshots_dir,
    };
    let keeper = Keeper::new(settings, wires.store, maps.clone(), &cut).map_err(|e| e.to_string())?;
    let (events, task) = (wires.events.clone(), wires.index);
    let report = move |kept| drop(events.send(Event::Keeper(task, kept)));
    threads.add(format!("k-{}", deliver.name), None, move || keeper.run(&kept, report));

    let (scout_asks, asks) = bounded(ASKS_MAX);
    let scout = Scout::new(scout_settings(deliver, &topics, mode)).map_err(|e| e.to_string())?;
    let (events, task) = (wires.events, wires.index);
    let report = move |found| drop(events.send(Event::Scout(task, found)));
    threads.add(format!("s-{}", deliver.name), None, move || scout.run(&asks, report));
    let known = cut.sources.iter().map(|s| (s.topic, s.partition)).collect();
    scout_asks.send(Ask::Known(known)).map_err(|e| e.to_string())?;

    let in_rings: Vec<_> =
        maps.rings.iter().flat_map(|r| r.marks()).flatten().map(|m| (m.topic, m.partition)).collect();
    let durable = cut.sources.iter().filter(|s| !in_rings.contains(&(s.topic, s.partition))).copied().collect();
    let mut task = Task {
        name: deliver.name.clone(),
        dir: deliver.dir.clone(),
        topics,
        maps,
        readers,
        writers,
        keeper: Some(cuts),
        scout: Some(scout_asks),
        threads: threads.spawn()?,
        checkpoint_interval: deliver.checkpoint_interval,
        last: cut,
        flow: Flow::new(began, Vec::new(), deliver.checkpoint_interval),
        _lock: lock,
    };
    task.add_durable(durable);
    Ok(task)
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

fn counts_of(maps: &crate::ring::set::MapSet) -> Counts {
    maps.rings.iter().flat_map(|r| r.marks()).flatten().fold(Counts::default(), |mut sum, mark| {
        sum.add(mark.counts);
        sum
    })
}

fn reader_settings(
    deliver: &Deliver,
    index: usize,
    cut: &Cut,
    deadly: Vec<crate::ring::layout::Work>,
) -> Result<reader::Settings, String> {
    let dormant = (0..cut.topics.len()).filter(|t| !deliver.topics.contains(&cut.topics[*t].name));
    Ok(reader::Settings {
        task: deliver.name.clone(),
        index,
        cluster: deliver.cluster.clone(),
        group_id: deliver.group_id.clone(),
        topics: cut.topics.iter().map(|t| t.name.clone()).collect(),
        dormant: dormant.map(|t| t as u16).collect(),
        transform: deliver.transform == config::Transform::Te,
        options: deliver.options.clone(),
        rules: Rules {
            template: Template::parse(&deliver.file_name)?,
            lane: LaneRule::new(deliver.lanes, deliver.deliver_by.clone()),
            writers: deliver.writers,
        },
        poll_timeout: deliver.poll_timeout,
        rate_limit: deliver.rate_limit / deliver.readers as u64,
        failures_max: deliver.failures_max,
        deadly,
    })
}

fn scout_settings(deliver: &Deliver, topics: &[String], mode: Mode) -> scout::Settings {
    scout::Settings {
        task: deliver.name.clone(),
        cluster: deliver.cluster.clone(),
        group_id: deliver.group_id.clone(),
        topics: topics.to_vec(),
        wanted: deliver.topics.clone(),
        start: deliver.start,
        want_ends: mode.exit_at_end,
    }
}
