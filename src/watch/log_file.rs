//! A log file that grows, begins anew at a size or a day, and comes back when somebody takes it away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::conf::config::LogRotate;
use crate::flow::clock;
use crate::sys::file;

/// How often it is made sure that the path still leads to the open file, at most.
const LOOK: Duration = Duration::from_secs(1);

/// One log file with its elders: `PATH.1` is the youngest of them, or `PATH.2026-01-31` the one of that day, in UTC.
pub struct LogFile {
    path: PathBuf,
    rotate: LogRotate,
    keep: usize,
    open: Option<Open>,
    clock: fn() -> i64,
}

struct Open {
    file: File,
    bytes: u64,
    /// The day of its last line, as `2026-01-31`.
    day: String,
    looked: Instant,
    /// The last write ended within a line.
    torn: bool,
}

impl LogFile {
    /// Goes on with a file that is there; its directory is made if it is missing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path, rotate: LogRotate, keep: usize) -> io::Result<LogFile> {
        LogFile::open_with(path, rotate, keep, clock::now_ms)
    }

    fn open_with(path: &Path, rotate: LogRotate, keep: usize, clock: fn() -> i64) -> io::Result<LogFile> {
        let open = Some(open(path)?);
        Ok(LogFile { path: path.to_path_buf(), rotate, keep, open, clock })
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// The kernel's; the lines are lost then, or torn, and the next call begins on a line of its own.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_mut().is_some_and(|o| o.looked.elapsed() >= LOOK && !o.is_at(&self.path)) {
            self.open = None;
        }
        let today = day((self.clock)());
        if let Some(open) = &self.open {
            let full = match self.rotate {
                LogRotate::Never => false,
                LogRotate::Daily => open.day < today,
                LogRotate::AtSize(most) => open.bytes > 0 && open.bytes + lines.len() as u64 > most,
            };
            // One that cannot be moved away grows on.
            if full && self.move_away(&open.day).is_ok() {
                self.open = None;
            }
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.path)?),
        };
        open.append(lines)?;
        open.day = today;
        Ok(())
    }

    fn move_away(&self, day: &str) -> io::Result<()> {
        if self.rotate == LogRotate::Daily {
            let taken = |path: &PathBuf| path.exists();
            let mut names = (0..).map(|n| if n == 0 { self.elder(day) } else { self.elder(&format!("{day}.{n}")) });
            let free = names.find(|path| !taken(path)).unwrap_or_default();
            std::fs::rename(&self.path, free)?;
            let mut elders = self.elders()?;
            elders.sort();
            let surplus = elders.len().saturating_sub(self.keep);
            return elders[..surplus].iter().try_for_each(std::fs::remove_file);
        }
        for n in (1..self.keep).rev() {
            match std::fs::rename(self.elder(&n.to_string()), self.elder(&(n + 1).to_string())) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.elder("1"))
    }

    fn elder(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    /// Those that are named after a day.
    fn elders(&self) -> io::Result<Vec<PathBuf>> {
        let stem = self.elder("").file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_elder = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.strip_prefix(&stem).is_some_and(|suffix| suffix.get(..10).is_some_and(is_day))
        };
        let all = std::fs::read_dir(dir_of(&self.path))?.map(|entry| entry.map(|e| e.path()));
        Ok(all.collect::<io::Result<Vec<_>>>()?.into_iter().filter(is_elder).collect())
    }
}

impl Open {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let before = self.bytes;
        let mut rest = lines;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest = &rest[n..];
                    self.bytes += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.torn = self.bytes > before;
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    fn is_at(&mut self, path: &Path) -> bool {
        self.looked = Instant::now();
        let here = self.file.metadata().map(|m| (m.dev(), m.ino()));
        matches!((here, std::fs::metadata(path)), (Ok(here), Ok(there)) if here == (there.dev(), there.ino()))
    }
}

/// A pipe without a reader refuses instead of waiting for one.
fn open(path: &Path) -> io::Result<Open> {
    file::make_dirs(dir_of(path), file::DIR_MODE)?;
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(file::FILE_MODE).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let last_line = if metadata.len() == 0 { clock::now_ms() } else { metadata.mtime().saturating_mul(1000) };
    Ok(Open { file, bytes: metadata.len(), day: day(last_line), looked: Instant::now(), torn: false })
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn day(ms: i64) -> String {
    clock::utc(ms).get(..10).unwrap_or_default().to_string()
}

fn is_day(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn at_a_size_the_elders_move_up_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/a.log");
        let mut log = LogFile::open(&path, LogRotate::AtSize(10), 2).unwrap();
        for line in ["11111\n", "22222\n", "3\n", "4444444444444444\n", "5\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(names(path.parent().unwrap()), ["a.log", "a.log.1", "a.log.2"]);
        let text = |name: &str| std::fs::read_to_string(dir.path().join("new").join(name)).unwrap();
        assert_eq!((text("a.log"), text("a.log.1")), ("5\n".into(), "4444444444444444\n".into()));
        assert_eq!(text("a.log.2"), "22222\n3\n");
    }

    #[test]
    fn each_day_has_a_file_and_strangers_stay() {
        const DAY_MS: i64 = 86_400_000;
        static NOW: AtomicI64 = AtomicI64::new(0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(dir.path().join("a.log.gz"), "a stranger").unwrap();
        let first = clock::now_ms();
        NOW.store(first, Ordering::Relaxed);
        let mut log = LogFile::open_with(&path, LogRotate::Daily, 2, || NOW.load(Ordering::Relaxed)).unwrap();
        for n in 0..5 {
            NOW.store(first + n * DAY_MS, Ordering::Relaxed);
            log.write(format!("{n}\n").as_bytes()).unwrap();
            log.write(b"more\n").unwrap();
        }
        let elder = |n: i64| format!("a.log.{}", day(first + n * DAY_MS));
        assert_eq!(names(dir.path()), ["a.log".to_string(), elder(2), elder(3), "a.log.gz".into()]);
        assert_eq!(std::fs::read_to_string(dir.path().join(elder(3))).unwrap(), "3\nmore\n");
    }

    #[test]
    fn a_file_that_was_taken_away_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = LogFile::open(&path, LogRotate::Never, 1).unwrap();
        log.write(b"1\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        log.open.as_mut().unwrap().looked -= LOOK;
        log.write(b"2\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
    }
}
