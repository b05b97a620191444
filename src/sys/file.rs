//! Files and directories: creation that cannot be tricked, appends, syncs, locks, and how to know them again.

use std::ffi::CString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Mode of output files.
pub const FILE_MODE: u32 = 0o640;
/// Mode of output directories.
pub const DIR_MODE: u32 = 0o750;
/// Mode of what is nobody else's business: ledger, rings, failure queue.
pub const PRIVATE_DIR_MODE: u32 = 0o700;
/// Mode of files below a private directory.
pub const PRIVATE_FILE_MODE: u32 = 0o600;

/// Slices the kernel takes in one call (IOV_MAX).
const IOV_MAX: usize = 1024;
/// Zero bytes written in one call.
const ZEROS_BYTES: u64 = 1 << 20;

/// Tries to get a lock that is held, beyond the first.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What tells one file from another that later takes its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    pub inode: u64,
    /// Birth time in nanoseconds; 0 where the filesystem keeps none.
    pub born_ns: u64,
}

/// What stands behind an open file at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Bytes.
    pub length: u64,
    /// No name leads to it any more.
    pub unlinked: bool,
}

/// New files get exactly the modes named here; set before the first file is made.
pub fn set_umask() {
    // SAFETY: umask has no preconditions and cannot fail.
    unsafe { libc::umask(0o027) };
}

/// What an open may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// The file must be there.
    Nothing,
    /// The file must not be there; missing directories on the way are made.
    File,
}

/// Modes of what is made.
#[derive(Debug, Clone, Copy)]
pub struct Modes {
    pub file: u32,
    pub dir: u32,
}

/// Opens `root/name` for appending and for reading back. Only `root` itself may be reached through symbolic links:
/// below it, none is followed, whoever planted it.
///
/// # Errors
/// The kernel's.
pub fn open_append(root: &Path, name: &str, make: Make, modes: Modes) -> io::Result<File> {
    let flags = libc::O_RDWR | libc::O_APPEND;
    match name.rsplit_once('/') {
        None if make == Make::Nothing => open_at(None, &root.join(name), flags, 0),
        None => {
            let made = open_at(None, &root.join(name), flags | libc::O_CREAT | libc::O_EXCL, modes.file);
            match made {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    make_dirs(root, modes.dir)?;
                    open_at(None, &root.join(name), flags | libc::O_CREAT | libc::O_EXCL, modes.file)
                }
                other => other,
            }
        }
        Some((below, last)) => {
            let dir = open_dir_below(root, below, make, modes.dir)?;
            let extra = if make == Make::File { libc::O_CREAT | libc::O_EXCL } else { 0 };
            open_at(Some(&dir), Path::new(last), flags | extra, modes.file)
        }
    }
}

/// Opens `root/name` for reading, following no symbolic link below `root`.
///
/// # Errors
/// The kernel's.
pub fn open_below(root: &Path, name: &str) -> io::Result<File> {
    match name.rsplit_once('/') {
        None => open_at(None, &root.join(name), libc::O_RDONLY, 0),
        Some((below, last)) => {
            let dir = open_dir_below(root, below, Make::Nothing, 0)?;
            open_at(Some(&dir), Path::new(last), libc::O_RDONLY, 0)
        }
    }
}

/// Steps from directory to directory, so that none of them can be a link.
fn open_dir_below(root: &Path, below: &str, make: Make, mode: u32) -> io::Result<File> {
    if make == Make::File {
        make_dirs(root, mode)?;
    }
    let mut dir = File::open(root)?;
    for part in below.split('/') {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        dir = match open_at(Some(&dir), Path::new(part), flags, 0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && make == Make::File => {
                let name = CString::new(part)?;
                // SAFETY: a valid descriptor and string for the length of the call.
                if unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) } != 0 {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                }
                open_at(Some(&dir), Path::new(part), flags, 0)?
            }
            Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => {
                let words = format!("{part} in {} is no directory of ours: a link or a file", root.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, words));
            }
            other => other?,
        };
    }
    Ok(dir)
}

