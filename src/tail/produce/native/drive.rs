//! Batches on their way: what goes out to which broker, and what comes back.

use std::time::{Duration, Instant};

use super::Native;
use super::batch::Pile;
use super::message::{self, Sent, Verdict};
use super::part::{BACKOFF, Part, pile_of};
use crate::protocol::guide::Answer;
use crate::protocol::link::{Link, Trouble};
use crate::protocol::message::{TopicMap, throttle};
use crate::tail::produce::ALL_BROKERS_DOWN;

/// How long a topic may be unknown before its lines are given back: a new one takes a while to be known everywhere.
const UNKNOWN_MAX: Duration = Duration::from_secs(30);
/// How long that is not worth a word.
const UNKNOWN_SAID: Duration = Duration::from_secs(2);
/// Bytes of batches in one request; no broker takes more than 100 MiB.
const REQUEST_MAX: usize = 16 << 20;
/// Numbers of lines within a partition go round here.
const SEQUENCE_MASK: i32 = i32::MAX;

/// A connection to a broker.
pub struct Road {
    pub node: i32,
    pub link: Link,
    /// Whose first batch is on its way here.
    pub out: Vec<usize>,
    /// The broker's quota lets nothing be sent before.
    pub not_before: Instant,
    /// Times that it broke since the last answer: one is no news, for brokers close what is idle.
    pub breaks: u32,
}

impl Native {
    /// Does what can be done without waiting.
    pub(super) fn drive(&mut self) {
        let lease = self.lease.clone();
        let Some(_right) = lease.brake.hold() else { return };
        let now = Instant::now();
        self.ask_the_way(now);
        for at in 0..self.roads.len() {
            if !self.is_used(&self.roads[at]) {
                continue;
            }
            self.ask(at, now);
            match self.roads[at].link.step(now) {
                Ok(false) => {}
                Ok(true) => self.take(at, now),
                Err(trouble) => self.lose(at, trouble),
            }
            self.ask(at, now);
        }
    }

    pub(super) fn is_used(&self, road: &Road) -> bool {
        !road.out.is_empty() || self.parts.iter().any(|part| part.node == Some(road.node) && !part.pile.is_empty())
    }

    fn ask_the_way(&mut self, now: Instant) {
        if self.id.is_none() && self.parts.iter().any(|part| part.id.is_none() && !part.pile.is_empty()) {
            self.guide.want_id();
        }
        let Native { topics, parts, guide, .. } = self;
        let lost: Vec<&str> = topics.iter().filter(|topic| topic.is_lost(parts)).map(|t| t.name.as_str()).collect();
        if !lost.is_empty() {
            guide.want_map();
        }
        let told = guide.step(now, lost.iter().copied());
        match told {
            Ok(None) => {}
            Ok(Some(Answer::Id(id))) => self.id = Some(id),
            Ok(Some(Answer::Map(topics))) => self.line_up(topics, now),
            Err((address, trouble)) => self.note(&address, trouble),
        }
    }

    /// Takes over who leads what.
    fn line_up(&mut self, topics: Vec<TopicMap>, now: Instant) {
        for TopicMap { name, error, leaders } in topics {
            let Some(at) = self.by_name.get(&name).copied() else { continue };
            if error != 0 || leaders.is_empty() {
                self.doubt(at, error, now);
                continue;
            }
            let topic = &mut self.topics[at];
            if leaders.len() < topic.parts.len() {
                let (now, before) = (leaders.len(), topic.parts.len());
                self.fatal = Some(format!("topic {name} was made anew, with {now} partitions where it had {before}"));
                return;
            }
            topic.unknown_since = None;
            if topic.parts.is_empty() {
                let first = self.parts.len();
                topic.parts = first..first + leaders.len();
                self.parts.extend((0..leaders.len()).map(|number| Part::new(at, number as i32, now)));
                for (hash, early) in std::mem::take(&mut topic.early) {
                    pile_of(topic, &mut self.parts, hash).append(early, &mut self.packer);
                }
            }
            // Partitions that came later are not used: lines of one file would overtake each other.
            for (part, leader) in self.parts[topic.parts.clone()].iter_mut().zip(leaders) {
                part.node = leader.map(|leader| leader.node);
            }
        }
        let brokers = self.guide.brokers();
        let (kept, gone): (Vec<Road>, Vec<Road>) = self.roads.drain(..).partition(|road| {
            brokers.iter().any(|broker| broker.node == road.node && broker.address == road.link.address())
        });
        self.roads = kept;
        for part in gone.into_iter().flat_map(|road| road.out) {
            self.parts[part].is_out = false;
        }
        for broker in brokers {
            if self.roads.iter().all(|road| road.node != broker.node) {
                let link = self.guide.link(&broker.address);
                self.roads.push(Road { node: broker.node, link, out: Vec::new(), not_before: now, breaks: 0 });
            }
        }
    }

