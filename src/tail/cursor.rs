//! One followed file as a state machine without a kernel: what was seen of it comes in, what is to be done comes out.
//!
//! Two places lead through a file: `next`, where the next line to send begins, and `kept`, up to which every line's
//! delivery was reported. Stretches in between are in flight.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::lines::{After, Before, Piece, Rules, Split, split};

/// Bytes that a content mark tells of: several lines, for lines of one log often end alike.
pub const MARK_MAX: usize = 1024;
/// A record of several lines that did not grow for so long is whole.
const PAUSE: Duration = Duration::from_secs(2);

/// The bytes before a place: where they are others, the file's content is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// How many are known.
    pub bytes: usize,
    crc: u32,
}

impl Mark {
    /// Of all bytes before a place, as many as are known.
    pub fn of(before: &[u8]) -> Mark {
        let before = &before[before.len().saturating_sub(MARK_MAX)..];
        Mark { bytes: before.len(), crc: crc32fast::hash(before) }
    }
}

/// A place in a file, at the beginning of a line or between two pieces of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Bytes from the beginning.
    pub at: u64,
    /// Pieces of the line that went out already; 0 at the beginning of a line.
    pub pieces: u32,
    pub mark: Mark,
}

/// Where a file stands between its first line and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its name leads to it.
    Live,
    /// It lost its name to rotation or deletion: it is read until nobody writes it any more.
    Leaving { since: Instant },
    /// Nobody will write it: what is there is all.
    Final,
    /// Told to go: nothing is read any more, what is in flight is waited for.
    Dropped,
}

/// What is to be done with the file now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look at its size, and read where there is more.
    Read,
    /// Is it open for writing somewhere?
    AskWriter,
    /// Nothing until something happens, or until this moment.
    Rest(Option<Instant>),
    /// It is done and all is reported: forget it.
    End,
}

/// Content that vanished: the file was cut, or its bytes were replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Up to here its lines were read, and up to here they were confirmed.
    pub at: u64,
    pub confirmed: u64,
    /// Bytes behind that were seen there and never read as lines; more may have come and gone unseen.
    pub unread: u64,
}

/// What a read became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Lines to send, in the list that was given; tell [`Cursor::sent`].
    Lines(Split),
    /// No whole line: wait for more.
    Nothing,
    /// The content is another: read from the beginning.
    Restarted(Loss),
}

/// Sums since the file is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines whose delivery was reported.
    pub lines: u64,
    /// Lines that had to go out in pieces.
    pub long_lines: u64,
    pub skipped_nul_bytes: u64,
    pub truncations: u64,
    /// Bytes seen in the file that were cut before they were read.
    pub lost_bytes: u64,
}

/// Lines that were given to the producer together.
#[derive(Debug, Clone)]
struct Stretch {
    chunk: u32,
    era: u32,
    /// Where its first line begins.
    start: u64,
    end: Place,
    /// Reported so far, from `start`.
    done: Place,
    is_failed: bool,
}

/// One followed file.
#[derive(Debug, Clone)]
pub struct Cursor {
    phase: Phase,
    next: Place,
    kept: Place,
    /// Rises when the content is replaced: stretches of an older era move no place.
    era: u32,
    /// When it was looked at last, no newline stood between `next` and here.
    scanned: u64,
    /// Of a file of which nothing was read yet: what stood in it without a newline, and how many bytes.
    half: (usize, Mark),
    /// The content before `next` may be another by now, even where nothing stands behind it.
    is_unsure: bool,
    /// As it was seen last, and the time before.
    size: u64,
    previous_size: u64,
    grew: Instant,
    in_flight: VecDeque<Stretch>,
    /// A delivery failed: once all is back, it goes on from `kept`.
    is_stuck: bool,
    retry: Option<Instant>,
    is_paused: bool,
    pub counts: Counts,
}

