//! What a tailer asks of the kernel: which file this is, a look at it that cannot block, whether somebody still writes
//! it, and a wait for several things at once.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Longest file handle of any filesystem (MAX_HANDLE_SZ).
const HANDLE_MAX: usize = 128;
/// Marks an identity made of inode and birth time.
const BORN: i32 = -1;

/// Tells a file from every other one, of the past too, whatever its name: filesystem id and file handle, or inode and
/// birth time where the filesystem gives no handles.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(Box<[u8]>);

impl FileId {
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `None` where the text is no even number of hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<FileId> {
        let pairs = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        text.len().is_multiple_of(2).then_some(())?;
        pairs.collect::<Option<Vec<u8>>>().map(|bytes| FileId(bytes.into()))
    }

    /// The same number for the same file, in any process.
    pub fn hash(&self) -> u32 {
        crc32fast::hash(&self.0)
    }

    #[cfg(test)]
    pub fn of_bytes(bytes: &[u8]) -> FileId {
        FileId(bytes.into())
    }
}

/// The identity of what `path` leads to, links followed. Nothing is opened where the filesystem gives handles.
///
/// # Errors
/// The kernel's.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    match handle(libc::AT_FDCWD, &name, libc::AT_SYMLINK_FOLLOW)? {
        Some((kind, handle)) => Ok(id(fs_id_of_path(&name)?, kind, &handle)),
        None => id_by_birth(fs_id_of_path(&name)?, &std::fs::metadata(path)?),
    }
}

/// The identity of an open file.
///
/// # Errors
/// The kernel's.
pub fn open_file_id(file: &File) -> io::Result<FileId> {
    match handle(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)? {
        Some((kind, handle)) => Ok(id(fs_id_of_file(file)?, kind, &handle)),
        None => id_by_birth(fs_id_of_file(file)?, &file.metadata()?),
    }
}

fn id(fs_id: [u8; 8], kind: i32, handle: &[u8]) -> FileId {
    FileId([&fs_id[..], &kind.to_be_bytes(), handle].concat().into())
}

fn id_by_birth(fs_id: [u8; 8], meta: &std::fs::Metadata) -> io::Result<FileId> {
    let born = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let born_ns = born.map_or(0, |d| d.as_nanos() as u64);
    Ok(id(fs_id, BORN, &[meta.ino().to_be_bytes(), born_ns.to_be_bytes()].concat()))
}

/// name_to_handle_at; `None` where the filesystem gives no handles.
fn handle(dir: RawFd, name: &std::ffi::CStr, flags: libc::c_int) -> io::Result<Option<(i32, Vec<u8>)>> {
    #[repr(C)]
    struct Handle {
        bytes: libc::c_uint,
        kind: libc::c_int,
        body: [u8; HANDLE_MAX],
    }
    let mut handle = Handle { bytes: HANDLE_MAX as libc::c_uint, kind: 0, body: [0; HANDLE_MAX] };
    let mut mount = 0;
    let at = (&raw mut handle).cast::<libc::file_handle>();
    // SAFETY: a valid string, and a handle with as much room behind its head as it says.
    if unsafe { libc::name_to_handle_at(dir, name.as_ptr(), at, &raw mut mount, flags) } == 0 {
        let length = (handle.bytes as usize).min(HANDLE_MAX);
        return Ok(Some((handle.kind, handle.body[..length].to_vec())));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EOVERFLOW | libc::ENOSYS | libc::EPERM) => Ok(None),
        _ => Err(error),
    }
}

/// The filesystem's id, which unlike a device number is the same after a reboot.
fn fs_id_of_path(name: &CString) -> io::Result<[u8; 8]> {
    // SAFETY: all-zero is a valid statfs, and the pointers are valid for the call.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::statfs(name.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fs_id(&stat))
}

fn fs_id_of_file(file: &File) -> io::Result<[u8; 8]> {
    // SAFETY: all-zero is a valid statfs, and the descriptor and pointer are valid for the call.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fs_id(&stat))
}

fn fs_id(stat: &libc::statfs) -> [u8; 8] {
    // SAFETY: fsid_t is eight plain bytes whose fields libc does not show.
    unsafe { std::mem::transmute::<libc::fsid_t, [u8; 8]>(stat.f_fsid) }
}

/// Opens for reading without ever waiting for somebody at the other end.
///
/// # Errors
/// The kernel's; `InvalidInput` where it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let refuse = |meta: std::fs::Metadata| match meta.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    };
    // Opening a device may do things: it is looked at before, and again in case it was changed.
    refuse(std::fs::metadata(path)?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    refuse(file.metadata()?)?;
    Ok(file)
}

/// The path that leads to an open file without any link.
///
/// # Errors
/// /proc is not mounted.
pub fn real_path(file: &File) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Whether some process has the file open for writing; `None` where this process may not ask (the file is another
/// user's) or the filesystem does not know.
pub fn has_writer(file: &File) -> Option<bool> {
    // A writer that opens the file between the two calls breaks the lease, which sends a signal that would end us.
    // SAFETY: setting a disposition to "ignore" has no preconditions; the descriptor is valid for the calls.
    let rc = unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)
    };
    if rc == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    (io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

/// A bell that any thread may ring, to be waited for with [`wait`].
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn new() -> io::Result<Bell> {
        // SAFETY: no pointers; the descriptor that comes back is nobody else's.
        unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Bell(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight valid bytes. It fails only where the bell rings already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Silent until it is rung again.
    pub fn hush(&self) {
        let mut count = [0; 8];
        // SAFETY: room for eight bytes. It fails only where the bell is silent.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Waits until one of the descriptors can be read, at most so long.
pub fn wait(fds: &[RawFd], most: Duration) {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    let most_ms = most.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
    // SAFETY: an array with its length; an interrupted wait is over early, which every caller can bear.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, most_ms) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_a_new_name_and_not_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "1").unwrap();
        let first = file_id(&a).unwrap();
        assert_eq!(open_file_id(&File::open(&a).unwrap()).unwrap(), first);
        assert_eq!(FileId::from_hex(&first.hex()), Some(first.clone()));
        std::fs::rename(&a, &b).unwrap();
        assert_eq!(file_id(&b).unwrap(), first);
        // The kernel gives the inode of a removed file to the next one.
        for _ in 0..50 {
            std::fs::remove_file(&b).unwrap();
            std::fs::write(&b, "1").unwrap();
            assert_ne!(file_id(&b).unwrap(), first);
        }
    }

    #[test]
    fn a_writer_is_seen_as_long_as_it_holds_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let writer = File::create(&path).unwrap();
        let reader = open_regular(&path).unwrap();
        assert_eq!(has_writer(&reader), Some(true));
        drop(writer);
        assert_eq!(has_writer(&reader), Some(false));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let name = CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: a valid string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        for path in [fifo.as_path(), Path::new("/dev/null"), dir.path()] {
            assert_eq!(open_regular(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_bell_is_heard_until_it_is_hushed() {
        let bell = Bell::new().unwrap();
        let began = std::time::Instant::now();
        bell.ring();
        wait(&[bell.fd()], Duration::from_secs(60));
        bell.hush();
        wait(&[bell.fd()], Duration::from_millis(1));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
