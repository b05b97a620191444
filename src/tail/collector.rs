//! A station under supervision: the rest of the program speaks to a task's files through this. In: a list, orders. Out:
//! how it is.
//!
//! A station that fails, or does not go round for `hang_timeout`, is replaced after a pause; what was ordered holds for
//! its successor too, and other tasks do not notice. A thread that hangs in the kernel cannot be killed. Its lease is
//! taken away before the successor begins: it may wake later, but then neither sends nor moves a place, and ends.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::fleet::Wishes;
use super::lease::Lease;
use super::orders::parse;
use super::station::{Outcome, Station, TailError};
use super::{Door, Entry, FileStatus, Order, OrderError, Settings, Totals};
use crate::flow::backoff::Backoff;
use crate::ledger::store::Store;
use crate::sys::thread;

/// Longest wait for a station's answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How often it is looked at whether the station goes round.
const LOOK: Duration = Duration::from_millis(250);
/// What a station may take beyond its time to stop, to keep its places.
const CLOSE: Duration = Duration::from_secs(5);
/// Threads that hang at the same time; each holds its buffer until it wakes.
const HUNG_MAX: usize = 3;

/// Where a station stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It is being built.
    #[default]
    Starting,
    Running,
    /// It has failed and is started again after a pause.
    Waiting,
    /// It does not go round, and cannot be replaced now.
    Hung,
    /// Another instance has taken its transactional id over. It does not start again by itself.
    Fenced,
    /// It was told to, or has sent everything.
    Ended,
}

/// How a task's station is.
#[derive(Debug, Clone)]
pub struct Status {
    pub state: State,
    /// Why it was replaced last, or is not running now.
    pub cause: Option<String>,
    /// Since the start of this process.
    pub restarts: u64,
    /// Since its thread last went round.
    pub beat_age: Duration,
    /// Of all stations of this task since the start of this process.
    pub totals: Arc<Totals>,
}

/// One task's station, and its successors.
pub struct Collector {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    store: Option<Arc<Store>>,
    totals: Arc<Totals>,
    post: Mutex<Post>,
    ended: Condvar,
}

/// What is known of the station, and what it was told.
struct Post {
    entries: Vec<Entry>,
    paused: HashSet<PathBuf>,
    /// Places that a station was told and has perhaps not gone to.
    seeks: HashMap<PathBuf, (u64, Receiver<Result<(), OrderError>>)>,
    lease: Arc<Lease>,
    door: Option<Door>,
    state: State,
    cause: Option<String>,
    restarts: u64,
    /// How long the station may take to stop, and when it has to be over.
    stop: Option<(Duration, Instant)>,
    outcome: Option<Outcome>,
}

impl Post {
    /// What a successor has to do too. A seek that was not answered is asked for again.
    fn wishes(&mut self) -> Wishes {
        self.seeks.retain(|_, (_, answer)| answer.is_empty());
        let again = |(path, (at, answer)): (&PathBuf, &mut (u64, _))| {
            let (sender, receiver) = bounded(1);
            *answer = receiver;
            (path.clone(), (*at, sender))
        };
        Wishes { paused: self.paused.clone(), seeks: self.seeks.iter_mut().map(again).collect() }
    }
}

/// How a station's thread ended.
type End = Result<Result<Outcome, TailError>, String>;

/// A station at work.
struct Watched {
    lease: Arc<Lease>,
    end: Receiver<End>,
    thread: JoinHandle<()>,
}

impl Collector {
    /// Places are kept in `store`; without it, and without transactions, each station begins anew.
    ///
    /// # Errors
    /// What stands in the way of the first station. Later ones are tried again.
    pub fn start(settings: Settings, store: Option<Arc<Store>>) -> Result<Collector, TailError> {
        let (totals, lease) = (Arc::<Totals>::default(), Arc::new(Lease::new()));
        let (station, door) = Station::new(settings.clone(), store.clone(), &totals, &lease)?;
        let post = Post {
            entries: settings.entries.clone(),
            paused: HashSet::new(),
            seeks: HashMap::new(),
            lease: lease.clone(),
            door: Some(door),
            state: State::Running,
            cause: None,
            restarts: 0,
            stop: None,
            outcome: None,
        };
        let shared = Arc::new(Shared { settings, store, totals, post: Mutex::new(post), ended: Condvar::new() });
        let first = shared.spawn(&lease, move |_| Ok(station)).map_err(TailError::Thread)?;
        let guard = Guard { shared: shared.clone(), backoff: Backoff::default(), hung: Vec::new() };
        thread::spawn("tail-guard", None, move || guard.run(first)).map_err(TailError::Thread)?;
        Ok(Collector { shared })
    }

