//! Topics with their partitions, and the lines that wait for each.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::batch::Pile;
use crate::protocol::message::Id;

/// How long a batch waits for more lines.
const LINGER: Duration = Duration::from_millis(5);
/// Wait before a batch goes out again, after the first failure; it doubles up to that of the settings.
pub const BACKOFF: Duration = Duration::from_millis(50);

pub struct Topic {
    pub name: String,
    /// Its partitions in the producer; empty while nobody has told.
    pub parts: Range<usize>,
    /// Lines that came before that, by the number that will choose their partition.
    pub early: Vec<(u32, Pile)>,
    /// Since when brokers do not know it.
    pub unknown_since: Option<Instant>,
}

pub struct Part {
    pub topic: usize,
    pub partition: i32,
    /// Who leads it; `None` where that is to be found out.
    pub node: Option<i32>,
    /// Whose numbers its batches have.
    pub id: Option<Id>,
    /// Of the next line that goes out for the first time.
    pub sequence: i32,
    pub pile: Pile,
    /// The first batch is on its way.
    pub is_out: bool,
    pub not_before: Instant,
    pub backoff: Duration,
}

impl Topic {
    /// Brokers are to tell of it.
    pub fn is_lost(&self, parts: &[Part]) -> bool {
        let mut parts = parts[self.parts.clone()].iter();
        !self.early.is_empty() || parts.any(|part| part.node.is_none() && !part.pile.is_empty())
    }
}

impl Part {
    /// Nothing is known of it but its number.
    pub fn new(topic: usize, partition: i32, now: Instant) -> Part {
        Part {
            topic,
            partition,
            node: None,
            id: None,
            sequence: 0,
            pile: Pile::default(),
            is_out: false,
            not_before: now,
            backoff: BACKOFF,
        }
    }

    /// When its first batch may go out; `None` where there is none, or it is on its way.
    pub fn due(&self) -> Option<Instant> {
        if self.is_out {
            return None;
        }
        let first = match self.pile.sealed.is_empty() {
            true => self.pile.waits_since()? + LINGER,
            false => self.not_before,
        };
        Some(first.max(self.not_before))
    }
}

/// Where lines with this number wait.
pub fn pile_of<'a>(topic: &'a mut Topic, parts: &'a mut [Part], hash: u32) -> &'a mut Pile {
    if !topic.parts.is_empty() {
        return &mut parts[topic.parts.start + hash as usize % topic.parts.len()].pile;
    }
    let known = topic.early.iter().position(|(other, _)| *other == hash).unwrap_or_else(|| {
        topic.early.push((hash, Pile::default()));
        topic.early.len() - 1
    });
    &mut topic.early[known].1
}
