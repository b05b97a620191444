//! librdkafka as a producer. It is handed pointers into slabs; a slab is written again once every message in it was
//! reported. Delivery reports come as events of many messages, not as a call for each.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rdkafka::bindings as rd;

use super::choose::{UNASSIGNED, partition};
use super::conf::{self, c_string, error_text, text};
use super::{Lines, MESSAGES_MAX, PIECE_HEADER, ProduceError, Producer, Refused, Report, Settings};
use crate::sys::follow::Bell;
use crate::sys::slabs::Slabs;
use crate::tail::cursor::{MARK_MAX, Mark};
use crate::tail::lease::Lease;
use crate::tail::lines::Piece;

/// A producer with the memory that it sends from.
pub struct Librdkafka {
    pub(super) rk: *mut rd::rd_kafka_t,
    pub(super) lease: Arc<Lease>,
    queue: *mut rd::rd_kafka_queue_t,
    pub(super) topics: Vec<Topic>,
    by_name: HashMap<String, usize>,
    slabs: Slabs,
    chunks: Vec<Chunk>,
    free: Vec<u32>,
    /// Messages with librdkafka.
    pub(super) held: usize,
    batch: Vec<rd::rd_kafka_message_t>,
    fatal: Option<String>,
    /// A record that is no line was not delivered.
    pub(super) put_failed: bool,
    trouble: Option<(i32, String)>,
}

pub(super) struct Topic {
    pub(super) rkt: *mut rd::rd_kafka_topic_t,
    /// Partitions as librdkafka told when it had to choose one; 0 before.
    partitions: Box<AtomicI32>,
}

#[derive(Clone, Copy)]
struct Chunk {
    slab: usize,
    /// The first line.
    first: *const u8,
    /// The beginning of the room.
    room: *const u8,
    gap: usize,
    held: usize,
}

// SAFETY: librdkafka's handles may be used from any thread; this value is used by one at a time.
unsafe impl Send for Librdkafka {}

impl Librdkafka {
    /// `bell` rings when there are reports.
    ///
    /// # Errors
    /// librdkafka refuses a setting or has no room for its threads.
    pub fn open(settings: &Settings, bell: &Bell, lease: &Arc<Lease>) -> Result<Librdkafka, ProduceError> {
        let slab_bytes = settings.read_bytes.max(settings.buffer_bytes / 8);
        let slabs = Slabs::new(slab_bytes, settings.buffer_bytes / slab_bytes);
        // SAFETY: plain constructors; the configuration is owned by `rd_kafka_new` once that succeeds.
        unsafe {
            let conf = conf::made(settings)?;
            rd::rd_kafka_conf_set_events(conf, rd::RD_KAFKA_EVENT_DR | rd::RD_KAFKA_EVENT_ERROR);
            let mut reason = [0; 512];
            let kind = rd::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            let rk = rd::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
            if rk.is_null() {
                rd::rd_kafka_conf_destroy(conf);
                return Err(ProduceError::Start(text(reason.as_ptr())));
            }
            let queue = rd::rd_kafka_queue_get_main(rk);
            let one = 1u64.to_ne_bytes();
            rd::rd_kafka_queue_io_event_enable(queue, bell.fd(), one.as_ptr().cast(), one.len());
            let producer = Librdkafka {
                rk,
                lease: lease.clone(),
                queue,
                topics: Vec::new(),
                by_name: HashMap::new(),
                slabs,
                chunks: Vec::new(),
                free: Vec::new(),
                held: 0,
                batch: Vec::new(),
                fatal: None,
                put_failed: false,
                trouble: None,
            };
            if lease.brake.take(rk) { Ok(producer) } else { Err(ProduceError::Succeeded) }
        }
    }

