//! What stands between the program and its broker: passes bytes on, late, not at all, or breaks the connections off.
//!
//! A thread for each connection, which alone holds both of its ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use super::Kafka;

/// Longest wait for the bytes of one side before the other is looked at.
const TURN: Duration = Duration::from_millis(2);
const CHUNK_BYTES: usize = 64 << 10;

/// What happens to the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Open,
    /// Every chunk comes so much later.
    Late(Duration),
    /// Those that are there break off with RST in the middle of a chunk, if they carry any; so do all that come.
    Cut,
    /// Whatever is sent is taken, and nothing comes out any more: for those that are there for good, and for all that
    /// come while it is so.
    HalfOpen,
    /// Nobody needs it any more.
    Over,
}

/// One broker behind a port of its own. Its threads end with it.
pub struct Proxy {
    kafka: Kafka,
    front: SocketAddr,
    line: Arc<Mutex<Line>>,
}

impl Proxy {
    /// Starts a broker, and passes on what comes for it.
    pub fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let front = listener.local_addr().expect("an address");
        let kafka = Kafka::start_behind(front.port());
        let back = SocketAddr::from(([127, 0, 0, 1], kafka.front()));
        let line = Arc::new(Mutex::new(Line::Open));
        let shared = line.clone();
        let accept = move || {
            while let Ok((client, _)) = listener.accept() {
                let line = shared.clone();
                if now(&line) == Line::Over {
                    return;
                }
                // A broker that is down refuses, and so do we.
                let Ok(broker) = TcpStream::connect(back) else { continue };
                let pass = move || pass(&client, &broker, &line);
                Builder::new().name("proxied".into()).spawn(pass).expect("a thread");
            }
        };
        Builder::new().name("proxy".into()).spawn(accept).expect("a thread");
        Proxy { kafka, front, line }
    }

    /// The broker, for those that reach it directly.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// `bootstrap.servers` of those that have this between themselves and the broker.
    pub fn bootstrap(&self) -> String {
        self.front.to_string()
    }

    /// From now on.
    pub fn set(&self, line: Line) {
        *self.line.lock().expect("the line") = line;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Line::Over);
        // Wakes the listening thread.
        let _ = TcpStream::connect(self.front);
    }
}

fn now(line: &Mutex<Line>) -> Line {
    *line.lock().expect("the line")
}

/// Carries bytes both ways until one side ends.
fn pass(client: &TcpStream, broker: &TcpStream, line: &Mutex<Line>) {
    for end in [client, broker] {
        end.set_read_timeout(Some(TURN)).and_then(|()| end.set_nodelay(true)).expect("a socket");
    }
    let mut is_dead = false;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        for (mut from, mut to) in [(client, broker), (broker, client)] {
            let bytes = match from.read(&mut chunk) {
                Ok(0) => return,
                Ok(bytes) => bytes,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
                Err(_) => return,
            };
            match now(line) {
                Line::Over => return,
                Line::HalfOpen => is_dead = true,
                Line::Cut => {
                    let _ = to.write_all(&chunk[..bytes / 2]);
                    return reset(client);
                }
                Line::Late(by) if bytes > 0 => std::thread::sleep(by),
                Line::Late(_) | Line::Open => {}
            }
            if !is_dead && to.write_all(&chunk[..bytes]).is_err() {
                return;
            }
        }
    }
}

/// What is closed from now on is broken off: RST, not FIN.
fn reset(end: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of_val(&linger) as libc::socklen_t;
    let value: *const libc::linger = &raw const linger;
    // SAFETY: an open descriptor, and a pointer to that many bytes which the call only reads.
    let done = unsafe { libc::setsockopt(end.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value.cast(), size) };
    assert_eq!(done, 0, "SO_LINGER: {}", std::io::Error::last_os_error());
}
