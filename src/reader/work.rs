//! What is done with one value: unpack, transform, and exactly one end for every record in it.

use std::sync::Arc;

use super::outlet::{Outlet, Stopped};
use super::route::Router;
use super::{Live, Settings};
use crate::flow::clock;
use crate::flow::record::Record;
use crate::flow::span::Counts;
use crate::flow::tally::Code;
use crate::ledger::failures::Failure;
use crate::ring::layout::Work;
use crate::ring::publish::Attempt;
use crate::transform::{Parked, Program, Transformer, Unpacker, Verdict};

/// A value to be worked on, and its source's row.
pub struct Value<'a> {
    pub record: &'a Record<'a>,
    pub row: usize,
    pub work: Work,
    /// Its place in the source: the mark's `next` until it is done with.
    pub at: i64,
    /// Records of it that are taken already.
    pub skip: u32,
    /// The clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// The parked record that it is.
    pub parked: Option<&'a Failure>,
}

/// How far the work came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    Done,
    /// The failure queue is full: the same value is to be tried again from where its mark stands.
    QueueFull,
}

/// The tools of the trade, each with its scratch space.
pub struct Tools {
    unpacker: Unpacker,
    desk: Desk,
    deadly: Vec<Work>,
}

struct Desk {
    transformer: Option<Transformer>,
    router: Router,
    program: Arc<Program>,
}

/// How one attempt at a record ended.
enum Attempted {
    Written,
    Filtered,
    Park(Parked),
    /// The entry in the making has no room for its line.
    Full,
}

impl From<Attempt<Parked>> for Attempted {
    fn from(attempt: Attempt<Parked>) -> Attempted {
        match attempt {
            Attempt::Done(_) => Attempted::Written,
            Attempt::Full => Attempted::Full,
            Attempt::Failed(parked) => Attempted::Park(parked),
        }
    }
}

impl Tools {
    pub fn new(settings: &Settings) -> Tools {
        let Live { options, program, .. } = &settings.live;
        let transformer = settings.transform.then(|| Transformer::new(options.clone()));
        let desk = Desk { transformer, router: Router::new(settings.rules.clone()), program: program.clone() };
        Tools { unpacker: Unpacker::new(options), desk, deadly: settings.deadly.clone() }
    }

    /// Puts an entry of the failure queue back as it is.
    pub fn to_queue(&self, outlet: &mut Outlet, line: &[u8]) -> Result<(), Stopped> {
        self.desk.to_queue(outlet, line)
    }

    /// From the next value on.
    pub fn set(&mut self, live: &Live) {
        self.unpacker = Unpacker::new(&live.options);
        self.desk.transformer = self.desk.transformer.take().map(|_| Transformer::new(live.options.clone()));
        self.desk.program = live.program.clone();
    }

    /// Works on every record of the value; afterwards an entry is open that holds the last of them.
    pub fn value(&mut self, outlet: &mut Outlet, value: &Value<'_>) -> Result<Worked, Stopped> {
        let Value { record, work, skip, .. } = value;
        outlet.tap.begin(record.value);
        if let Some(parked) = self.deadly(work) {
            return self.desk.park(outlet, value, Piece::whole(record.value, *skip), &parked);
        }
        outlet.publisher.begin_work(*work);
        let unpacked = self.unpacker.unpack(record.value);
        outlet.publisher.end_work();
        let pieces = match unpacked {
            Err(parked) => return self.desk.park(outlet, value, Piece::whole(record.value, *skip), &parked),
            Ok(pieces) => pieces,
        };
        let whole = !pieces.are_lines();
        for (k, bytes) in pieces.filter(|(k, _)| k >= skip) {
            let piece = Piece { bytes: Some(bytes), k, whole };
            if self.desk.piece(outlet, value, bytes, piece)? == Worked::QueueFull {
                return Ok(Worked::QueueFull);
            }
        }
        Ok(Worked::Done)
    }

    /// Works on a parked record: a value as above, or one record of it.
    pub fn parked(&mut self, outlet: &mut Outlet, value: &Value<'_>, failure: &Failure) -> Result<(), Stopped> {
        let piece = Piece { bytes: value.record.value, k: failure.k, whole: failure.whole };
        if failure.is_cut() {
            let detail = format!(
                "of its {} bytes only {} are here, for ring_size was small; seek to its offset to read it again",
                failure.bytes,
                failure.payload.len()
            );
            let code = Code::ALL.iter().copied().find(|code| code.name() == failure.code);
            let parked = Parked { code: code.unwrap_or(Code::E02_TOO_LARGE_IN), detail };
            return self.desk.park(outlet, value, piece, &parked).map(drop);
        }
        if failure.whole {
            return self.value(outlet, value).map(drop);
        }
        let worked = match self.deadly(&value.work) {
            Some(parked) => self.desk.park(outlet, value, piece, &parked),
            None => self.desk.piece(outlet, value, &failure.payload, piece),
        };
        worked.map(drop)
    }