    fn send_batch(
        &mut self,
        rkt: *mut rd::rd_kafka_topic_t,
        lines: &Lines<'_>,
        partition: i32,
        opaque: *mut c_void,
        at: impl Fn(u32) -> *mut u8,
    ) -> Result<(), (usize, String)> {
        self.batch.clear();
        let (key, key_len) = lines.key.map_or((std::ptr::null_mut(), 0), |k| (k.as_ptr().cast_mut().cast(), k.len()));
        self.batch.extend(lines.lines.iter().map(|(start, length)| rd::rd_kafka_message_t {
            err: rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: std::ptr::null_mut(),
            partition,
            payload: at(*start).cast(),
            len: *length as usize,
            key,
            key_len,
            offset: 0,
            _private: opaque,
        }));
        let count = self.batch.len();
        // SAFETY: an array with its length; payloads stay until they are reported, keys are copied.
        let good = unsafe {
            rd::rd_kafka_produce_batch(rkt, partition, 0, self.batch.as_mut_ptr(), count as c_int).max(0) as usize
        };
        if good == count {
            return Ok(());
        }
        let wrong = self.batch.iter().find(|m| m.err != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        Err((good, wrong.map_or_else(String::new, |m| error_text(m.err))))
    }

    fn send_piece(
        &self,
        rkt: *mut rd::rd_kafka_topic_t,
        lines: &Lines<'_>,
        partition: i32,
        opaque: *mut c_void,
        value: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1,
        piece: Piece,
    ) -> Result<(), (usize, String)> {
        use rd::rd_kafka_vtype_t as t;
        type Value = rd::rd_kafka_vu_s__bindgen_ty_1;
        let header = piece.to_string();
        let mut words = vec![
            (t::RD_KAFKA_VTYPE_RKT, Value { rkt }),
            (t::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }),
            (t::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: opaque }),
            (t::RD_KAFKA_VTYPE_VALUE, Value { mem: value }),
            (
                t::RD_KAFKA_VTYPE_HEADER,
                Value {
                    header: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
                        name: PIECE_HEADER.as_ptr(),
                        val: header.as_ptr().cast(),
                        size: header.len() as isize,
                    },
                },
            ),
        ];
        if let Some(key) = lines.key {
            let mem =
                rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: key.as_ptr().cast_mut().cast(), size: key.len() };
            words.push((t::RD_KAFKA_VTYPE_KEY, Value { mem }));
        }
        let words: Vec<_> = words.into_iter().map(|(vtype, u)| rd::rd_kafka_vu_t { vtype, u }).collect();
        // SAFETY: an array with its length; the payload stays until it is reported, key and header are copied.
        unsafe {
            let error = rd::rd_kafka_produceva(self.rk, words.as_ptr(), words.len());
            if error.is_null() {
                return Ok(());
            }
            let reason = text(rd::rd_kafka_error_string(error));
            rd::rd_kafka_error_destroy(error);
            Err((0, reason))
        }
    }

    /// Neighbours of one chunk with the same result make one report.
    ///
    /// # Safety
    /// The event holds delivery reports.
    unsafe fn delivered(&mut self, event: *mut rd::rd_kafka_event_t, each: &mut dyn FnMut(&Report)) {
        let mut run: Option<Run> = None;
        loop {
            // SAFETY: by the caller; a message lives as long as its event.
            let message = unsafe { rd::rd_kafka_event_message_next(event).as_ref() };
            let Some(m) = message else { break };
            let chunk = m._private as u64 as u32;
            if chunk == OF_NO_CHUNK {
                self.held -= 1;
                self.put_failed |= m.err != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
                continue;
            }
            let (start, error) = (m.payload.cast_const().cast::<u8>(), m.err);
            let gap = self.chunks[chunk as usize].gap;
            match &mut run {
                Some(r) if r.chunk == chunk && r.error == error && r.end == start => {
                    r.end = start.wrapping_add(m.len + gap);
                    r.count += 1;
                }
                _ => {
                    let end = start.wrapping_add(m.len + gap);
                    if let Some(done) = run.replace(Run { chunk, start, end, count: 1, error }) {
                        self.report(&done, each);
                    }
                }
            }
        }
        if let Some(done) = run {
            self.report(&done, each);
        }
    }

    fn report(&mut self, run: &Run, each: &mut dyn FnMut(&Report)) {
        let entry = &mut self.chunks[run.chunk as usize];
        entry.held -= run.count;
        let (slab, first, room, is_last) = (entry.slab, entry.first, entry.room, entry.held == 0);
        let to = run.end as usize - first as usize;
        let mark = (run.end as usize - room as usize).min(MARK_MAX);
        // SAFETY: bytes of the room, filled and not written again while the slab holds this chunk's messages. The last
        // byte may lie behind a line that has no newline, where every slab has some more.
        let before = unsafe { std::slice::from_raw_parts(run.end.wrapping_sub(mark), mark) };
        let error = run.error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        each(&Report {
            chunk: run.chunk,
            count: run.count as u64,
            from: (run.start as usize - first as usize) as u64,
            to: to as u64,
            mark: Mark::of(before),
            error: error.then(|| (run.error as i32, error_text(run.error))),
            is_last,
        });
        self.held -= run.count;
        self.slabs.release(slab, run.count);
        if is_last {
            self.free.push(run.chunk);
        }
    }

    /// # Safety
    /// The event holds an error.
    unsafe fn note(&mut self, event: *mut rd::rd_kafka_event_t) {
        use rd::rd_kafka_resp_err_t as e;
        // SAFETY: by the caller.
        unsafe {
            let (code, reason) = (rd::rd_kafka_event_error(event), text(rd::rd_kafka_event_error_string(event)));
            if code == e::RD_KAFKA_RESP_ERR__FATAL {
                let mut words = [0; 512];
                rd::rd_kafka_fatal_error(self.rk, words.as_mut_ptr(), words.len());
                self.fatal = Some(text(words.as_ptr()));
            } else if matches!(code, e::RD_KAFKA_RESP_ERR__TRANSPORT | e::RD_KAFKA_RESP_ERR__RESOLVE) {
                // One connection's: that all are down comes beside it.
                log::debug!("{reason}");
            } else {
                self.trouble = Some((code as i32, reason));
            }
        }
    }
}