    /// Follows these from now on; files that both lists mean go on without a pause.
    ///
    /// # Errors
    /// All that is wrong with the list; then the old one stays.
    pub fn entries(&self, entries: Vec<Entry>) -> Result<(), Vec<String>> {
        parse(&entries)?;
        self.shared.post().entries.clone_from(&entries);
        match self.ask(|answer| Order::Entries(entries, answer)) {
            Ok(result) => result,
            Err(e) => {
                log::warn!(
                    "{}: the new list holds as soon as files are followed again: {e}",
                    self.shared.settings.task
                );
                Ok(())
            }
        }
    }

    /// What is followed, and what is not and why.
    ///
    /// # Errors
    /// [`OrderError::NoAnswer`].
    pub fn files(&self) -> Result<Vec<FileStatus>, OrderError> {
        self.ask(Order::Files)
    }

    /// Stops reading what has this name, whichever file that is, until it is taken back with `false`.
    ///
    /// # Errors
    /// [`OrderError::NoAnswer`]: it holds as soon as the station goes on. [`OrderError::NotFollowed`]: it holds for a
    /// file that comes.
    pub fn pause(&self, path: &Path, is_paused: bool) -> Result<(), OrderError> {
        let mut post = self.shared.post();
        if is_paused {
            post.paused.insert(path.into())
        } else {
            post.paused.remove(path)
        };
        drop(post);
        self.ask(|answer| Order::Pause(path.into(), is_paused, answer))?
    }

    /// Reads this file from this byte on.
    ///
    /// # Errors
    /// [`OrderError::NoAnswer`]: it is done when the station goes on. All else: nothing is done.
    pub fn seek(&self, path: &Path, at: u64) -> Result<(), OrderError> {
        let (sender, answer) = bounded(1);
        let door = {
            let mut post = self.shared.post();
            post.seeks.insert(path.into(), (at, answer.clone()));
            post.door.clone()
        };
        let is_told = door.is_some_and(|door| door.send(Order::Seek(path.into(), at, sender)));
        let result = if is_told { answer.recv_timeout(ANSWER).ok() } else { None };
        let Some(result) = result else { return Err(self.no_answer()) };
        self.shared.post().seeks.remove(path);
        result
    }

    pub fn status(&self) -> Status {
        let post = self.shared.post();
        Status {
            state: post.state,
            cause: post.cause.clone(),
            restarts: post.restarts,
            beat_age: post.lease.age(),
            totals: self.shared.totals.clone(),
        }
    }

    /// Reads no more, waits at most so long for what is in flight, keeps the places.
    pub fn stop(&self, most: Duration) -> Outcome {
        self.tell_to_stop(most);
        let over = || Outcome { broken: Some("its end was not heard of".into()), ..Outcome::default() };
        self.wait(most + 2 * CLOSE).unwrap_or_else(over)
    }

    /// How it ended; `None` where it has not within this time.
    pub fn wait(&self, most: Duration) -> Option<Outcome> {
        let post = self.shared.ended.wait_timeout_while(self.shared.post(), most, |post| post.outcome.is_none());
        post.unwrap_or_else(PoisonError::into_inner).0.outcome.clone()
    }

    fn tell_to_stop(&self, most: Duration) {
        let mut post = self.shared.post();
        post.stop.get_or_insert((most, Instant::now() + most + CLOSE));
        if let Some(door) = &post.door {
            door.send(Order::Stop(most));
        }
    }

    fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Result<T, OrderError> {
        let (sender, answer) = bounded(1);
        let door = self.shared.post().door.clone();
        let is_told = door.is_some_and(|door| door.send(order(sender)));
        let heard = if is_told { answer.recv_timeout(ANSWER).ok() } else { None };
        heard.ok_or_else(|| self.no_answer())
    }

    fn no_answer(&self) -> OrderError {
        let post = self.shared.post();
        OrderError::NoAnswer { state: post.state, cause: post.cause.clone() }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.tell_to_stop(Duration::ZERO);
    }
}

impl Shared {
    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread of a station; a panic in it ends it alone.
    fn spawn(
        self: &Arc<Shared>,
        lease: &Arc<Lease>,
        build: impl FnOnce(&Arc<Lease>) -> Result<Station, TailError> + Send + 'static,
    ) -> std::io::Result<Watched> {
        let (sender, end) = bounded(1);
        let (own, name) = (lease.clone(), format!("tail-{}", self.settings.task));
        let body = move || {
            let end = thread::contained(|| build(&own).map(Station::run));
            // Nobody hears a thread that was replaced.
            let _ = sender.send(end);
        };
        let thread = thread::spawn(&name, None, body)?;
        Ok(Watched { lease: lease.clone(), end, thread })
    }

    /// A successor: it is built on its own thread, where that may hang too.
    fn succeed(self: &Arc<Shared>) -> std::io::Result<Watched> {
        let lease = Arc::new(Lease::new());
        {
            let mut post = self.post();
            (post.state, post.door, post.lease) = (State::Starting, None, lease.clone());
            post.restarts += 1;
        }
        let shared = self.clone();
        self.spawn(&lease, move |lease| shared.build(lease))
    }