    /// Brokers do not know the topic, or do not let it be known.
    fn doubt(&mut self, at: usize, error: i16, now: Instant) {
        let error = if error == 0 { message::UNKNOWN_TOPIC } else { error };
        let since = *self.topics[at].unknown_since.get_or_insert(now);
        let words = format!("topic {}: {}", self.topics[at].name, message::error_text(error));
        let is_for_good = message::verdict(error) == Verdict::Refused;
        if is_for_good || now - since > UNKNOWN_SAID {
            self.trouble = Some((i32::from(error), words.clone()));
        }
        if !is_for_good && now - since < UNKNOWN_MAX {
            return;
        }
        self.topics[at].unknown_since = None;
        for (_, mut pile) in std::mem::take(&mut self.topics[at].early) {
            self.give_back(&mut pile, error, &words);
        }
        for part in self.topics[at].parts.clone() {
            if !self.parts[part].is_out {
                self.refuse(part, error, &words);
            }
        }
    }

    /// The lines of a partition that wait are reported as not delivered; what comes after them has a new sender.
    fn refuse(&mut self, at: usize, error: i16, words: &str) {
        let part = &mut self.parts[at];
        if self.id == part.id {
            self.id = None;
        }
        (part.id, part.sequence) = (None, 0);
        let mut pile = std::mem::take(&mut part.pile);
        self.give_back(&mut pile, error, words);
    }

    fn give_back(&mut self, pile: &mut Pile, error: i16, words: &str) {
        pile.seal(&mut self.packer);
        for batch in pile.sealed.drain(..) {
            self.held_bytes -= batch.size;
            let failed = |span| (span, Some((i32::from(error), words.to_string())));
            self.done.extend(batch.spans.into_iter().map(failed));
        }
    }

    /// Sends one batch of each partition that the broker leads, unless a request is on its way.
    fn ask(&mut self, at: usize, now: Instant) {
        let Native { roads, parts, topics, packer, settings, id, correlation, .. } = self;
        let road = &mut roads[at];
        if !road.link.is_free() || now < road.not_before {
            return;
        }
        let mut bytes = 0;
        for (number, part) in parts.iter_mut().enumerate() {
            if part.node != Some(road.node) || part.due().is_none_or(|due| due > now) || bytes > REQUEST_MAX {
                continue;
            }
            let Some(own) = part.id.or(*id) else { continue };
            part.id = Some(own);
            if part.pile.sealed.is_empty() {
                part.pile.seal(packer);
            }
            let Some(batch) = part.pile.sealed.front_mut() else { continue };
            if !batch.is_signed {
                batch.sign(own, part.sequence);
                part.sequence = part.sequence.wrapping_add(batch.count) & SEQUENCE_MASK;
            }
            bytes += batch.bytes.len();
            part.is_out = true;
            road.out.push(number);
        }
        if road.out.is_empty() {
            return;
        }
        let sent = road.out.iter().filter_map(|part| {
            let part = &parts[*part];
            let batch = &part.pile.sealed.front()?.bytes;
            Some(Sent { topic: &topics[part.topic].name, partition: part.partition, batch })
        });
        let sent: Vec<Sent<'_>> = sent.collect();
        *correlation = correlation.wrapping_add(1);
        let timeout_ms = (settings.times.silence_max / 2).as_millis() as i32;
        let request = message::ask_produce(&settings.client_id, *correlation, timeout_ms, &sent);
        road.link.send(request, *correlation, now);
    }