impl Producer for Librdkafka {
    fn topic(&mut self, name: &str) -> Result<usize, ProduceError> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(*known);
        }
        let partitions = Box::new(AtomicI32::new(0));
        let c_name = c_string(name);
        // SAFETY: the number that the partitioner is given lives as long as the topic; librdkafka owns the settings.
        let rkt = unsafe {
            let conf = rd::rd_kafka_default_topic_conf_dup(self.rk);
            rd::rd_kafka_topic_conf_set_partitioner_cb(conf, Some(partition));
            rd::rd_kafka_topic_conf_set_opaque(conf, (&raw const *partitions).cast_mut().cast());
            rd::rd_kafka_topic_new(self.rk, c_name.as_ptr(), conf)
        };
        if rkt.is_null() {
            return Err(ProduceError::Start(format!("it refuses topic {name:?}")));
        }
        self.by_name.insert(name.to_owned(), self.topics.len());
        self.topics.push(Topic { rkt, partitions });
        Ok(self.topics.len() - 1)
    }

    fn messages_left(&self) -> usize {
        MESSAGES_MAX.saturating_sub(self.held)
    }

    fn in_flight(&self) -> usize {
        self.held
    }

    fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        self.slabs.room(bytes)
    }

    fn send(&mut self, topic: usize, lines: &Lines<'_>) -> Result<u32, Refused> {
        let count = lines.lines.len();
        let chunk = self.free.pop().unwrap_or(self.chunks.len() as u32);
        let (slab, room) = self.slabs.keep(lines.used, count);
        // SAFETY: places within the room's used bytes.
        let at = |start: u32| unsafe { room.add(lines.head + start as usize) };
        let first = at(lines.lines.first().map_or(0, |l| l.0)).cast_const();
        let entry = Chunk { slab, first, room: room.cast_const(), gap: lines.gap, held: count };
        match self.chunks.get_mut(chunk as usize) {
            Some(place) => *place = entry,
            None => self.chunks.push(entry),
        }
        let Topic { rkt, partitions } = &self.topics[topic];
        let (rkt, known) = (*rkt, partitions.load(Ordering::Relaxed));
        let partition = if known > 0 { (lines.hash % known as u32) as i32 } else { UNASSIGNED };
        let opaque = (u64::from(lines.hash) << 32 | u64::from(chunk)) as *mut c_void;
        let lease = self.lease.clone();
        let right = lease.brake.hold();
        let result = match lines.piece {
            _ if right.is_none() => Err((0, ProduceError::Succeeded.to_string())),
            None => self.send_batch(rkt, lines, partition, opaque, at),
            Some(piece) => {
                let (start, length) = lines.lines[0];
                let value =
                    rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: at(start).cast(), size: length as usize };
                self.send_piece(rkt, lines, partition, opaque, value, piece)
            }
        };
        drop(right);
        let (good, reason) = match result {
            Ok(()) => {
                self.held += count;
                return Ok(chunk);
            }
            Err((good, reason)) => (good, reason),
        };
        // It may have been made anew with fewer partitions: they are counted again.
        self.topics[topic].partitions.store(0, Ordering::Relaxed);
        self.slabs.release(slab, count - good);
        self.chunks[chunk as usize].held = good;
        self.held += good;
        if good == 0 {
            self.free.push(chunk);
        }
        Err(Refused { chunk: (good > 0).then_some(chunk), reason })
    }

    fn reports(&mut self, each: &mut dyn FnMut(&Report)) {
        loop {
            // SAFETY: the queue is ours.
            let event = unsafe { rd::rd_kafka_queue_poll(self.queue, 0) };
            if event.is_null() {
                return;
            }
            // SAFETY: an event of ours, destroyed once, after the last look at it.
            unsafe {
                match rd::rd_kafka_event_type(event) {
                    rd::RD_KAFKA_EVENT_DR => self.delivered(event, each),
                    rd::RD_KAFKA_EVENT_ERROR => self.note(event),
                    _ => {}
                }
                rd::rd_kafka_event_destroy(event);
            }
        }
    }

    fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    fn take_trouble(&mut self) -> Option<(i32, String)> {
        self.trouble.take()
    }
}

impl Drop for Librdkafka {
    fn drop(&mut self) {
        self.lease.brake.leave(self.rk);
        // SAFETY: the handles are ours; once librdkafka is destroyed nobody reads the slabs any more.
        unsafe {
            rd::rd_kafka_purge(self.rk, rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT);
            self.topics.iter().for_each(|topic| rd::rd_kafka_topic_destroy(topic.rkt));
            rd::rd_kafka_queue_destroy(self.queue);
            rd::rd_kafka_destroy(self.rk);
        }
    }
}

/// Messages of a chunk that stand side by side.
struct Run {
    chunk: u32,
    start: *const u8,
    end: *const u8,
    count: usize,
    error: rd::rd_kafka_resp_err_t,
}

/// In place of a chunk's number: the message is no line.
pub(super) const OF_NO_CHUNK: u32 = u32::MAX;
