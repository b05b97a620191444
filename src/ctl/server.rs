//! The open door: one thread holds the socket and all connections and never waits for any of them; some others, the
//! desks, give the answers that take time.
//!
//! Requests come in; each goes to the closure that whoever opened the door has given; replies go out.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::protocol::{Asked, Form, Reply, Request};
use crate::sys::{socket, thread};
use connection::{Connection, Next};

mod connection;

/// Connections at one time; one more takes the place of the one that has been silent for the longest time.
pub const CONNECTIONS_MAX: usize = 256;
/// Time for a whole request, and for taking the reply.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Connections taken in one turn: those that are there already have their turn in between.
const TAKEN_MAX: usize = 32;
/// Answers that are worked on at one time.
const DESKS: usize = 4;
/// Requests that may wait for a desk.
const DESK_MAX: usize = 16;
/// Longest wait of a turn.
const TURN: Duration = Duration::from_secs(1);
/// Pause in taking connections when the kernel has no descriptors left.
const TAKE_AGAIN: Duration = Duration::from_millis(100);
/// How long the end waits for an answer that is under way.
const LAST_ANSWER_MAX: Duration = Duration::from_millis(300);
/// How long somebody may take to say that he listens where we want to.
const KNOCK: Duration = Duration::from_secs(1);

/// How the door is made.
#[derive(Debug, Clone)]
pub struct Settings {
    pub socket: PathBuf,
    /// The users who may ask.
    pub users: Vec<u32>,
}

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error("cannot listen at {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("process {pid} listens at {} already; stop it, or set another socket", path.display())]
    InUse { path: PathBuf, pid: i32 },
    #[error("{} is no socket; remove it, or set another socket", path.display())]
    NoSocket { path: PathBuf },
}

/// Gives the answers. It is called by the thread that holds the connections for what is quick, else by a desk.
pub type Answers = Arc<dyn Fn(Request) -> Reply + Send + Sync>;