impl Cursor {
    /// A file that is followed from this place on.
    pub fn new(from: Place, now: Instant) -> Cursor {
        Cursor {
            phase: Phase::Live,
            scanned: from.at,
            half: Default::default(),
            is_unsure: true,
            size: from.at,
            previous_size: from.at,
            kept: from.clone(),
            next: from,
            era: 0,
            grew: now,
            in_flight: VecDeque::new(),
            is_stuck: false,
            retry: None,
            is_paused: false,
            counts: Counts::default(),
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Where the next line to send begins.
    pub fn next(&self) -> &Place {
        &self.next
    }

    /// Up to here all is reported.
    pub fn kept(&self) -> &Place {
        &self.kept
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Nothing of it is with the producer.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub fn last_grew(&self) -> Instant {
        self.grew
    }

    pub fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// A rename within what is followed gives the name back.
    pub fn named(&mut self) {
        if matches!(self.phase, Phase::Leaving { .. } | Phase::Final) {
            self.phase = Phase::Live;
        }
    }

    /// Its name leads elsewhere, or is gone.
    pub fn unnamed(&mut self, now: Instant) {
        if self.phase == Phase::Live {
            self.phase = Phase::Leaving { since: now };
        }
    }

    /// Nobody will write it any more: a last line without newline is a line.
    pub fn finish(&mut self) {
        self.phase = Phase::Final;
        self.scanned = self.next.at;
    }

    /// It is followed no longer.
    pub fn let_go(&mut self) {
        self.phase = Phase::Dropped;
    }

    /// Goes to another place; what is in flight moves nothing any more.
    pub fn seek(&mut self, to: Place) {
        self.era += 1;
        self.scanned = to.at;
        self.half = Default::default();
        self.is_unsure = true;
        self.size = to.at;
        self.kept = to.clone();
        self.next = to;
    }

    /// What is to be done; `at_end`: the last read found nothing more.
    pub fn step(&mut self, mut at_end: bool, now: Instant) -> Step {
        if self.is_stuck {
            if !self.in_flight.is_empty() {
                return Step::Rest(None);
            }
            match self.retry {
                Some(at) if at > now => return Step::Rest(Some(at)),
                _ => {
                    self.rewind();
                    at_end = false;
                }
            }
        }
        match self.phase {
            Phase::Dropped => self.end(),
            _ if self.is_paused => Step::Rest(None),
            _ if !at_end => Step::Read,
            Phase::Live => Step::Rest(None),
            Phase::Leaving { .. } => Step::AskWriter,
            Phase::Final => self.end(),
        }
    }

    fn end(&self) -> Step {
        if self.in_flight.is_empty() { Step::End } else { Step::Rest(None) }
    }

    fn rewind(&mut self) {
        self.is_stuck = false;
        self.retry = None;
        self.next = self.kept.clone();
        self.scanned = self.next.at;
    }

    /// The answer to [`Step::AskWriter`]: `None` where nobody can tell. True where the file is final now.
    pub fn writer(&mut self, has_one: Option<bool>, close_delay: Duration, now: Instant) -> bool {
        let Phase::Leaving { since } = self.phase else { return false };
        let waited = now.saturating_duration_since(since.max(self.grew)) >= close_delay;
        if has_one == Some(false) || waited {
            self.finish();
            return true;
        }
        false
    }

    /// Somebody wrote the file: a half line that was looked at may be another by now, and what was read too.
    pub fn touched(&mut self) {
        self.scanned = self.next.at;
        self.is_unsure = true;
    }

    /// The file's size now. A smaller one than was read, or than was seen of a file of which nothing was read yet,
    /// says that it was cut.
    pub fn sized(&mut self, size: u64, now: Instant) -> Option<Loss> {
        self.previous_size = self.size;
        if size < self.next.at || self.next.at == 0 && size < self.size {
            return Some(self.restart());
        }
        if size != self.size {
            self.grew = now;
        }
        if size < self.scanned {
            self.scanned = self.next.at;
        }
        self.size = size;
        None
    }

    /// Is there anything behind `next` that was not looked at, or another content before it?
    pub fn has_more(&self, rules: &Rules, now: Instant) -> bool {
        let pause = rules.multiline_start.is_some() && self.size > self.next.at && self.paused_long(now);
        let is_unsure = self.is_unsure && self.next.mark.bytes > 0;
        self.size > self.scanned || (self.size > self.next.at && self.phase == Phase::Final) || pause || is_unsure
    }

    /// When a record of several lines counts as whole.
    pub fn pause_ends(&self, rules: &Rules) -> Option<Instant> {
        (rules.multiline_start.is_some() && self.size > self.next.at).then(|| self.grew + PAUSE)
    }

    fn paused_long(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.grew) >= PAUSE
    }

    /// Bytes read from `next.at` less the mark's length on. `reaches_end`: nothing stood behind them.
    pub fn taken(
        &mut self,
        bytes: &[u8],
        reaches_end: bool,
        rules: &Rules,
        lines_max: usize,
        lines: &mut Vec<(u32, u32)>,
        now: Instant,
    ) -> Taken {
        let mark = self.next.mark;
        let (marked, content) = bytes.split_at(mark.bytes);
        let (length, half) = self.half;
        let is_same = || content.get(..length).is_some_and(|before| Mark::of(before) == half);
        if Mark::of(marked) != mark || self.next.at == 0 && !is_same() {
            return Taken::Restarted(self.restart());
        }
        self.is_unsure = false;
        let after = match self.phase {
            Phase::Final if reaches_end => After::End,
            _ if reaches_end && self.paused_long(now) => After::Pause,
            _ => After::More,
        };
        let before = Before { hole: marked.iter().all(|b| *b == 0), pieces: self.next.pieces };
        let split = split(content, before, after, rules, lines_max, lines);
        if split.consumed == 0 {
            self.scanned = self.next.at + content.len() as u64;
            if self.next.at == 0 {
                self.half = (content.len(), Mark::of(content));
            }
            return Taken::Nothing;
        }
        self.counts.skipped_nul_bytes += split.skipped as u64;
        if lines.is_empty() {
            // A hole alone: nothing to send, and nothing to wait for.
            self.go_to(Mark::of(&bytes[..mark.bytes + split.consumed]), split.consumed as u64, 0);
            return Taken::Nothing;
        }
        Taken::Lines(split)
    }

    /// The lines of [`Taken::Lines`] are with the producer as `chunk`; `mark` ends where they end.
    pub fn sent(&mut self, chunk: u32, mark: Mark, split: &Split) {
        let start = self.next.at + split.skipped as u64;
        let pieces = match split.piece {
            Some(Piece { number, is_last: false }) => number,
            _ => 0,
        };
        self.counts.long_lines += u64::from(split.piece.is_some_and(|p| p.number == 1));
        let done = Place { at: start, pieces: self.next.pieces, mark: Mark::default() };
        self.go_to(mark, split.consumed as u64, pieces);
        let end = self.next.clone();
        self.in_flight.push_back(Stretch { chunk, era: self.era, start, end, done, is_failed: false });
    }

    fn go_to(&mut self, mark: Mark, by: u64, pieces: u32) {
        self.next = Place { at: self.next.at + by, pieces, mark };
        self.scanned = self.next.at;
    }

    /// The producer would not take all lines of the stretch that was sent last, or of one that was not sent at all.
    pub fn refused(&mut self, chunk: Option<u32>, retry: Instant) {
        if let Some(stretch) = self.in_flight.iter_mut().find(|s| Some(s.chunk) == chunk) {
            stretch.is_failed = true;
        }
        self.is_stuck = true;
        self.retry = Some(retry);
    }

    /// `count` lines of a chunk are delivered: those that begin `from` bytes behind the chunk's first line and end
    /// with their newlines at `to`; `mark` ends there. `is_last`: no report of the chunk will come any more.
    pub fn delivered(&mut self, chunk: u32, count: u64, from: u64, to: u64, mark: Mark, is_last: bool) {
        self.counts.lines += count;
        if let Some(stretch) = self.in_flight.iter_mut().find(|s| s.chunk == chunk) {
            // A gap would be a line that failed.
            if stretch.done.at != stretch.start + from && !stretch.is_failed {
                stretch.is_failed = true;
                self.is_stuck |= stretch.era == self.era;
            }
            if !stretch.is_failed {
                let at = (stretch.start + to).min(stretch.end.at);
                stretch.done = match at == stretch.end.at {
                    true => stretch.end.clone(),
                    false => Place { at, pieces: 0, mark },
                };
            }
        }
        self.settle(chunk, is_last);
    }

    /// Lines of a chunk will never be delivered: what was sent behind them counts for nothing, or they would be lost.
    pub fn failed(&mut self, chunk: u32, retry: Instant, is_last: bool) {
        if let Some(at) = self.in_flight.iter().position(|s| s.chunk == chunk) {
            let era = self.in_flight[at].era;
            self.in_flight.iter_mut().skip(at).filter(|s| s.era == era).for_each(|s| s.is_failed = true);
            if era == self.era {
                self.is_stuck = true;
                self.retry = Some(retry);
            }
        }
        self.settle(chunk, is_last);
    }

    /// Moves `kept` over what is reported without a gap.
    fn settle(&mut self, chunk: u32, is_last: bool) {
        for stretch in self.in_flight.iter().filter(|s| s.era == self.era) {
            if stretch.is_failed {
                break;
            }
            // Nothing reported yet is no place: its mark is not known.
            if stretch.done.at > stretch.start || stretch.done == stretch.end {
                self.kept = stretch.done.clone();
            }
            if stretch.done != stretch.end {
                break;
            }
        }
        if is_last {
            let era = self.era;
            let stuck = self.is_stuck;
            let at = self.in_flight.iter().position(|s| s.chunk == chunk);
            // One that is not at the front waits for those before it, so that they are not passed over.
            if let Some(stretch) = at.and_then(|at| self.in_flight.get_mut(at)) {
                stretch.chunk = u32::MAX;
            }
            let gone = |s: &Stretch| s.chunk == u32::MAX && (stuck || s.is_failed || s.era != era || s.done == s.end);
            while self.in_flight.front().is_some_and(gone) {
                self.in_flight.pop_front();
            }
        }
    }

    /// The producer is gone with all that was in flight.
    pub fn forget_flight(&mut self) {
        self.in_flight.clear();
        self.rewind();
    }

    fn restart(&mut self) -> Loss {
        let loss =
            Loss { at: self.next.at, confirmed: self.kept.at, unread: self.previous_size.saturating_sub(self.next.at) };
        self.counts.truncations += 1;
        self.counts.lost_bytes += loss.unread;
        self.seek(Place::default());
        loss
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