    /// Takes the answer that is here.
    fn take(&mut self, at: usize, now: Instant) {
        let mut answer = std::mem::take(&mut self.answer);
        let length = self.roads[at].link.take(&mut answer);
        match message::read_produce(&answer[4..length]) {
            Ok((told, throttle_ms)) => {
                let road = &mut self.roads[at];
                road.breaks = 0;
                road.not_before = now + throttle(throttle_ms);
                let mut out = std::mem::take(&mut road.out);
                for told in told {
                    let is_it = |part: &usize| {
                        let part = &self.parts[*part];
                        part.partition == told.partition && self.topics[part.topic].name == told.topic
                    };
                    if let Some(found) = out.iter().position(is_it) {
                        self.judge(out.swap_remove(found), &told, now);
                    }
                }
                // What the broker does not speak of goes out again.
                out.into_iter().for_each(|part| self.parts[part].is_out = false);
            }
            Err(damaged) => {
                self.roads[at].link.fail(now);
                self.lose(at, Trouble::Broken(damaged.to_string()));
            }
        }
        self.answer = answer;
    }

    /// What became of the first batch of a partition.
    fn judge(&mut self, at: usize, told: &message::Told<'_>, now: Instant) {
        let part = &mut self.parts[at];
        part.is_out = false;
        let verdict = message::verdict(told.error);
        if verdict == Verdict::Stands {
            (part.not_before, part.backoff) = (now, BACKOFF);
            self.guide.relax();
            if let Some(batch) = part.pile.sealed.pop_front() {
                self.held_bytes -= batch.size;
                self.done.extend(batch.spans.into_iter().map(|span| (span, None)));
            }
            return;
        }
        let words = [message::error_text(told.error).as_str(), told.words].join(" ");
        let words = format!("{} [{}]: {}", told.topic, told.partition, words.trim_end());
        if verdict == Verdict::Refused {
            return self.refuse(at, told.error, &words);
        }
        part.not_before = now + part.backoff;
        part.backoff = (part.backoff * 2).min(self.settings.times.backoff_max);
        if verdict == Verdict::Elsewhere {
            part.node = None;
        }
        log::debug!("{words}");
        // A leader that moves is no trouble yet.
        if part.backoff > BACKOFF * 4 {
            self.trouble = Some((i32::from(told.error), words));
        }
    }

    /// A connection is lost; its partitions may have another leader by now.
    fn lose(&mut self, at: usize, trouble: Trouble) {
        let road = &mut self.roads[at];
        road.breaks += 1;
        for part in road.out.drain(..) {
            self.parts[part].is_out = false;
        }
        let (node, address, is_news) = (road.node, road.link.address().to_string(), road.breaks > 1);
        self.parts.iter_mut().filter(|part| part.node == Some(node)).for_each(|part| part.node = None);
        if is_news || matches!(trouble, Trouble::Unfit(_)) {
            self.note(&address, trouble);
        }
    }

    fn note(&mut self, address: &str, trouble: Trouble) {
        match trouble {
            Trouble::Broken(reason) => {
                let is_away = self.roads.iter().all(|road| road.breaks > 0);
                let code = if is_away { ALL_BROKERS_DOWN } else { 0 };
                self.trouble = Some((code, format!("broker {address}: {reason}")));
            }
            Trouble::Unfit(reason) => {
                (self.fatal, self.is_unfit) = (Some(format!("broker {address}: {reason}")), true);
            }
        }
    }
}
