//! What is done with one value: unpack, transform, and exactly one end for every record in it.

use std::sync::Arc;

use super::outlet::{Outlet, Stopped};
use super::route::Router;
use super::{Live, Settings};
use crate::flow::record::Record;
use crate::flow::tally::Code;
use crate::ring::layout::Work;
use crate::ring::publish::Attempt;
use crate::transform::{Parked, Program, Transformer, Unpacker, Verdict};

/// A value to be worked on, and its partition's row.
pub struct Value<'a> {
    pub record: &'a Record<'a>,
    pub row: usize,
    pub work: Work,
    /// Records of it that are taken already.
    pub skip: u32,
    /// The clock, milliseconds since the epoch.
    pub now_ms: i64,
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

    /// From the next value on.
    pub fn set(&mut self, live: &Live) {
        self.unpacker = Unpacker::new(&live.options);
        self.desk.transformer = self.desk.transformer.take().map(|_| Transformer::new(live.options.clone()));
        self.desk.program = live.program.clone();
    }

    /// Works on every record of the value; afterwards an entry is open that holds the last of them.
    pub fn value(&mut self, outlet: &mut Outlet, value: &Value<'_>) -> Result<(), Stopped> {
        let Value { record, work, .. } = value;
        if self.deadly.contains(work) {
            let detail = "the process died over this record again and again".into();
            let parked = Parked { code: Code::E21_CRASH, detail };
            return self.desk.park(outlet, value, record.value, 0, &parked);
        }
        outlet.publisher.begin_work(*work);
        let unpacked = self.unpacker.unpack(record.value);
        outlet.publisher.end_work();
        match unpacked {
            Err(parked) => self.desk.park(outlet, value, record.value, 0, &parked),
            Ok(mut pieces) => pieces
                .by_ref()
                .filter(|(k, _)| *k >= value.skip)
                .try_for_each(|(k, piece)| self.desk.piece(outlet, value, piece, k)),
        }
    }
}

impl Desk {
    /// One record: written, filtered or parked, and counted as that.
    fn piece(&mut self, outlet: &mut Outlet, value: &Value<'_>, piece: &[u8], k: u32) -> Result<(), Stopped> {
        loop {
            outlet.room()?;
            outlet.publisher.begin_work(value.work);
            let attempted = self.attempt(outlet, value, piece, k);
            outlet.publisher.end_work();
            let mark = outlet.publisher.mark(value.row);
            match attempted {
                Attempted::Written => mark.counts.written += 1,
                Attempted::Filtered => mark.counts.filtered += 1,
                Attempted::Park(parked) => return self.park(outlet, value, Some(piece), k, &parked),
                Attempted::Full => {
                    outlet.publish()?;
                    continue;
                }
            }
            mark.counts.consumed += 1;
            (mark.next, mark.k) = (value.record.offset, k + 1);
            return Ok(());
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
        payload: Option<&[u8]>,
        k: u32,
        parked: &Parked,
    ) -> Result<(), Stopped> {
        outlet.room_for_failure()?;
        let line = outlet.failure_line(value.record, payload, k, parked);
        loop {
            outlet.room()?;
            let route = self.router.failures(&mut outlet.publisher);
            if let Attempt::Done(_) = outlet.bytes(route, &[&line]) {
                let mark = outlet.publisher.mark(value.row);
                (mark.next, mark.k) = (value.record.offset, k + 1);
                mark.counts.consumed += 1;
                mark.counts.parked += 1;
                outlet.publisher.tally().park(parked.code);
                outlet.count_failure(value.record, k, parked);
                return Ok(());
            }
            outlet.publish()?;
        }
    }
}
