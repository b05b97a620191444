//! Reading: a turn for each file that has something to do, and what is done where it has nothing more.

use std::cmp::Reverse;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::cursor::{Loss, MARK_MAX, Mark, Phase, Step, Taken};
use super::partition::{Partitioner, key_hash};
use super::produce::{Lines, Refused};
use super::station::Station;
use super::{Totals, Until};
use crate::sys::{file, follow};

/// Bytes of a read at least, where so many are there.
pub const READ_LEAST: usize = 256 << 10;
/// What a read holds beside the longest line: the mark before it and the newline behind it.
pub const READ_MORE: usize = MARK_MAX + 1;
/// Files that get a turn before reports and orders are looked at again.
const TURNS: usize = 16;
/// How often it is asked whether somebody still writes a rotated file.
const ASK: Duration = Duration::from_millis(250);

impl Station {
    /// Gives turns while there is memory.
    pub(super) fn read(&mut self) {
        for _ in 0..TURNS {
            if !self.may_read() {
                return;
            }
            let Some(at) = self.ready.pop_front() else { return };
            if let Some(followed) = self.fleet.get_mut(at) {
                followed.is_ready = false;
                self.turn(at);
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let now = Instant::now();
        let Some(followed) = self.fleet.get_mut(at) else { return };
        if followed.is_changing && !followed.cursor.is_quiet() {
            return;
        }
        followed.is_changing = false;
        match followed.cursor.step(followed.at_end, now) {
            Step::Rest(None) => {}
            Step::Rest(Some(until)) => self.alarms.push(Reverse((until, at))),
            // Its place is not committed yet: it is looked at again then.
            Step::End if self.exact.as_ref().is_some_and(|exact| exact.before.contains_key(&at)) => {}
            Step::End => self.end(at),
            Step::AskWriter => self.ask_writer(at, now),
            Step::Read => match self.read_file(at, now) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.lost(at),
                Err(e) => self.fail(at, &e, now),
            },
        }
    }

    /// A rotated file stays until nobody writes it.
    fn ask_writer(&mut self, at: usize, now: Instant) {
        let close_delay = self.settings.close_delay;
        let opened = self.fleet.open(at);
        let Some(followed) = self.fleet.get_mut(at) else { return };
        if opened.is_err() {
            return self.lost(at);
        }
        // In this order: what was written before the writer went is seen by the read that follows.
        let has_writer = followed.file.as_ref().and_then(follow::has_writer);
        if followed.cursor.writer(has_writer, close_delay, now) {
            log::debug!("{}: {} is final", self.settings.task, followed.path.display());
            self.look_again(at);
        } else {
            self.alarms.push(Reverse((now + ASK, at)));
        }
    }

    fn read_file(&mut self, at: usize, now: Instant) -> io::Result<()> {
        self.fleet.open(at)?;
        let messages_left = self.producer.messages_left();
        let Station { fleet, producer, rules, lines, .. } = self;
        let Some(followed) = fleet.get_mut(at) else { return Ok(()) };
        let Some(file) = &followed.file else { return Ok(()) };
        let size = file.metadata()?.len();
        let cursor = &mut followed.cursor;
        if let Some(loss) = cursor.sized(size, now) {
            self.vanished(at, loss);
            return Ok(());
        }
        if !cursor.has_more(rules, now) {
            followed.at_end = true;
            if let Some(until) = cursor.pause_ends(rules).filter(|until| *until > now) {
                self.alarms.push(Reverse((until, at)));
            }
            if cursor.phase() != Phase::Live {
                self.make_ready(at);
            }
            return Ok(());
        }
        let (from, head) = (cursor.next().at, cursor.next().mark.bytes);
        let most = rules.max_line_bytes.max(READ_LEAST) as u64 + 1;
        let wanted = head + (size - from).min(most) as usize;
        let room = if messages_left == 0 { None } else { producer.room(wanted) };
        let Some(room) = room else {
            self.is_full = true;
            self.make_ready(at);
            return Ok(());
        };
        let read = read_at(file, room, from - head as u64)?;
        if read < wanted {
            // It was cut just now: the next look at its size tells.
            self.make_ready(at);
            return Ok(());
        }
        let bytes = &room[..read];
        let skipped = cursor.counts.skipped_nul_bytes;
        let taken = cursor.taken(bytes, from + (read - head) as u64 == size, rules, messages_left, lines, now);
        Totals::add(&self.totals.skipped_nul_bytes, cursor.counts.skipped_nul_bytes - skipped);
        match taken {
            Taken::Restarted(loss) => self.vanished(at, loss),
            Taken::Nothing => self.make_ready(at),
            Taken::Lines(split) => {
                let mark = Mark::of(&bytes[..head + split.consumed]);
                self.send(at, head, mark, &split, now);
                self.rest_at_end(at, size);
            }
        }
        Ok(())
    }

    /// What was written before the size was asked for is sent; inotify tells of what comes later.
    fn rest_at_end(&mut self, at: usize, size: u64) {
        let is_told = self.dirs.is_some();
        let Some(followed) = self.fleet.get_mut(at) else { return };
        let cursor = &followed.cursor;
        followed.at_end = is_told && cursor.phase() == Phase::Live && cursor.next().at == size && !cursor.is_stuck();
        if !followed.at_end {
            self.make_ready(at);
        }
    }

    fn send(&mut self, at: usize, head: usize, mark: Mark, split: &super::lines::Split, now: Instant) {
        if !self.enter_transaction(at) {
            return;
        }
        let Station { fleet, producer, lines, settings, .. } = self;
        let Some(followed) = fleet.get_mut(at) else { return };
        let key = followed.entry.key.as_deref().map(str::as_bytes);
        let hash = match (settings.partitioner, key) {
            (Partitioner::Key, Some(key)) => key_hash(key),
            (Partitioner::Random, _) => file::random_u64().unwrap_or(0) as u32,
            (Partitioner::File | Partitioner::Key, _) => followed.hash(),
        };
        let is_open = split.piece.is_some_and(|piece| !piece.is_last);
        let lines = Lines {
            hash,
            key,
            lines,
            head,
            used: head + split.consumed,
            gap: usize::from(!is_open),
            piece: split.piece,
        };
        let topic = producer.topic(&followed.entry.topic);
        let sent = topic.map_err(|e| Refused { chunk: None, reason: e.to_string() });
        let sent = sent.and_then(|topic| producer.send(topic, &lines));
        let (chunk, refused) = match sent {
            Ok(chunk) => (Some(chunk), None),
            Err(Refused { chunk, reason }) => (chunk, Some(reason)),
        };
        if let Some(chunk) = chunk {
            followed.cursor.sent(chunk, mark, split);
            if self.chunk_files.len() <= chunk as usize {
                self.chunk_files.resize(chunk as usize + 1, usize::MAX);
            }
            self.chunk_files[chunk as usize] = at;
        }
        if let Some(reason) = refused {
            let retry = followed.backoff.next(now);
            followed.cursor.refused(chunk, retry);
            self.exact.iter_mut().for_each(|exact| exact.has_failed = true);
            let topic = followed.entry.topic.clone();
            self.say(format!("topic {topic} takes no lines: {reason}; they are tried again"));
        }
        if split.piece.is_some_and(|piece| piece.number == 1) {
            Totals::add(&self.totals.long_lines, 1);
        }
    }

    /// Content that was there is not: it is named, and the file read from its beginning.
    fn vanished(&mut self, at: usize, loss: Loss) {
        let Some(followed) = self.fleet.get_mut(at) else { return };
        let (path, Loss { at: from, confirmed, unread }) = (followed.path.display(), loss);
        log::warn!(
            "{}: {path} was cut or replaced behind byte {from} (confirmed: {confirmed}): {unread} bytes were seen \
             there and not read, what else came and went is lost too; it is read from its beginning",
            self.settings.task
        );
        Totals::add(&self.totals.truncations, 1);
        Totals::add(&self.totals.lost_bytes, unread);
        self.dirty.insert(at);
        self.look_again(at);
    }

    /// No name leads to the file, and it is not open.
    fn lost(&mut self, at: usize) {
        let Some(followed) = self.fleet.get_mut(at) else { return };
        let (path, cursor) = (followed.path.display(), &mut followed.cursor);
        let unread = cursor.size().saturating_sub(cursor.next().at);
        // Where all that was seen is read it is no more than a deletion.
        let level = if unread > 0 { log::Level::Warn } else { log::Level::Info };
        log::log!(
            level,
            "{}: {path} is gone, and was not open: {unread} bytes were seen behind byte {} and not read, what else \
             came there is lost too",
            self.settings.task,
            cursor.next().at
        );
        Totals::add(&self.totals.lost_bytes, unread);
        cursor.let_go();
        self.make_ready(at);
    }

    fn fail(&mut self, at: usize, error: &io::Error, now: Instant) {
        let Some(followed) = self.fleet.get_mut(at) else { return };
        let words = format!("cannot read {}: {error}; it is tried again", followed.path.display());
        followed.file = None;
        self.alarms.push(Reverse((followed.backoff.next(now), at)));
        self.say(words);
    }

    /// All of it is confirmed.
    fn end(&mut self, at: usize) {
        self.dirty.remove(&at);
        if let Some(position) = self.fleet.remove(at) {
            self.owed.changed.insert(position.id.clone(), position);
        }
        if self.settings.until == Until::Stopped {
            // The name may lead to another file by now.
            self.look_at = self.look_at.min(Instant::now() + ASK);
        }
    }
}

/// Reads until the room is full or the file ends.
fn read_at(file: &std::fs::File, room: &mut [u8], from: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < room.len() {
        match file.read_at(&mut room[read..], from + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}
