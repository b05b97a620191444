//! Who am I, and who leads which partition: one broker after the other is asked, over a connection of its own.

use std::time::{Duration, Instant};

use super::batch::Id;
use super::message::{self, Verdict};
use crate::protocol::Settings;
use crate::protocol::link::{Link, Trouble};
use crate::protocol::message::{Broker, TopicMap, ask_metadata, read_metadata};
use crate::sys::socket::Wait;

/// Wait between two questions; it doubles up to that of the settings until all goes well.
const BACKOFF: Duration = Duration::from_millis(20);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Id,
    Map,
}

/// What was answered.
#[derive(Debug)]
pub enum Answer {
    Id(Id),
    Map(Vec<TopicMap>),
}

pub struct Guide {
    settings: Settings,
    brokers: Vec<Broker>,
    /// Of the known brokers and then those of the configuration; those that were no help yet are kept, for a name may
    /// have several addresses.
    links: Vec<Link>,
    turn: usize,
    asked: Option<Question>,
    correlation: i32,
    wants_id: bool,
    wants_map: bool,
    not_before: Instant,
    backoff: Duration,
}

impl Guide {
    pub fn new(settings: &Settings) -> Guide {
        let link = |address: &String| link(address, settings);
        Guide {
            settings: settings.clone(),
            brokers: Vec::new(),
            links: settings.bootstrap.iter().map(link).collect(),
            turn: 0,
            asked: None,
            correlation: 0,
            wants_id: false,
            wants_map: false,
            not_before: Instant::now(),
            backoff: BACKOFF,
        }
    }

    pub fn want_id(&mut self) {
        self.wants_id = true;
    }

    pub fn want_map(&mut self) {
        self.wants_map = true;
    }

    /// What was answered last is right.
    pub fn relax(&mut self) {
        self.backoff = BACKOFF;
    }

    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    fn question(&self) -> Option<Question> {
        let next = if self.wants_id { Some(Question::Id) } else { self.wants_map.then_some(Question::Map) };
        self.asked.or(next)
    }

    /// Does what can be done without waiting.
    ///
    /// # Errors
    /// The broker whose turn it was is no help.
    pub fn step(&mut self, now: Instant, topics: &[&str]) -> Result<Option<Answer>, (String, Trouble)> {
        let Some(question) = self.question() else { return Ok(None) };
        if self.asked.is_none() && now < self.not_before {
            return Ok(None);
        }
        self.asked = Some(question);
        let turn = self.turn % self.links.len().max(1);
        let told = match self.exchange(turn, question, now, topics) {
            Ok(None) => return Ok(None),
            Ok(Some(answer)) => self.read(question, &answer, now).map_err(Trouble::Broken),
            Err(trouble) => Err(trouble),
        };
        told.map_err(|trouble| {
            let address = self.links[turn].address().to_string();
            self.rest(now);
            self.turn += 1;
            (address, trouble)
        })
    }

    /// The answer, once it is here.
    fn exchange(
        &mut self,
        turn: usize,
        question: Question,
        now: Instant,
        topics: &[&str],
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(link) = self.links.get_mut(turn) else { return Ok(None) };
        loop {
            if link.is_free() {
                self.correlation = self.correlation.wrapping_add(1);
                let (client_id, number) = (&self.settings.client_id, self.correlation);
                let request = match question {
                    Question::Id => message::ask_id(client_id, number),
                    Question::Map => ask_metadata(client_id, number, topics.iter().copied(), true),
                };
                link.send(request, number, now);
            }
            match link.step(now)? {
                true => break,
                // It is connected just now.
                false if link.is_free() => {}
                false => return Ok(None),
            }
        }
        let mut answer = Vec::new();
        let length = link.take(&mut answer);
        answer.truncate(length);
        // The next question may be far off, and brokers close what is idle.
        *link = self::link(link.address(), &self.settings);
        // Its length stands in front.
        Ok(Some(answer.split_off(4)))
    }

    /// `None` where the broker wants to be asked again.
    fn read(&mut self, question: Question, answer: &[u8], now: Instant) -> Result<Option<Answer>, String> {
        self.asked = None;
        if question == Question::Id {
            return match message::read_id(answer).map_err(|e| e.to_string())? {
                Ok(id) => {
                    self.wants_id = false;
                    Ok(Some(Answer::Id(id)))
                }
                Err(error) if message::verdict(error) != Verdict::Refused => {
                    log::debug!("no producer id yet: {}", message::error_text(error));
                    self.rest(now);
                    Ok(None)
                }
                Err(error) => Err(message::error_text(error)),
            };
        }
        let (brokers, topics) = read_metadata(answer).map_err(|e| e.to_string())?;
        self.wants_map = false;
        self.rest(now);
        self.meet(brokers);
        Ok(Some(Answer::Map(topics)))
    }

    /// The next question of the kind is asked after a while.
    fn rest(&mut self, now: Instant) {
        self.asked = None;
        self.not_before = now + self.backoff;
        self.backoff = (self.backoff * 2).min(self.settings.times.backoff_max);
    }

    fn meet(&mut self, brokers: Vec<Broker>) {
        if brokers.is_empty() || brokers == self.brokers {
            return;
        }
        let addresses = brokers.iter().map(|broker| &broker.address).chain(&self.settings.bootstrap);
        let mut old = std::mem::take(&mut self.links);
        self.links = addresses
            .map(|address| match old.iter().position(|link| link.address() == address) {
                Some(at) => old.swap_remove(at),
                None => link(address, &self.settings),
            })
            .collect();
        self.brokers = brokers;
    }

    /// Adds what it waits for; when it wants to be stepped at the latest.
    pub fn await_on(&self, wait: &mut Wait) -> Option<Instant> {
        self.question()?;
        if self.asked.is_none() {
            return Some(self.not_before);
        }
        self.links.get(self.turn % self.links.len().max(1))?.await_on(wait)
    }
}

/// A connection for a producer.
pub fn link(address: &str, settings: &Settings) -> Link {
    Link::new(address, &settings.client_id, settings.times, message::NEEDED)
}