/// openat(2) that follows no link in the last place.
fn open_at(dir: Option<&File>, path: &Path, flags: libc::c_int, mode: u32) -> io::Result<File> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let at = dir.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    loop {
        // SAFETY: a valid descriptor and string for the length of the call.
        let fd = unsafe { libc::openat(at, name.as_ptr(), flags, mode) };
        if fd >= 0 {
            // SAFETY: a descriptor that was just opened and is nobody else's.
            return Ok(unsafe { File::from_raw_fd(fd) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Files that this process may have open; the first call raises the limit as far as it may.
pub fn open_files_max() -> usize {
    // SAFETY: all-zero is a valid rlimit, and the pointers are valid for the calls.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 256;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 { raised } else { limit }
    };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Opens for reading without following a symbolic link.
///
/// # Errors
/// The kernel's.
pub fn open_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

/// # Errors
/// The kernel's.
pub fn standing(file: &File) -> io::Result<Standing> {
    let meta = file.metadata()?;
    Ok(Standing { length: meta.len(), unlinked: meta.nlink() == 0 })
}

/// # Errors
/// The kernel's.
pub fn identity(file: &File) -> io::Result<Identity> {
    let meta = file.metadata()?;
    let born = meta.created().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(Identity { inode: meta.ino(), born_ns: born.map_or(0, |d| d.as_nanos() as u64) })
}

/// # Errors
/// The kernel's; the file is another user's.
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(PermissionsExt::from_mode(mode))
}

/// True for a file of the user this process runs as.
///
/// # Errors
/// The kernel's.
pub fn is_mine(file: &File) -> io::Result<bool> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    Ok(file.metadata()?.uid() == unsafe { libc::geteuid() })
}

/// Appends slices in order until all are written.
///
/// # Errors
/// The kernel's; what was appended before stands.
pub fn append(mut file: &File, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut left = parts;
    while !left.is_empty() {
        let most = left.len().min(IOV_MAX);
        match file.write_vectored(&left[..most]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut left, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Makes `path` and its missing parents, each with `mode`; returns the directories made, parents first.
///
/// # Errors
/// The kernel's, or a file stands there.
pub fn make_dirs(path: &Path, mode: u32) -> io::Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    let missing: Vec<_> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.is_dir()).collect();
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode).create(dir) {
            Ok(()) => made.push(dir.to_path_buf()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(made)
}

/// Makes a file of `len` zero bytes; every page has its place on disk afterwards.
///
/// # Errors
/// The kernel's.
pub fn create_zeroed(path: &Path, len: u64) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    write_zeros(&mut file, len)?;
    Ok(file)
}

/// Appends `len` zero bytes.
///
/// # Errors
/// The kernel's.
pub fn write_zeros(file: &mut File, len: u64) -> io::Result<()> {
    let zeros = vec![0; len.min(ZEROS_BYTES) as usize];
    let mut left = len;
    while left > 0 {
        let bytes = left.min(ZEROS_BYTES);
        file.write_all(&zeros[..bytes as usize])?;
        left -= bytes;
    }
    Ok(())
}

/// Opens a map file for reading and writing.
///
/// # Errors
/// The kernel's.
pub fn open_map(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

/// Takes blocks for the first `len` bytes; what stands there stays, and so does the file's length.
///
/// # Errors
/// The kernel's, a full disk first of all.
pub fn allocate(file: &File, len: u64) -> io::Result<()> {
    // SAFETY: a valid descriptor for the length of the call.
    if unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, len as libc::off_t) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A filesystem that cannot reserve: the file grows as it is written.
        e if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        e => Err(e),
    }
}

/// fdatasync.
///
/// # Errors
/// The kernel's; after one the pages are marked clean, so a second try proves nothing.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Lets the kernel begin to write what was appended, without waiting: a [`sync_data`] that comes later has less to do.
pub fn begin_sync(file: &File, range: Range<u64>) {
    let (from, length) = (range.start as i64, (range.end - range.start) as i64);
    // SAFETY: a valid descriptor for the length of the call. Where the kernel cannot, the sync does it all.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The kernel's.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Syncs the whole filesystem of an open file.
///
/// # Errors
/// The kernel's.
pub fn sync_filesystem(file: &File) -> io::Result<()> {
    // SAFETY: a valid descriptor for the length of the call.
    if unsafe { libc::syncfs(file.as_raw_fd()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes a small file so that after a crash either the old or the new one stands, whole.
///
/// # Errors
/// The kernel's.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("new");
    write_private(&next, bytes)?.sync_all()?;
    std::fs::rename(&next, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Writes a small file of our own; nothing is synced.
///
/// # Errors
/// The kernel's.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(PRIVATE_FILE_MODE).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// An advisory lock that lives as long as this value; the file names its holder.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// # Errors
    /// `WouldBlock` with the holder's own words where somebody has it; the kernel's otherwise.
    pub fn take(path: &Path, holder: &str, mode: u32) -> io::Result<Lock> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        // Who looks whether it is held (`is_locked`) holds it for an instant.
        let mut taken = flock(&file, libc::LOCK_EX);
        for _ in 0..LOCK_TRIES {
            if !taken.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            taken = flock(&file, libc::LOCK_EX);
        }
        if let Err(error) = taken {
            let mut other = String::new();
            let _ = file.read_to_string(&mut other);
            let words = if other.trim().is_empty() { "another process" } else { other.trim() };
            return Err(io::Error::new(error.kind(), words.to_string()));
        }
        let lock = Lock { file };
        lock.rewrite(holder)?;
        Ok(lock)
    }

    /// Puts other words into the file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rewrite(&self, words: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(words.as_bytes(), 0)
    }

    /// False where the name leads to another file by now, or to none.
    pub fn is_at(&self, path: &Path) -> bool {
        let at = std::fs::symlink_metadata(path).and_then(|at| Ok((at, self.file.metadata()?)));
        at.is_ok_and(|(at, mine)| (at.dev(), at.ino()) == (mine.dev(), mine.ino()))
    }
}

/// True while somebody holds the lock of this open file. To ask takes it for an instant where nobody does.
///
/// # Errors
/// The kernel's.
pub fn is_locked(file: &File) -> io::Result<bool> {
    match flock(file, libc::LOCK_SH) {
        Ok(()) => flock(file, libc::LOCK_UN).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: a valid descriptor for the length of the call.
    let rc = unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes a user may still write on the filesystem of `path`.
///
/// # Errors
/// The kernel's.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero is a valid statvfs, and the pointers are valid for the call.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::statvfs(name.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Identifies this boot of the machine (`/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// /proc is not mounted.
pub fn boot_id() -> io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).map_err(io::Error::other)
}

/// Identifies the mount a path is on, uniquely within a boot; `None` where the kernel (before 6.8) cannot tell.
pub fn mount_id(path: &Path) -> Option<u64> {
    const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all-zero is a valid statx, and the pointers are valid for the call.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let rc = unsafe { libc::statx(libc::AT_FDCWD, name.as_ptr(), 0, STATX_MNT_ID_UNIQUE, &raw mut stat) };
    (rc == 0 && stat.stx_mask & STATX_MNT_ID_UNIQUE != 0).then_some(stat.stx_mnt_id)
}

/// A random number from the kernel.
///
/// # Errors
/// The kernel has none to give.
pub fn random_u64() -> io::Result<u64> {
    getrandom::u64().map_err(|e| io::Error::other(e.to_string()))
}
