//! Who leads which partition: one broker after the other is asked, over a connection of its own, when it is wanted.

use std::time::{Duration, Instant};

use super::link::{Link, Times, Trouble};
use super::message::{self, Broker, Need, TopicMap};
use super::settings::Settings;
use super::wire::Damaged;
use crate::sys::socket::Wait;

/// Wait between two questions; it doubles up to [`Times::backoff_max`] until all goes well.
const BACKOFF: Duration = Duration::from_millis(50);

pub struct Guide {
    bootstrap: Vec<String>,
    brokers: Vec<Broker>,
    client_id: String,
    times: Times,
    needed: &'static [Need],
    /// Whose turn it is, of the known brokers and then those of the configuration.
    turn: usize,
    link: Option<Link>,
    correlation: i32,
    is_asked: bool,
    is_wanted: bool,
    not_before: Instant,
    backoff: Duration,
}

impl Guide {
    pub fn new(settings: &Settings, needed: &'static [Need]) -> Guide {
        Guide {
            bootstrap: settings.bootstrap.clone(),
            brokers: Vec::new(),
            client_id: settings.client_id.clone(),
            times: settings.times,
            needed,
            turn: 0,
            link: None,
            correlation: 0,
            is_asked: false,
            is_wanted: false,
            not_before: Instant::now(),
            backoff: BACKOFF,
        }
    }

    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// What was answered last is right.
    pub fn relax(&mut self) {
        self.backoff = BACKOFF;
    }

    /// `host:port` of a broker.
    pub fn address_of(&self, node: i32) -> Option<&str> {
        self.brokers.iter().find(|broker| broker.node == node).map(|broker| broker.address.as_str())
    }

    /// The broker whose turn it is.
    pub fn address(&self) -> &str {
        let known = self.brokers.iter().map(|broker| broker.address.as_str());
        let all = known.chain(self.bootstrap.iter().map(String::as_str));
        all.clone().nth(self.turn % all.count().max(1)).unwrap_or("")
    }

    /// Does what can be done without waiting. True: an answer is here, to be read.
    ///
    /// # Errors
    /// The broker whose turn it was is no help.
    pub fn step<'a>(
        &mut self,
        now: Instant,
        topics: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<bool, (String, Trouble)> {
        if !self.is_wanted || (self.link.is_none() && now < self.not_before) {
            return Ok(false);
        }
        let mut link =
            self.link.take().unwrap_or_else(|| Link::new(self.address(), &self.client_id, self.times, self.needed));
        if link.is_free() && !self.is_asked {
            self.correlation = self.correlation.wrapping_add(1);
            self.is_asked = true;
            link.send(message::ask_metadata(&self.client_id, self.correlation, topics, false), self.correlation, now);
        }
        match link.step(now) {
            Ok(is_here) => {
                self.link = Some(link);
                Ok(is_here)
            }
            Err(trouble) => {
                self.rest(now);
                Err((link.address().to_string(), trouble))
            }
        }
    }

    /// Reads the answer that is here.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(&mut self, now: Instant) -> Result<Vec<TopicMap>, Damaged> {
        let Some(link) = self.link.take() else { return Ok(Vec::new()) };
        self.rest(now);
        let (brokers, topics) = message::read_metadata(link.answer())?;
        (self.brokers, self.is_wanted) = (brokers, false);
        Ok(topics)
    }

    /// The next question goes to the next broker, after a while.
    fn rest(&mut self, now: Instant) {
        (self.link, self.is_asked) = (None, false);
        self.turn += 1;
        self.not_before = now + self.backoff;
        self.backoff = (self.backoff * 2).min(self.times.backoff_max);
    }

    /// Adds what it waits for; when it wants to be stepped at the latest.
    pub fn await_on(&self, wait: &mut Wait) -> Option<Instant> {
        match &self.link {
            Some(link) => link.await_on(wait),
            None => self.is_wanted.then_some(self.not_before),
        }
    }
}
