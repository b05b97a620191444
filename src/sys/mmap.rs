//! Shared file maps that survive the process: whole maps of atomic words, and a ring mapped twice in a row.
//!
//! Both take files that this program made and that nobody shrinks, written with zeros to their full length at creation:
//! a fallocated or sparse file would turn a full disk into SIGBUS.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a page; maps begin and end at its multiples.
pub const PAGE: usize = 4096;

/// A shared map seen as 64-bit words. All access is atomic, so it may be shared between threads freely.
pub struct Words {
    map: MmapRaw,
    len: usize,
}

impl Words {
    /// Maps the first `words` words of `file`.
    ///
    /// # Errors
    /// The file is shorter than that, or the kernel refuses the map.
    pub fn map(file: &File, words: usize) -> io::Result<Words> {
        Ok(Words { map: options(file, words)?.map_raw(file)?, len: words })
    }

    /// The same of a file that is open for reading alone: a store would end the process.
    ///
    /// # Errors
    /// As [`Words::map`].
    pub fn map_to_read(file: &File, words: usize) -> io::Result<Words> {
        Ok(Words { map: options(file, words)?.map_raw_read_only(file)?, len: words })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The word at `index`.
    ///
    /// # Panics
    /// Beyond the map.
    #[inline]
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len, "word {index} of a map of {}", self.len);
        // SAFETY: in bounds (asserted), page-aligned base so 8-aligned words, and valid for the life of `self.map`.
        // Every access in this process is through AtomicU64.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }
}

fn options(file: &File, words: usize) -> io::Result<MmapOptions> {
    let bytes = words * 8;
    if file.metadata()?.len() < bytes as u64 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the map file is shorter than its layout"));
    }
    let mut options = MmapOptions::new();
    options.len(bytes);
    Ok(options)
}

/// A stretch of a file mapped twice in a row: a span of up to its length has no seam at the end.
pub struct Mirror {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the map is plain memory; who may touch which stretch when is the ring's protocol, kept by its callers.
unsafe impl Send for Mirror {}
// SAFETY: as above.
unsafe impl Sync for Mirror {}

impl Mirror {
    /// Maps `len` bytes of `file` at `offset`; both multiples of [`PAGE`], `len` a power of two.
    ///
    /// # Errors
    /// The file is too short, or the kernel refuses the maps.
    pub fn map(file: &File, offset: usize, len: usize) -> io::Result<Mirror> {
        Mirror::map_for(libc::PROT_READ | libc::PROT_WRITE, file, offset, len)
    }

    /// The same of a file that is open for reading alone: a store would end the process.
    ///
    /// # Errors
    /// As [`Mirror::map`].
    pub fn map_to_read(file: &File, offset: usize, len: usize) -> io::Result<Mirror> {
        Mirror::map_for(libc::PROT_READ, file, offset, len)
    }

    fn map_for(access: libc::c_int, file: &File, offset: usize, len: usize) -> io::Result<Mirror> {
        assert!(len.is_power_of_two() && len >= PAGE && offset.is_multiple_of(PAGE));
        if file.metadata()?.len() < (offset + len) as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the ring file is shorter than its layout"));
        }
        let memory;
        let (file, offset) = if cfg!(feature = "inexact") {
            memory = memory_file(len)?;
            (&memory, 0)
        } else {
            (file, offset)
        };
        // SAFETY: a fresh reservation at an address of the kernel's choice.
        let reserved = unsafe {
            libc::mmap(std::ptr::null_mut(), 2 * len, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if reserved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(reserved.cast::<u8>()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        let mirror = Mirror { base, len };
        for half in 0..2 {
            // SAFETY: MAP_FIXED inside the reservation that this value owns.
            let mapped = unsafe {
                libc::mmap(
                    base.as_ptr().add(half * len).cast(),
                    len,
                    access,
                    libc::MAP_SHARED | libc::MAP_FIXED,
                    file.as_raw_fd(),
                    offset as libc::off_t,
                )
            };
            if mapped == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(mirror)
    }

    /// Bytes of the ring (half of what is mapped).
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes at ring position `pos`.
    ///
    /// # Safety
    /// Nobody writes that stretch while the slice lives.
    pub unsafe fn bytes(&self, pos: u64, len: usize) -> &[u8] {
        // SAFETY: in bounds by `start`; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start(pos, len), len) }
    }

    /// The bytes at ring position `pos`, to be written.
    ///
    /// # Safety
    /// Nobody else reads or writes that stretch while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self, pos: u64, len: usize) -> &mut [u8] {
        // SAFETY: in bounds by `start`; the caller is alone there.
        unsafe { std::slice::from_raw_parts_mut(self.start(pos, len), len) }
    }

    fn start(&self, pos: u64, len: usize) -> *mut u8 {
        assert!(len <= self.len, "a span of {len} bytes in a ring of {}", self.len);
        // SAFETY: the offset is below `len`, and `len` more bytes follow in the second half.
        unsafe { self.base.as_ptr().add((pos as usize) & (self.len - 1)) }
    }
}

/// A file that is nothing but memory.
fn memory_file(len: usize) -> io::Result<File> {
    // SAFETY: a valid name; the descriptor is new and has no other owner.
    let file = unsafe {
        match libc::memfd_create(c"ring".as_ptr(), libc::MFD_CLOEXEC) {
            -1 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        }
    };
    file.set_len(len as u64)?;
    Ok(file)
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // SAFETY: exactly the reservation made in `map`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), 2 * self.len) };
    }
}
