//! A tailer as strict as a log shipper: it follows every file of a directory tree while it grows, reads forward only,
//! never rewinds. What it has read when it ends is what counts as delivered; what no file may do, it records.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const CHUNK: usize = 1 << 20;

/// A running tailer.
pub struct Tailer {
    stop: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<Seen>,
}

/// What a file must never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Its length went down.
    Shrank { path: PathBuf, from: u64, to: u64 },
    /// It no longer stands under its name: deleted, renamed, or another stands there.
    Gone { path: PathBuf },
    /// It ends in a line without its line feed, when all is over.
    Torn { path: PathBuf, bytes: usize },
    /// What stands in it when all is over is not what was read while it grew.
    Rewritten { path: PathBuf, at: usize },
}

/// Everything that was read, and everything that was wrong.
#[derive(Debug, Default)]
pub struct Seen {
    /// Whole content per file.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub findings: Vec<Finding>,
}

struct Followed {
    /// None once it is gone and was finished: held open it would keep its place on the disk.
    file: Option<File>,
    content: Vec<u8>,
    length: u64,
    gone: bool,
}

impl Tailer {
    /// Follows all files below `dir`, present and future ones; names that begin with a dot are not followed.
    pub fn follow(dir: &Path) -> Tailer {
        let stop = Arc::new(AtomicBool::new(false));
        let bytes = Arc::new(AtomicU64::new(0));
        let (dir, stopped, counter) = (dir.to_owned(), stop.clone(), bytes.clone());
        let thread = std::thread::Builder::new().name("tailer".to_owned());
        let thread = thread.spawn(move || run(&dir, &stopped, &counter)).expect("a thread");
        Tailer { stop, bytes, thread }
    }

    /// Bytes read so far, from all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Reads every file to its end and gives all that was seen. Call it when nobody writes any more.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the tailer")
    }
}

impl Seen {
    /// Reads a directory in which nothing moves any more.
    pub fn at_rest(dir: &Path) -> Seen {
        run(dir, &AtomicBool::new(true), &AtomicU64::new(0))
    }

    /// The file's complete lines without their line feeds.
    pub fn lines_of(&self, path: &Path) -> impl Iterator<Item = &[u8]> {
        let content = self.files.get(path).map_or(&[][..], Vec::as_slice);
        let lines = content.split_inclusive(|byte| *byte == b'\n');
        lines.filter_map(|line| line.strip_suffix(b"\n"))
    }

    /// Every complete line with its file: file by file, in each from first to last.
    pub fn lines(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.keys().flat_map(|path| self.lines_of(path).map(move |line| (path.as_path(), line)))
    }

    /// Panics when a file did what none may do.
    pub fn assert_clean(&self) {
        assert!(self.findings.is_empty(), "{}", self.findings.iter().map(|f| format!("{f}\n")).collect::<String>());
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Shrank { path, from, to } => write!(out, "{} shrank from {from} to {to}", path.display()),
            Finding::Gone { path } => write!(out, "{} no longer stands under its name", path.display()),
            Finding::Torn { path, bytes } => write!(out, "{} ends in {bytes} bytes of a torn line", path.display()),
            Finding::Rewritten { path, at } => write!(out, "{} was changed after the fact at {at}", path.display()),
        }
    }
}

fn run(dir: &Path, stop: &AtomicBool, bytes: &AtomicU64) -> Seen {
    let mut followed = BTreeMap::new();
    let mut findings = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        // Before the round: what was written before the stop is read in the last round.
        let last = stop.load(Ordering::Acquire);
        find_new(dir, &mut followed, &mut findings);
        let mut grown = 0;
        for (path, file) in &mut followed {
            grown += read_on(path, file, &mut buffer, &mut findings);
        }
        bytes.fetch_add(grown as u64, Ordering::Release);
        if last {
            break;
        }
        if grown == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    for (path, file) in &followed {
        findings.extend(judge_end(path, file));
    }
    let files = followed.into_iter().map(|(path, file)| (path, file.content)).collect();
    Seen { files, findings }
}

fn find_new(dir: &Path, followed: &mut BTreeMap<PathBuf, Followed>, findings: &mut Vec<Finding>) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => panic!("{}: {error}", dir.display()),
    };
    for entry in entries {
        let entry = entry.expect("a directory entry");
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") || followed.contains_key(&path) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_new(&path, followed, findings);
            continue;
        }
        match File::open(&path) {
            Ok(file) => {
                let fresh = Followed { file: Some(file), content: Vec::new(), length: 0, gone: false };
                followed.insert(path, fresh);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => findings.push(Finding::Gone { path }),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

/// Reads what the file has grown by; gives the number of bytes.
fn read_on(path: &Path, file: &mut Followed, buffer: &mut [u8], findings: &mut Vec<Finding>) -> usize {
    let Some(open) = &mut file.file else { return 0 };
    let now = open.metadata().expect("fstat");
    if now.len() < file.length {
        findings.push(Finding::Shrank { path: path.to_owned(), from: file.length, to: now.len() });
    }
    let same = std::fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (now.dev(), now.ino()));
    if !same && !file.gone {
        file.gone = true;
        findings.push(Finding::Gone { path: path.to_owned() });
    }
    let before = file.content.len();
    loop {
        match open.read(buffer).expect("read") {
            0 => break,
            count => file.content.extend_from_slice(&buffer[..count]),
        }
    }
    let grown = file.content.len() - before;
    // A length just read is a length the file has had, even if fstat came too early to see it.
    file.length = if grown > 0 { file.content.len() as u64 } else { now.len() };
    if file.gone && now.mode() & 0o222 == 0 {
        file.file = None;
    }
    grown
}

fn judge_end(path: &Path, file: &Followed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tail = file.content.iter().rev().take_while(|byte| **byte != b'\n').count();
    if tail > 0 {
        findings.push(Finding::Torn { path: path.to_owned(), bytes: tail });
    }
    if !file.gone {
        let stands = std::fs::read(path).expect("read");
        let differs = stands.iter().zip(&file.content).position(|(a, b)| a != b);
        let at = differs.or((stands.len() != file.content.len()).then_some(stands.len().min(file.content.len())));
        findings.extend(at.map(|at| Finding::Rewritten { path: path.to_owned(), at }));
    }
    findings
}
