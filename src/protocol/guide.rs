//! Who am I, and who leads which partition: one broker after the other is asked, over a connection of its own, when it
//! is wanted.

use std::time::{Duration, Instant};

use super::Settings;
use super::link::{Link, Trouble};
use super::message::{self, Broker, Id, Need, TopicMap};
use crate::sys::socket::Wait;

/// Wait between two questions; it doubles up to that of the settings until all goes well.
const BACKOFF: Duration = Duration::from_millis(50);

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
    needed: &'static [Need],
    makes_topics: bool,
    brokers: Vec<Broker>,
    /// Of the known brokers and then those of the configuration; those that were no help yet are kept, for a name may
    /// have several addresses.
    links: Vec<Link>,
    /// Whose turn it is.
    turn: usize,
    asked: Option<Question>,
    correlation: i32,
    wants_id: bool,
    wants_map: bool,
    not_before: Instant,
    backoff: Duration,
}

impl Guide {
    /// `needed`: what a broker has to speak. `makes_topics`: one that is not there is made, where brokers do that.
    pub fn new(settings: &Settings, needed: &'static [Need], makes_topics: bool) -> Guide {
        let mut guide = Guide {
            settings: settings.clone(),
            needed,
            makes_topics,
            brokers: Vec::new(),
            links: Vec::new(),
            turn: 0,
            asked: None,
            correlation: 0,
            wants_id: false,
            wants_map: false,
            not_before: Instant::now(),
            backoff: BACKOFF,
        };
        guide.meet(Vec::new());
        guide
    }

    /// A producer's number is wanted.
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

    /// `host:port` of a broker.
    pub fn address_of(&self, node: i32) -> Option<&str> {
        self.brokers.iter().find(|broker| broker.node == node).map(|broker| broker.address.as_str())
    }

    /// A new connection to `host:port`.
    pub fn link(&self, address: &str) -> Link {
        Link::new(address, &self.settings.client_id, self.settings.times, self.needed)
    }

    fn question(&self) -> Option<Question> {
        let next = if self.wants_id { Some(Question::Id) } else { self.wants_map.then_some(Question::Map) };
        self.asked.or(next)
    }

    /// Does what can be done without waiting. `topics`: of which a map is to tell.
    ///
    /// # Errors
    /// The broker whose turn it was is no help.
    pub fn step<'a>(
        &mut self,
        now: Instant,
        topics: impl ExactSizeIterator<Item = &'a str> + Clone,
    ) -> Result<Option<Answer>, (String, Trouble)> {
        let Some(question) = self.question() else { return Ok(None) };
        if self.asked.is_none() && now < self.not_before {
            return Ok(None);
        }
        self.asked = Some(question);
        let turn = self.turn % self.links.len().max(1);
        let told = match self.exchange(turn, question, now, topics) {
            Ok(None) => return Ok(None),
            Ok(Some(link)) => self.read(question, link.answer(), now).map_err(Trouble::Broken),
            Err(trouble) => Err(trouble),
        };
        told.map_err(|trouble| {
            let address = self.links[turn].address().to_string();
            self.rest(now);
            (address, trouble)
        })
    }

    /// The connection with the answer, once that is here.
    fn exchange<'a>(
        &mut self,
        turn: usize,
        question: Question,
        now: Instant,
        topics: impl ExactSizeIterator<Item = &'a str> + Clone,
    ) -> Result<Option<Link>, Trouble> {
        let Some(link) = self.links.get_mut(turn) else { return Ok(None) };
        loop {
            if link.is_free() {
                self.correlation = self.correlation.wrapping_add(1);
                let (client_id, number) = (&self.settings.client_id, self.correlation);
                let request = match question {
                    Question::Id => message::ask_id(client_id, number),
                    Question::Map => message::ask_metadata(client_id, number, topics.clone(), self.makes_topics),
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
        // The next question may be far off, and brokers close what is idle.
        let fresh = self.link(self.links[turn].address());
        Ok(Some(std::mem::replace(&mut self.links[turn], fresh)))
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
                Err(error) if message::passes(error) => {
                    log::debug!("no producer id yet: {}", message::error_text(error));
                    self.rest(now);
                    Ok(None)
                }
                Err(error) => Err(message::error_text(error)),
            };
        }
        let (brokers, topics) = message::read_metadata(answer).map_err(|e| e.to_string())?;
        self.wants_map = false;
        self.rest(now);
        if !brokers.is_empty() && brokers != self.brokers {
            self.meet(brokers);
        }
        Ok(Some(Answer::Map(topics)))
    }

    /// The next question goes to the next broker, after a while.
    fn rest(&mut self, now: Instant) {
        self.asked = None;
        self.turn = self.turn.wrapping_add(1);
        self.not_before = now + self.backoff;
        self.backoff = (self.backoff * 2).min(self.settings.times.backoff_max);
    }

    fn meet(&mut self, brokers: Vec<Broker>) {
        let mut old = std::mem::take(&mut self.links);
        let addresses = brokers.iter().map(|broker| &broker.address).chain(&self.settings.bootstrap);
        self.links = addresses
            .map(|address| match old.iter().position(|link| link.address() == address) {
                Some(at) => old.swap_remove(at),
                None => self.link(address),
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
