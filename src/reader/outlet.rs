//! The reader's way out: room in the ring, lines and parked records into it, entries published, writers woken.
//!
//! A wait for room is also a wait for control: whatever the reader waits for, it can be paused and stopped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError};

use super::tap::Tapping;
use super::{Control, Event, Gauge, Settings, Shared, Wires};
use crate::flow::record::Record;
use crate::flow::tally::Code;
use crate::ledger::failures::Failure;
use crate::ring::publish::{Attempt, Publisher, RouteId, line_bytes_max};
use crate::ring::set::MapSet;
use crate::transform::{Out, Parked, Ready, Stop};
use crate::writer::Message;

/// How often a reader that waits looks at what the writers have applied.
pub const LOOK: Duration = Duration::from_millis(1);
/// One ERROR line per code in this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The reader was told to stop, or nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// The way out.
pub struct Outlet {
    settings: Settings,
    pub publisher: Publisher,
    maps: Arc<MapSet>,
    wires: Wires,
    pub gauge: Arc<Gauge>,
    pub shared: Arc<Shared>,
    pub tap: Tapping,
    /// Control that came while something else was waited for.
    later: VecDeque<Control>,
    /// A pause that waits for messages to be sent.
    pause: Option<u64>,
    /// Records of the entry in the making that carry a time, the sum of those times in milliseconds, and the newest.
    births: (i64, i64, i64),
    /// When a parked record of each code was last named in the log.
    logged: Vec<Option<Instant>>,
}

impl Outlet {
    pub fn new(
        settings: Settings,
        publisher: Publisher,
        maps: Arc<MapSet>,
        wires: Wires,
        gauge: Arc<Gauge>,
        shared: Arc<Shared>,
    ) -> Outlet {
        Outlet {
            settings,
            publisher,
            maps,
            wires,
            gauge,
            tap: Tapping::new(shared.clone()),
            shared,
            later: VecDeque::new(),
            pause: None,
            births: (0, 0, 0),
            logged: vec![None; Code::COUNT],
        }
    }

    /// Control for the thread's own loop; pausing and stopping happen in here.
    pub fn control(&mut self) -> Result<Option<Control>, Stopped> {
        if let Some(control) = self.later.pop_front() {
            return Ok(Some(control));
        }
        match self.wires.control.try_recv() {
            Ok(Control::Stop) => Err(Stopped),
            Ok(Control::Pause(round)) => self.rest(round).map(|()| None),
            Ok(other) => Ok(Some(other)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Stopped),
        }
    }