/// The door while it is open; dropping it closes it and removes the socket.
pub struct Door {
    path: PathBuf,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// A request that takes time.
type Job = (u64, Asked);

/// To the thread that holds the connections.
enum Told {
    /// The reply to the request of this connection.
    Reply(u64, Vec<u8>),
    Close,
}

#[derive(Clone)]
struct Waker {
    told: Sender<Told>,
    bell: Arc<UnixStream>,
}

impl Waker {
    fn tell(&self, told: Told) {
        // A door that is gone needs no words; a bell that is full rings already.
        if self.told.send(told).is_ok() {
            let _ = io::Write::write(&mut &*self.bell, &[1]);
        }
    }
}

impl Door {
    /// Listens, and answers from now on. A socket that nobody listens at is replaced.
    ///
    /// # Errors
    /// Somebody listens there, something else stands there, or the kernel refuses.
    pub fn open(settings: Settings, answers: Answers) -> Result<Door, DoorError> {
        let path = settings.socket.clone();
        let at = |source| DoorError::Io { path: path.clone(), source };
        let listener = take_place(&settings)?;
        let (told, telling) = bounded(DESK_MAX + DESKS + 1);
        let (bell, ring) = UnixStream::pair().map_err(at)?;
        bell.set_nonblocking(true).and_then(|()| ring.set_nonblocking(true)).map_err(at)?;
        let waker = Waker { told, bell: Arc::new(bell) };
        let (jobs, waiting) = bounded::<Job>(DESK_MAX);
        // They end with the hall, which hands them requests.
        for number in 0..DESKS {
            let (waiting, answers, waker) = (waiting.clone(), answers.clone(), waker.clone());
            let work = move || {
                for (id, Asked { request, form }) in &waiting {
                    waker.tell(Told::Reply(id, form.write(&answers(request))));
                }
            };
            thread::spawn(&format!("desk{number}"), None, work).map_err(at)?;
        }
        let hall = Hall {
            listener,
            users: settings.users,
            answers,
            desk: jobs,
            telling,
            ring,
            connections: BTreeMap::new(),
            last_id: 0,
            take_from: Instant::now(),
            refused: None,
            wait: socket::Wait::default(),
        };
        let thread = thread::spawn("door", None, move || hall.run()).map_err(at)?;
        Ok(Door { path, waker, thread: Some(thread) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.waker.tell(Told::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A place of our own to listen at.
fn take_place(settings: &Settings) -> Result<UnixListener, DoorError> {
    let path = &settings.socket;
    let at = |source| DoorError::Io { path: path.clone(), source };
    let listener = match socket::listen(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            socket::listen(path).map_err(at)?
        }
        other => other.map_err(at)?,
    };
    // Others than the owner and root could not even connect.
    if settings.users.iter().any(|uid| ![0, socket::own_uid()].contains(uid)) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).map_err(at)?;
    }
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), DoorError> {
    let at = |source| DoorError::Io { path: path.to_path_buf(), source };
    if !std::fs::symlink_metadata(path).map_err(at)?.file_type().is_socket() {
        return Err(DoorError::NoSocket { path: path.to_path_buf() });
    }
    match socket::connect(path, KNOCK) {
        Ok(live) => {
            let pid = socket::peer(&live).map_or(0, |peer| peer.pid);
            Err(DoorError::InUse { path: path.to_path_buf(), pid })
        }
        // It listens, and its queue is full.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(at(io::ErrorKind::AddrInUse.into())),
        Err(_) => std::fs::remove_file(path).map_err(at),
    }
}

/// Where all connections stand.
struct Hall {
    listener: UnixListener,
    users: Vec<u32>,
    answers: Answers,
    desk: Sender<Job>,
    telling: Receiver<Told>,
    ring: UnixStream,
    connections: BTreeMap<u64, Connection>,
    last_id: u64,
    /// No connection is taken before.
    take_from: Instant,
    /// When a stranger was last named in the log.
    refused: Option<Instant>,
    wait: socket::Wait,
}

impl Hall {
    /// wait -> take connections -> read and answer -> write what is there -> part from the silent.
    fn run(mut self) {
        loop {
            let (ready, may_take) = self.wait_for_any();
            if self.hear() {
                break;
            }
            if may_take {
                self.take();
            }
            for (id, is_gone) in ready {
                if is_gone && self.connections.get(&id).is_some_and(Connection::is_waiting) {
                    self.connections.remove(&id);
                }
                self.serve(id);
            }
            let now = Instant::now();
            self.connections.retain(|_, connection| !connection.is_silent(now));
        }
        // Answers that are under way, the one to a stop among them, still go out.
        let deadline = Instant::now() + LAST_ANSWER_MAX;
        while self.connections.values().any(Connection::is_waiting) {
            let Ok(Told::Reply(id, bytes)) = self.telling.recv_deadline(deadline) else { break };
            self.reply(id, bytes);
        }
        let all: Vec<u64> = self.connections.keys().copied().collect();
        all.into_iter().for_each(|id| self.serve(id));
    }

    /// The connections that something has happened to, each with whether its other end is gone; and whether somebody
    /// knocks.
    fn wait_for_any(&mut self) -> (Vec<(u64, bool)>, bool) {
        let now = Instant::now();
        self.wait.clear();
        let ring_at = self.wait.add(&self.ring, true, false);
        let listener_at = self.wait.add(&self.listener, now >= self.take_from, false);
        let places: Vec<(u64, usize)> = self
            .connections
            .iter()
            .map(|(id, c)| (*id, self.wait.add(c.stream(), c.wants_to_read(), c.wants_to_write())))
            .collect();
        let next = self.connections.values().filter_map(Connection::deadline).min();
        let time = next.map_or(TURN, |at| at.saturating_duration_since(now).min(TURN));
        let time = if now < self.take_from { time.min(TAKE_AGAIN) } else { time };
        let is_hungry = |id: &u64| self.connections.get(id).is_some_and(Connection::is_hungry);
        let hungry = places.iter().any(|(id, _)| is_hungry(id));
        // Rounded up, so that a deadline is past when it is looked at.
        if let Err(e) = self.wait.wait(if hungry { Duration::ZERO } else { time + Duration::from_millis(1) }) {
            log::error!("cannot wait for the control socket: {e}");
            std::thread::sleep(TAKE_AGAIN);
            return (Vec::new(), false);
        }
        if self.wait.is_ready(ring_at) {
            let mut rung = [0; 64];
            while matches!(io::Read::read(&mut &self.ring, &mut rung), Ok(n) if n == rung.len()) {}
        }
        let happened = |(id, at): &&(u64, usize)| self.wait.is_ready(*at) || self.wait.is_gone(*at) || is_hungry(id);
        let ready = places.iter().filter(happened).map(|(id, at)| (*id, self.wait.is_gone(*at))).collect();
        (ready, self.wait.is_ready(listener_at))
    }

    /// True once the door is to be closed.
    fn hear(&mut self) -> bool {
        while let Ok(told) = self.telling.try_recv() {
            match told {
                Told::Close => return true,
                Told::Reply(id, bytes) => self.reply(id, bytes),
            }
        }
        false
    }

    fn take(&mut self) {
        for _ in 0..TAKEN_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    log::warn!("cannot take a connection at the control socket: {e}");
                    self.take_from = Instant::now() + TAKE_AGAIN;
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        let Ok(peer) = socket::peer(&stream) else { return };
        let Ok(mut connection) = Connection::new(stream) else { return };
        if !self.users.contains(&peer.uid) {
            if self.refused.is_none_or(|at| at.elapsed() > SILENCE_MAX) {
                self.refused = Some(Instant::now());
                log::warn!("process {} of user {} may not use the control socket", peer.pid, peer.uid);
            }
            let what = format!("user {} may not use this socket: see control_users", peer.uid);
            connection.say_and_close(&Form::Json.write(&Reply::Error(what)));
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            let waits_longest =
                self.connections.iter().min_by_key(|(_, c)| c.deadline().map_or((1, None), |at| (0, Some(at))));
            if let Some(id) = waits_longest.map(|(id, _)| *id) {
                self.connections.remove(&id);
            }
        }
        self.last_id += 1;
        self.connections.insert(self.last_id, connection);
        self.serve(self.last_id);
    }

    /// As far as it goes without waiting, or to the end of one reply.
    fn serve(&mut self, id: u64) {
        while let Some(connection) = self.connections.get_mut(&id) {
            match connection.go_on() {
                Next::Wait => return,
                Next::Gone => _ = self.connections.remove(&id),
                Next::Asked(bytes) => {
                    let parsed = Asked::parse(&bytes);
                    let form = parsed.as_ref().map_or_else(|(form, _)| *form, |asked| asked.form);
                    if form != Form::Json {
                        connection.close_after_reply();
                    }
                    match parsed {
                        Err((form, what)) => self.reply(id, form.write(&Reply::Error(what))),
                        Ok(asked) => self.asked(id, asked),
                    }
                }
            }
        }
    }

    fn asked(&mut self, id: u64, asked: Asked) {
        if asked.request.is_quick() {
            let reply = asked.form.write(&(self.answers)(asked.request));
            self.reply(id, reply);
        } else if let Err(refused) = self.desk.try_send((id, asked)) {
            let (_, Asked { form, .. }) = refused.into_inner();
            self.reply(id, form.write(&Reply::Error("too many requests are under way; try again".into())));
        }
    }

    fn reply(&mut self, id: u64, bytes: Vec<u8>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.say(bytes);
        }
    }
}
