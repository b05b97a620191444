//! A host's addresses, asked for on a thread of its own: a name server may take its time, and nobody waits for it here.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use crossbeam_channel::{Receiver, bounded};

use super::thread;

/// A question that is on its way. Its descriptor becomes readable with the answer.
pub struct Lookup {
    answer: Receiver<io::Result<Vec<SocketAddr>>>,
    end: UnixStream,
}

impl Lookup {
    /// Of `host:port`.
    ///
    /// # Errors
    /// The kernel has no room for another thread or socket.
    pub fn of(address: &str) -> io::Result<Lookup> {
        let address = address.to_owned();
        Lookup::start(move || Ok(address.to_socket_addrs()?.collect()))
    }

    fn start(ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static) -> io::Result<Lookup> {
        let (end, other) = UnixStream::pair()?;
        let (tell, answer) = bounded(1);
        thread::spawn("lookup", None, move || {
            // Nobody may listen any more.
            let _ = tell.send(ask());
            drop(other);
        })?;
        Ok(Lookup { answer, end })
    }

    /// Once, when it is here.
    pub fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        self.answer.try_recv().ok()
    }
}

impl AsRawFd for Lookup {
    fn as_raw_fd(&self) -> RawFd {
        self.end.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::socket::Wait;
    use super::*;

    #[test]
    fn nobody_waits_for_a_name_server_that_takes_its_time() {
        let (answer, asked) = bounded::<SocketAddr>(1);
        let lookup = Lookup::start(move || asked.recv().map(|found| vec![found]).map_err(io::Error::other)).unwrap();
        assert!(lookup.take().is_none());
        let found = "192.0.2.1:9092".parse().unwrap();
        answer.send(found).unwrap();
        let mut wait = Wait::default();
        let at = wait.add(&lookup, true, false);
        wait.wait(Duration::from_secs(60)).unwrap();
        assert!(wait.is_gone(at));
        assert_eq!(lookup.take().unwrap().unwrap(), [found]);
        assert!(lookup.take().is_none());
    }
}