    fn build(&self, lease: &Arc<Lease>) -> Result<Station, TailError> {
        let mut entries = self.post().entries.clone();
        let settings = Settings { entries: entries.clone(), ..self.settings.clone() };
        let (mut station, door) = Station::new(settings, self.store.clone(), &self.totals, lease)?;
        let mut post = self.post();
        // Not under the lock: it looks at directories, which may hang.
        while post.entries != entries {
            entries.clone_from(&post.entries);
            drop(post);
            station.change_entries(&entries).map_err(TailError::Entries)?;
            post = self.post();
        }
        // What was ordered up to this moment; all later orders go through the door.
        station.obey(post.wishes());
        if let Some((most, _)) = post.stop {
            door.send(Order::Stop(most));
        }
        (post.door, post.state) = (Some(door), State::Running);
        Ok(station)
    }

    fn end(&self, state: State, outcome: Outcome) {
        let mut post = self.post();
        (post.state, post.door) = (state, None);
        post.cause = outcome.broken.clone().or(post.cause.take());
        post.outcome = Some(outcome);
        self.ended.notify_all();
    }
}

/// The thread that looks after a station.
struct Guard {
    shared: Arc<Shared>,
    backoff: Backoff,
    /// Threads that were replaced and have not woken.
    hung: Vec<JoinHandle<()>>,
}

impl Guard {
    fn run(mut self, first: Watched) {
        let mut watched = Ok(first);
        loop {
            let cause = match watched {
                Ok(station) => match self.watch(station) {
                    Ok((state, outcome)) => return self.shared.end(state, outcome),
                    Err(cause) => cause,
                },
                Err(e) => format!("no thread: {e}"),
            };
            let now = Instant::now();
            let again = self.backoff.next(now);
            let task = &self.shared.settings.task;
            log::error!(
                "{task}: following files failed; it goes on in {:?} from the places kept: {cause}",
                again - now
            );
            {
                let mut post = self.shared.post();
                (post.state, post.door, post.cause) = (State::Waiting, None, Some(cause.clone()));
            }
            while Instant::now() < again {
                if self.shared.post().stop.is_some() {
                    return self.shared.end(State::Ended, Outcome { broken: Some(cause), ..Outcome::default() });
                }
                std::thread::sleep(LOOK.min(again.saturating_duration_since(Instant::now())));
            }
            watched = self.shared.succeed();
        }
    }

    /// Until the station ends for good, or why it has to be replaced.
    fn watch(&mut self, station: Watched) -> Result<(State, Outcome), String> {
        loop {
            let why = match station.end.recv_timeout(LOOK) {
                Ok(Ok(Ok(outcome))) if outcome.is_fenced => return Ok((State::Fenced, outcome)),
                Ok(Ok(Ok(outcome))) if outcome.broken.is_none() => return Ok((State::Ended, outcome)),
                Ok(Ok(Ok(outcome))) => outcome.broken.unwrap_or_default(),
                Ok(Ok(Err(e))) => e.to_string(),
                Ok(Err(panic)) => format!("panic: {panic}"),
                Err(RecvTimeoutError::Disconnected) => "its thread is gone".into(),
                Err(RecvTimeoutError::Timeout) => match self.look(&station) {
                    Look::Well => continue,
                    Look::Late(outcome) => return Ok((State::Ended, outcome)),
                    Look::Hangs(why) => {
                        self.hung.push(station.thread);
                        return Err(why);
                    }
                },
            };
            // Its drop has let go of everything: nobody holds it back.
            let _ = station.lease.revoke();
            return Err(why);
        }
    }

    fn look(&mut self, station: &Watched) -> Look {
        let age = station.lease.age();
        let is_late = age >= self.shared.settings.hang_timeout;
        let mut post = self.shared.post();
        if let Some((_, by)) = post.stop {
            if Instant::now() < by {
                return Look::Well;
            }
            let _ = station.lease.revoke();
            let why = format!("told to stop it did not end in time; its last round began {age:?} before");
            return Look::Late(Outcome { broken: Some(why), ..Outcome::default() });
        }
        if !is_late {
            if post.state == State::Hung {
                post.state = State::Running;
            }
            return Look::Well;
        }
        self.hung.retain(|thread| !thread.is_finished());
        let hangs = format!("it did not go round for {} s", age.as_secs());
        let free = if self.hung.len() < HUNG_MAX { station.lease.revoke() } else { Err("too many hang already") };
        match free {
            Ok(()) => Look::Hangs(hangs),
            Err(reason) => {
                (post.state, post.cause) = (State::Hung, Some(format!("{hangs}, and is not replaced: {reason}")));
                Look::Well
            }
        }
    }
}

/// What a look at a running station tells.
enum Look {
    /// Nothing to do.
    Well,
    /// It did not stop in time.
    Late(Outcome),
    Hangs(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Hung => "hung",
            State::Fenced => "fenced",
            State::Ended => "ended",
        })
    }
}
