//! Unix stream sockets: listening with the right mode from the first moment, who is at the other end, and waiting for
//! many of them at once.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::file;

/// Connections that the kernel holds until they are taken.
const BACKLOG: libc::c_int = 1024;

/// An address that nobody has (RFC 5737): the way to it is the way out.
const FAR: &str = "192.0.2.1:9";

/// A process at the other end of a connection, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
}

/// Listens at `path`, whose directory is made with mode 0750 if it is missing. The socket is its owner's alone before
/// it has a name. It does not block.
///
/// # Errors
/// `AddrInUse` where something stands there; the kernel's otherwise.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        file::make_dirs(dir, file::DIR_MODE)?;
    }
    let (address, length) = address(path)?;
    let socket = new_socket(libc::SOCK_NONBLOCK)?;
    let fd = socket.as_raw_fd();
    // SAFETY: an open descriptor and a whole address with its length.
    let bound = unsafe {
        libc::fchmod(fd, file::PRIVATE_FILE_MODE) == 0
            && libc::bind(fd, (&raw const address).cast(), length) == 0
            && libc::listen(fd, BACKLOG) == 0
    };
    if bound { Ok(UnixListener::from(socket)) } else { Err(io::Error::last_os_error()) }
}

/// Connects within `patience`, also where nobody takes connections at the other end.
///
/// # Errors
/// `WouldBlock` after that time; the kernel's otherwise.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let (address, length) = address(path)?;
    let stream = UnixStream::from(new_socket(0)?);
    stream.set_write_timeout(Some(patience.max(Duration::from_millis(1))))?;
    // SAFETY: an open descriptor and a whole address with its length.
    match unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(stream),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Who is at the other end.
///
/// # Errors
/// The kernel's.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: an open descriptor, and room for the answer with its length.
    let rc = unsafe {
        let room = (&raw mut found).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, room, &raw mut length)
    };
    if rc == 0 { Ok(Peer { pid: found.pid, uid: found.uid }) } else { Err(io::Error::last_os_error()) }
}

fn new_socket(flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; a descriptor that comes back is new and nobody else's.
    unsafe {
        match libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// A path as an address; one that the kernel takes for a name of its own (an abstract socket) is none.
fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    let refuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    // SAFETY: all-zero is a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let bytes = path.as_os_str().as_bytes();
    let most = address.sun_path.len() - 1;
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() > most {
        return refuse(format!("a socket's path has 1 to {most} bytes, this one {}; a shorter one does", bytes.len()));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    address.sun_path.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as libc::c_char);
    let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1;
    Ok((address, length as libc::socklen_t))
}

/// What is waited for on several descriptors: poll(2).
#[derive(Default)]
pub struct Wait {
    fds: Vec<libc::pollfd>,
}

impl Wait {
    pub fn clear(&mut self) {
        self.fds.clear();
    }

    /// Waits for it to be readable or writable too, and for its other end to be gone in any case. Returns its place.
    pub fn add(&mut self, fd: &impl AsRawFd, readable: bool, writable: bool) -> usize {
        let events = if readable { libc::POLLIN } else { 0 } | if writable { libc::POLLOUT } else { 0 };
        self.fds.push(libc::pollfd { fd: fd.as_raw_fd() as RawFd, events, revents: 0 });
        self.fds.len() - 1
    }

    /// Until something happens or the time is over.
    ///
    /// # Errors
    /// The kernel's; a signal is none.
    pub fn wait(&mut self, time: Duration) -> io::Result<()> {
        let time_ms = time.as_micros().div_ceil(1000).min(i32::MAX as u128) as libc::c_int;
        // SAFETY: an array with its length, ours for the call.
        let rc = unsafe { libc::poll(self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t, time_ms) };
        match io::Error::last_os_error() {
            e if rc < 0 && e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => Ok(()),
        }
    }

    /// It can be read or written, as was asked.
    pub fn is_ready(&self, at: usize) -> bool {
        self.fds[at].revents & (libc::POLLIN | libc::POLLOUT) != 0
    }

    /// The other end is gone for good.
    pub fn is_gone(&self, at: usize) -> bool {
        self.fds[at].revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }
}

/// The user that this process runs as.
pub fn own_uid() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// The number of a user, by name or by number.
pub fn uid_of(user: &str) -> Option<u32> {
    if let Ok(uid) = user.parse() {
        return Some(uid);
    }
    let name = CString::new(user).ok()?;
    let mut room = [0; 4096];
    let mut found = std::ptr::null_mut();
    // SAFETY: all-zero is a valid passwd; a string, and room for the answer with its length.
    unsafe {
        let mut row: libc::passwd = std::mem::zeroed();
        libc::getpwnam_r(name.as_ptr(), &raw mut row, room.as_mut_ptr(), room.len(), &raw mut found);
        (!found.is_null()).then_some(row.pw_uid)
    }
}

/// This host's address as one of these servers sees it; where that is the host itself, the address of the way out, and
/// without one the loopback's. `servers` are `host:port` or URLs. Nothing is sent, but names are looked up.
pub fn own_address(servers: &[String]) -> IpAddr {
    let toward = |server: &str| {
        let address = server.split_once("://").map_or(server, |(_, address)| address);
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(address.trim_end_matches('/')).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
    };
    let own = servers.iter().map(String::as_str).chain([FAR]).find_map(toward);
    own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_socket_is_its_owners_alone_and_knows_who_calls() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/s.sock");
        let listener = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let caller = connect(&path, Duration::from_secs(1)).unwrap();
        let (taken, _) = listener.accept().unwrap();
        let myself = Peer { pid: std::process::id() as i32, uid: own_uid() };
        assert_eq!((peer(&taken).unwrap(), peer(&caller).unwrap()), (myself, myself));
        drop(listener);
        assert_eq!(connect(&path, Duration::from_secs(1)).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn paths_that_are_no_addresses_are_refused() {
        for path in ["", "\0abstract", &format!("/{}", "x".repeat(107))] {
            assert_eq!(connect(Path::new(path), Duration::ZERO).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn users_are_known_by_name_and_number() {
        assert_eq!([uid_of("root"), uid_of("4711"), uid_of("no such user")], [Some(0), Some(4711), None]);
    }
}