    /// Waits a moment, or until control comes.
    pub fn wait(&mut self, time: Duration) -> Result<(), Stopped> {
        match self.wires.control.recv_timeout(time) {
            Ok(Control::Stop) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
            Ok(Control::Pause(round)) => self.rest(round),
            Ok(other) => {
                self.later.push_back(other);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
        }
    }

    pub fn report(&self, event: Event) {
        (self.wires.report)(event);
    }

    /// Begins an entry, waiting for room as long as it takes.
    pub fn room(&mut self) -> Result<(), Stopped> {
        while !self.publisher.begin() {
            self.free();
            if self.publisher.begin() {
                break;
            }
            self.gauge.blocked.store(true, Ordering::Relaxed);
            self.wait(LOOK)?;
        }
        self.gauge.blocked.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The entry in the making holds what came of a record with this time, -1 where it carries none.
    pub fn note_birth(&mut self, timestamp_ms: i64) {
        if timestamp_ms >= 0 {
            let (records, sum, newest) = self.births;
            self.births = (records + 1, sum.saturating_add(timestamp_ms), newest.max(timestamp_ms));
        }
    }

    /// Hands over what is in the making.
    pub fn publish(&mut self) -> Result<(), Stopped> {
        let (records, sum, newest_ms) = std::mem::take(&mut self.births);
        let Some(entry) = self.publisher.publish() else { return Ok(()) };
        let born_ms = sum.checked_div(records);
        if records > 0 {
            self.gauge.newest_ms.store(newest_ms, Ordering::Relaxed);
        }
        for writer in 0..self.wires.writers.len() {
            if entry.writers >> writer & 1 == 1 {
                let mut message = Message::Entry { ring: self.settings.index, pos: entry.pos, born_ms };
                while let Err(refused) = self.wires.writers[writer].send_timeout(message, LOOK) {
                    message = match refused {
                        SendTimeoutError::Timeout(message) => message,
                        SendTimeoutError::Disconnected(_) => return Err(Stopped),
                    };
                    self.note_control()?;
                }
            }
        }
        self.gauge.follow(self.publisher.marks());
        self.pause.take().map_or(Ok(()), |round| self.rest(round))
    }

    /// Hears what is wanted while an entry's messages are under way: a pause must wait until the last of them is sent.
    fn note_control(&mut self) -> Result<(), Stopped> {
        match self.wires.control.try_recv() {
            Ok(Control::Pause(round)) => self.pause = Some(round),
            Ok(Control::Resume) => self.pause = None,
            Ok(Control::Stop) | Err(TryRecvError::Disconnected) => return Err(Stopped),
            Ok(other) => self.later.push_back(other),
            Err(TryRecvError::Empty) => {}
        }
        Ok(())
    }

    /// Gives space back that the writers have applied; true where nothing is owed.
    pub fn free(&mut self) -> bool {
        let (maps, index) = (&self.maps, self.settings.index);
        match self.publisher.free(|writer| maps.applied(writer, index)) {
            Ok(empty) => empty,
            Err(what) => panic!("{}: reader {index}: {what}", self.settings.task),
        }
    }

    /// Builds a record's line in the ring.
    pub fn line(&mut self, route: RouteId, ready: &mut Ready<'_>) -> Attempt<Parked> {
        let tap = &mut self.tap;
        self.publisher.line(route, |room, tally| {
            let mut out = Out::new(room);
            match ready.emit(&mut out, tally) {
                Ok(()) => {
                    let len = out.len();
                    tap.line(&room[..len]);
                    Attempt::Done(len)
                }
                Err(Stop::Full) => Attempt::Full,
                Err(Stop::Parked(parked)) => Attempt::Failed(parked),
            }
        })
    }

    /// Puts bytes into the ring as they are.
    pub fn bytes(&mut self, route: RouteId, parts: &[&[u8]]) -> Attempt<Parked> {
        let tap = &mut self.tap;
        self.publisher.line(route, |room, _| {
            let mut out = Out::new(room);
            parts.iter().for_each(|part| out.put(part));
            if out.is_full() {
                return Attempt::Full;
            }
            let len = out.len();
            tap.line(&room[..len]);
            Attempt::Done(len)
        })
    }

    /// The failure queue holds as many records as it may.
    pub fn queue_is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// The failure queue's line for a record, with as much of its payload as fits.
    pub fn failure_line(&self, mut failure: Failure, payload: Option<&[u8]>) -> Vec<u8> {
        let bytes = failure.bytes;
        failure.keep(payload, self.line_bytes_max());
        failure.bytes = failure.bytes.max(bytes);
        failure.line()
    }

    /// The longest line that always fits.
    pub fn line_bytes_max(&self) -> usize {
        line_bytes_max(self.publisher.ring().size())
    }

    /// Counts a parked record, and says so once per code in a while.
    pub fn count_failure(&mut self, record: &Record<'_>, k: u32, parked: &Parked) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        let last = &mut self.logged[parked.code as usize];
        if last.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *last = Some(Instant::now());
            let Record { topic, partition, offset, .. } = record;
            let (task, code, detail) = (&self.settings.task, parked.code.name(), &parked.detail);
            log::error!("{task}: parked {code} {topic}/{partition}/{offset}/{k}: {detail}");
        }
    }

    /// Publishes, lets the ring run empty, says so, and rests until told to go on.
    fn rest(&mut self, mut round: u64) -> Result<(), Stopped> {
        self.publish()?;
        self.gauge.beat.end();
        let mut told = false;
        loop {
            if !told && self.free() {
                self.gauge.follow(self.publisher.marks());
                self.report(Event::Paused(round));
                told = true;
            }
            let control = if told {
                self.wires.control.recv().map_err(|_| Stopped)?
            } else {
                match self.wires.control.recv_timeout(LOOK) {
                    Ok(control) => control,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
                }
            };
            match control {
                Control::Resume => return Ok(()),
                Control::Stop => return Err(Stopped),
                Control::Pause(next) => (round, told) = (next, false),
                other => self.later.push_back(other),
            }
        }
    }
}