    fn deadly(&self, work: &Work) -> Option<Parked> {
        let detail = "the process died over this record again and again".into();
        self.deadly.contains(work).then_some(Parked { code: Code::E21_CRASH, detail })
    }
}

/// One record of a value, or all of one that cannot be unpacked.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    bytes: Option<&'a [u8]>,
    /// Its number in the value.
    k: u32,
    whole: bool,
}

impl<'a> Piece<'a> {
    /// A value that is parked as it came, but for the records before `k`.
    fn whole(bytes: Option<&'a [u8]>, k: u32) -> Piece<'a> {
        Piece { bytes, k, whole: true }
    }
}

impl Desk {
    /// One record: written, filtered or parked, and counted as that.
    fn piece(
        &mut self,
        outlet: &mut Outlet,
        value: &Value<'_>,
        bytes: &[u8],
        piece: Piece<'_>,
    ) -> Result<Worked, Stopped> {
        loop {
            outlet.room()?;
            outlet.tap.begin(Some(bytes));
            outlet.publisher.begin_work(value.work);
            let attempted = self.attempt(outlet, value, bytes, piece.k);
            outlet.publisher.end_work();
            let (counts, ended) = match attempted {
                Attempted::Written => (Counts { consumed: 1, written: 1, ..Counts::default() }, "written"),
                Attempted::Filtered => (Counts { consumed: 1, filtered: 1, ..Counts::default() }, "filtered"),
                Attempted::Park(parked) => return self.park(outlet, value, piece, &parked),
                Attempted::Full => {
                    outlet.publish()?;
                    continue;
                }
            };
            value.count(outlet, piece.k, counts);
            outlet.tap.end(value.record, Some(bytes), piece.k, ended);
            return Ok(Worked::Done);
        }
    }

    fn attempt(&mut self, outlet: &mut Outlet, value: &Value<'_>, piece: &[u8], k: u32) -> Attempted {
        let Some(transformer) = &mut self.transformer else {
            let route = self.router.of_value(&mut outlet.publisher, value.record, piece);
            return Attempted::from(outlet.bytes(route, &[piece, b"\n"]));
        };
        match transformer.read(&self.program, value.record, piece, k, value.now_ms) {
            Verdict::Filtered => Attempted::Filtered,
            Verdict::Parked(parked) => Attempted::Park(parked),
            Verdict::Ready(mut ready) => {
                let route = self.router.of(&mut outlet.publisher, value.record, &mut ready);
                Attempted::from(outlet.line(route, &mut ready))
            }
        }
    }

    /// Into the failure queue, with its payload and the reason.
    fn park(
        &mut self,
        outlet: &mut Outlet,
        value: &Value<'_>,
        piece: Piece<'_>,
        parked: &Parked,
    ) -> Result<Worked, Stopped> {
        // What was in the queue already finds room there.
        if value.parked.is_none() && outlet.queue_is_full() {
            return Ok(Worked::QueueFull);
        }
        outlet.tap.end(value.record, piece.bytes, piece.k, parked.code.name());
        let line = outlet.failure_line(value.failure(piece, parked), piece.bytes);
        self.to_queue(outlet, &line)?;
        value.count(outlet, piece.k, Counts { consumed: 1, parked: 1, ..Counts::default() });
        outlet.publisher.tally().park(parked.code);
        outlet.count_failure(value.record, piece.k, parked);
        Ok(Worked::Done)
    }

    /// Puts a line of the failure queue into the entry in the making.
    fn to_queue(&self, outlet: &mut Outlet, line: &[u8]) -> Result<(), Stopped> {
        loop {
            outlet.room()?;
            let route = self.router.failures(&mut outlet.publisher);
            if let Attempt::Done(_) = outlet.bytes(route, &[line]) {
                return Ok(());
            }
            outlet.publish()?;
        }
    }
}

impl Value<'_> {
    /// Moves the mark over record `k`, and counts it.
    fn count(&self, outlet: &mut Outlet, k: u32, counts: Counts) {
        let mark = outlet.publisher.mark(self.row);
        if self.parked.is_some() && (mark.next, mark.k > 0) == (self.at, true) {
            // Beside the first one of its entry; see `Mark::epoch`.
            mark.epoch = mark.epoch.saturating_add(1);
        }
        (mark.next, mark.k) = (self.at, k + 1);
        mark.counts.add(counts);
    }

    fn failure(&self, piece: Piece<'_>, parked: &Parked) -> Failure {
        let Record { topic, partition, offset, timestamp_ms, .. } = *self.record;
        Failure {
            code: parked.code.name().into(),
            detail: parked.detail.clone(),
            topic: topic.into(),
            partition,
            offset,
            k: piece.k,
            timestamp_ms,
            parked_ms: self.parked.map_or_else(clock::now_ms, |before| before.parked_ms),
            attempts: self.parked.map_or(1, |before| before.attempts.saturating_add(1)),
            whole: piece.whole,
            // Of one that is kept cut.
            bytes: self.parked.filter(|before| before.is_cut()).map_or(-1, |before| before.bytes),
            payload: Vec::new(),
        }
    }
}
