//! `logmill demo`: the whole road in one process, with nothing installed. An embedded broker and a producer in, files
//! in a fresh directory out; what happens is shown, and the promise is checked at the end.

mod feed;
mod made;
mod place;
mod proof;
mod show;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use rdkafka::error::KafkaError;

use crate::conf;
use crate::engine::{Engine, EngineError, Mode, Remote, Summary};
use crate::flow::clock;
use crate::sys::thread;
use feed::Feed;
use made::Kind;
use place::Place;

/// Records of a demo.
const RECORDS: u64 = 200_000;
/// Longest time for making them: a slow machine makes fewer.
const MAKING: Duration = Duration::from_secs(10);
/// Longest time until the last of them is consumed.
const DRAINING: Duration = Duration::from_secs(4);
/// Records a second of a demo that goes on.
const KEEP_RATE: u64 = 1000;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Go on until Ctrl-C.
    pub keep: bool,
    /// Where; `None` = a new directory below the system's temporary one.
    pub dir: Option<PathBuf>,
    /// The program as it was called.
    pub program: String,
}

/// Why there was no good end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the demo's broker: {0}")]
    Broker(#[from] KafkaError),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Stuck(String),
    #[error("the promise is broken:\n  {}", .0.join("\n  "))]
    Broken(Vec<String>),
}

/// Runs the demo, and tells about it on `out`.
///
/// # Errors
/// Whatever stands in the way; above all a record that is not where it belongs.
pub fn run(settings: &Settings, out: &mut impl Write) -> Result<(), DemoError> {
    let named = settings.dir.clone().unwrap_or_else(std::env::temp_dir);
    let place = Place::make(settings.dir.as_deref()).map_err(at("cannot use the directory", named))?;
    place.log_here().map_err(at("cannot write", place.log()))?;
    // The records tell of the time up to now, and go on with it.
    let feed = Feed::start(clock::now_ms() / 1000 - (RECORDS / KEEP_RATE) as i64, KEEP_RATE)?;
    place.fill(&feed.bootstrap()).map_err(at("cannot write into", place.root.clone()))?;
    tell(out, &show::beginning(&place, &feed.bootstrap()))?;

    let config = place.config();
    let loaded = conf::load(&config, None).map_err(|problems| DemoError::Config(conf::explain(&problems)))?;
    let engine = Engine::start(loaded, Box::new(move || conf::load(&config, None)), Mode::default())?;
    let remote = engine.remote();
    let (report, ended) = bounded(1);
    let body = move || drop(report.send(engine.run()));
    let thread = thread::spawn("engine", None, body).map_err(at("cannot start a thread for", place.root.clone()))?;

    let mut road = Road { feed, remote, ended, result: None };
    road.first_records(&place, out)?;
    if settings.keep {
        tell(out, &format!("Goes on with {KEEP_RATE} records a second.\n"))?;
        road.keep_on()?;
    }
    let sent = road.feed.sent();
    let summary = road.end()?;
    // The engine has sent its result; its thread has nothing left to do.
    let _ = thread.join();

    let counts = summary.tasks.first().map(|t| t.counts).unwrap_or_default();
    let proof = proof::prove(&place, sent, counts).map_err(at("cannot read the files in", place.out()))?;
    tell(out, &show::end(&summary, sent, &proof))?;
    if !proof.wrong.is_empty() {
        return Err(DemoError::Broken(proof.wrong));
    }
    tell(out, &show::going_on(&place, &settings.program))
}

/// The running road: records go in here, the engine takes them out.
struct Road {
    feed: Feed,
    remote: Remote,
    ended: Receiver<Result<Summary, EngineError>>,
    /// What the engine ended with, once it has.
    result: Option<Result<Summary, EngineError>>,
}

impl Road {
    /// All records of a short demo, and what there is to see.
    fn first_records(&mut self, place: &Place, out: &mut impl Write) -> Result<(), DemoError> {
        let began = Instant::now();
        let bar = show::bar(RECORDS);
        while self.feed.sent() < RECORDS && began.elapsed() < MAKING && !self.has_ended() {
            let consumed = self.remote.counts().consumed;
            if self.feed.has_room(consumed) {
                self.feed.send(feed::STEP)?;
            }
            bar.set_position(consumed);
        }
        self.drain()?;
        bar.finish_and_clear();
        let consumed = self.remote.counts().consumed;
        tell(out, &show::rate(consumed, self.feed.bytes, began.elapsed()))?;
        for kind in [Kind::Role, Kind::Item] {
            let n = (0..).find(|n| Kind::of(*n) == kind).unwrap_or(0);
            if let Some(line) = proof::find(place, n).map_err(at("cannot read the files in", place.out()))? {
                tell(out, &show::pair(&self.feed.value(n), &line))?;
            }
        }
        Ok(())
    }

    /// More of them, slowly, until somebody stops the engine.
    fn keep_on(&mut self) -> Result<(), DemoError> {
        let (began, before) = (Instant::now(), self.feed.sent());
        let bar = show::endless_bar(before);
        while !self.has_ended() {
            let due = before + began.elapsed().as_millis() as u64 * KEEP_RATE / 1000;
            let consumed = self.remote.counts().consumed;
            if self.feed.sent() + feed::STEP <= due && self.feed.has_room(consumed) {
                self.feed.send(feed::STEP)?;
            }
            self.feed.wait(Duration::from_millis(20));
            bar.set_position(consumed);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Until everything that was sent has been consumed.
    fn drain(&mut self) -> Result<(), DemoError> {
        self.feed.flush().map_err(DemoError::Stuck)?;
        let began = Instant::now();
        while self.remote.counts().consumed < self.feed.sent() && !self.has_ended() {
            if began.elapsed() > DRAINING {
                let (sent, counts) = (self.feed.sent(), self.remote.counts());
                let what = format!("{sent} records were made, {} consumed, and no more came", counts.consumed);
                return Err(DemoError::Stuck(what));
            }
            self.feed.wait(Duration::from_millis(2));
        }
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        if self.result.is_none() {
            self.result = match self.ended.try_recv() {
                Ok(result) => Some(result),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(EngineError::Failed("the engine is gone".into()))),
            };
        }
        self.result.is_some()
    }

    /// Stops the engine where it has not ended yet, and only then the broker.
    fn end(mut self) -> Result<Summary, EngineError> {
        self.remote.stop();
        match self.result.take() {
            Some(result) => result,
            None => self.ended.recv().unwrap_or_else(|_| Err(EngineError::Failed("the engine is gone".into()))),
        }
    }
}

fn tell(out: &mut impl Write, text: &str) -> Result<(), DemoError> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Nobody looks any more: the demo still ends in order.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(at("cannot write to", "the terminal".into())(e)),
        _ => Ok(()),
    }
}

fn at(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> DemoError {
    move |source| DemoError::Io { what, path, source }
}
