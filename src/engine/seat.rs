//! A task's place in the program, from the moment it is wanted until its last thread has ended. Seats have numbers that
//! are never given twice: what a task that has left still says is not taken for its successor's.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::remote::Answer;
use super::seek::Place;
use super::task::Task;
use crate::conf::config::Deliver;
use crate::transform::Program;

/// A seat's number.
pub type Id = u64;

/// All seats, in the order in which they were wanted.
#[derive(Default)]
pub struct Seats {
    seats: BTreeMap<Id, Seat>,
    next: Id,
}

/// One task, wanted or leaving.
pub struct Seat {
    pub deliver: Deliver,
    pub program: Arc<Program>,
    /// It reads nothing, by order.
    pub paused: bool,
    pub seek: Option<Seek>,
    /// Once it runs, parked records are tried again: a reload has changed it.
    pub retry: bool,
    pub state: State,
}

/// An operator's seek on its way, with who waits for the answer.
pub enum Seek {
    /// The scout of the running task looks for the place.
    Asked(Sender<Answer>),
    /// The task is to begin at this place.
    Found(Place, Sender<Answer>),
}

/// Where a seat stands. It leaves through `Doomed`, or `Leaving` and `Ending`.
pub enum State {
    /// A seat that still leaves holds files or state that this one needs.
    Waiting,
    /// Beside the engine its files are brought to rest, which may have to wait for its disk, and its threads are built.
    Building,
    /// It is being built, and will not be started.
    Doomed,
    Running(Box<Task>),
    /// It drains, to its last checkpoint.
    Leaving(Box<Task>),
    /// Its threads are joined, beside the engine.
    Ending,
}

impl Seats {
    pub fn add(&mut self, deliver: Deliver, program: Arc<Program>) {
        self.put(Seat { deliver, program, paused: false, seek: None, retry: false, state: State::Waiting });
    }

    /// Sends a seat away; another takes its place once it has gone.
    pub fn replace(&mut self, id: Id, deliver: Deliver, program: Arc<Program>, seek: Option<Seek>) {
        let Some(old) = self.seats.get_mut(&id) else { return };
        // A seek that the old one did not come to.
        let left = if matches!(old.state, State::Waiting) { old.seek.take() } else { None };
        let (paused, retry, seek) = (old.paused, old.retry, seek.or(left));
        let next = Seat { deliver, program, paused, seek, retry, state: State::Waiting };
        self.leave(id);
        self.put(next);
    }

    fn put(&mut self, seat: Seat) {
        self.next += 1;
        self.seats.insert(self.next, seat);
    }

    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut Seat> {
        self.seats.get_mut(&id)
    }

    pub fn remove(&mut self, id: Id) {
        self.seats.remove(&id);
    }

    pub fn ids(&self) -> Vec<Id> {
        self.seats.keys().copied().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values()
    }

    pub fn task_mut(&mut self, id: Id) -> Option<&mut Task> {
        self.seats.get_mut(&id).and_then(Seat::task_mut)
    }

    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.seats.values().filter_map(Seat::task)
    }

    pub fn tasks_mut(&mut self) -> impl Iterator<Item = &mut Task> {
        self.seats.values_mut().filter_map(Seat::task_mut)
    }

    /// Seats of tasks that are to run.
    pub fn wanted(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.seats.values_mut().filter(|seat| !seat.is_going())
    }

    /// The wanted seat of this name.
    pub fn named(&mut self, name: &str) -> Option<(Id, &mut Seat)> {
        let mut wanted = self.seats.iter_mut().filter(|(_, seat)| !seat.is_going());
        wanted.find(|(_, seat)| seat.deliver.name == name).map(|(id, seat)| (*id, seat))
    }

    /// Sends a seat away: at once, or once it has drained.
    pub fn leave(&mut self, id: Id) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        match std::mem::replace(&mut seat.state, State::Doomed) {
            State::Waiting => drop(self.seats.remove(&id)),
            State::Running(mut task) => {
                task.stop();
                seat.state = State::Leaving(task);
            }
            State::Building => {}
            going => seat.state = going,
        }
    }

    /// Seats that wait for nobody any more; they count as building from here on.
    pub fn take_free(&mut self) -> Vec<Id> {
        let is_free = |seat: &Seat| {
            matches!(seat.state, State::Waiting)
                && !self.seats.values().any(|other| other.is_going() && shares(&other.deliver, &seat.deliver))
        };
        let free: Vec<Id> = self.seats.iter().filter(|(_, seat)| is_free(seat)).map(|(id, _)| *id).collect();
        for id in &free {
            if let Some(seat) = self.seats.get_mut(id) {
                seat.state = State::Building;
            }
        }
        free
    }

    /// Tasks that have drained, with their seats' numbers.
    pub fn take_drained(&mut self) -> Vec<(Id, Box<Task>)> {
        let mut drained = Vec::new();
        for (id, seat) in &mut self.seats {
            match std::mem::replace(&mut seat.state, State::Ending) {
                State::Leaving(task) if task.is_done() => drained.push((*id, task)),
                other => seat.state = other,
            }
        }
        drained
    }
}

impl Seat {
    fn task(&self) -> Option<&Task> {
        if let State::Running(task) | State::Leaving(task) = &self.state { Some(task) } else { None }
    }

    pub fn task_mut(&mut self) -> Option<&mut Task> {
        if let State::Running(task) | State::Leaving(task) = &mut self.state { Some(task) } else { None }
    }

    pub fn is_starting(&self) -> bool {
        matches!(self.state, State::Waiting | State::Building)
    }

    pub fn is_at_end(&self) -> bool {
        self.task().is_some_and(Task::is_at_end)
    }

    fn is_going(&self) -> bool {
        matches!(self.state, State::Doomed | State::Leaving(_) | State::Ending)
    }
}

/// Two tasks of which one can only begin when the other has gone: they have files or state in common, or threads and
/// messages of one name.
fn shares(a: &Deliver, b: &Deliver) -> bool {
    let topics = || a.topics.iter().any(|topic| b.topics.contains(topic));
    a.name == b.name || a.dir == b.dir || a.group_id == b.group_id && topics()
}
