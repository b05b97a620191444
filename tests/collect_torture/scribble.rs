//! A writer of logs that treats its files badly: it appends in bursts, leaves lines half written, rotates by rename and
//! by copytruncate, deletes, and makes files anew with the same inode. Seeded, and every line has a number.
//!
//! Half of the files keep a name that the program follows when they are rotated. The others get one that it does not
//! know: these are rotated only once it remembers them, for nobody can find a file that came and went unseen.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::memory::Memory;
use crate::support::Dice;

/// Longest line, beside its number.
const TEXT_MAX: u64 = 400;

/// All files, and what has to be in the topic.
pub struct Scribble {
    dir: PathBuf,
    dice: Dice,
    sheets: Vec<Sheet>,
    pub counts: BTreeMap<&'static str, u64>,
    memory: Memory,
}

/// One name with its files, one after the other.
struct Sheet {
    number: usize,
    path: PathBuf,
    writer: Option<File>,
    /// It writes at its own place, not at the end: after a cut it leaves a hole.
    at: Option<u64>,
    open_line: bool,
    next: u64,
    content: Content,
    done: Vec<Content>,
}

/// What stood in a file from one beginning to one end.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub sheet: usize,
    /// First number, and where each line ends.
    pub first: u64,
    pub ends: Vec<u64>,
    pub fate: Fate,
    /// The program had sent lines of it before its end, and would have remembered that.
    pub was_known: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// It stands on disk: every line has to come.
    #[default]
    Kept,
    /// It was cut or deleted: what was not read by then is gone.
    Destroyed,
}

impl Scribble {
    /// `memory`: of the program that follows these files.
    pub fn new(dir: &Path, files: usize, seed: u64, memory: Memory) -> Scribble {
        let sheet = |number: usize| Sheet {
            number,
            path: dir.join(format!("sheet{number:03}.log")),
            writer: None,
            at: number.is_multiple_of(5).then_some(0),
            open_line: false,
            next: 0,
            content: Content { sheet: number, ..Content::default() },
            done: Vec::new(),
        };
        let sheets = (0..files).map(sheet).collect();
        Scribble { dir: dir.to_path_buf(), dice: Dice(seed), sheets, counts: BTreeMap::new(), memory }
    }

    /// One deed on one file. `may_destroy`: with cuts and deletions.
    pub fn step(&mut self, may_destroy: bool) {
        let number = self.dice.below(self.sheets.len() as u64) as usize;
        let sheet = &mut self.sheets[number];
        let deed = match self.dice.below(if may_destroy { 100 } else { 94 }) {
            0..60 => {
                let lines = self.dice.below(8) + 1;
                (0..lines).for_each(|_| sheet.line(&mut self.dice));
                "appends"
            }
            60..64 => {
                (0..300).for_each(|_| sheet.line(&mut self.dice));
                "bursts"
            }
            64..88 => {
                sheet.half_line(&mut self.dice);
                "half lines"
            }
            88..91 => {
                sheet.close_writer();
                "closes"
            }
            91..94 => {
                let is_followed = number.is_multiple_of(2);
                if !is_followed && self.memory.place(&sheet.path).is_none() {
                    return;
                }
                let end =
                    if is_followed { format!("log.{}", sheet.done.len()) } else { format!("{}.old", sheet.done.len()) };
                sheet.rename(&self.dir.join(format!("sheet{number:03}.{end}")), self.dice.below(2) == 0);
                "renames"
            }
            94..97 => {
                let to = self.dir.join(format!("sheet{number:03}.copy"));
                sheet.copy_truncate(&to, &mut self.memory);
                "copytruncates"
            }
            _ => {
                sheet.delete(&mut self.memory);
                "deletions"
            }
        };
        *self.counts.entry(deed).or_default() += 1;
    }

    /// Ends every line and closes every file.
    pub fn finish(&mut self) {
        for sheet in &mut self.sheets {
            if sheet.open_line {
                sheet.line(&mut self.dice);
            }
            sheet.writer = None;
        }
    }

    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        self.sheets.iter().flat_map(|sheet| sheet.done.iter().chain([&sheet.content]))
    }
}

impl Sheet {
    fn write(&mut self, bytes: &[u8]) {
        let at = self.at;
        let writer = self.writer.get_or_insert_with(|| {
            OpenOptions::new().append(at.is_none()).write(true).create(true).open(&self.path).expect("a log")
        });
        match &mut self.at {
            None => writer.write_all(bytes).expect("written"),
            Some(at) => {
                writer.write_all_at(bytes, *at).expect("written");
                *at += bytes.len() as u64;
            }
        }
    }

    fn begin_line(&mut self, dice: &mut Dice) -> String {
        let text = "x".repeat(dice.below(TEXT_MAX) as usize);
        let line = format!("{{\"sheet\":{},\"n\":{},\"text\":\"{text}\"", self.number, self.next);
        self.next += 1;
        line
    }

    /// A whole line, or the rest of one.
    fn line(&mut self, dice: &mut Dice) {
        let line = if self.open_line { "}\n".to_owned() } else { self.begin_line(dice) + "}\n" };
        self.open_line = false;
        self.write(line.as_bytes());
        self.note_end();
    }

    fn half_line(&mut self, dice: &mut Dice) {
        if self.open_line {
            return self.line(dice);
        }
        let line = self.begin_line(dice);
        self.write(line.as_bytes());
        self.open_line = true;
    }

    fn close_writer(&mut self) {
        self.writer = None;
    }

    /// The file gets another name. `late`: whoever holds it writes one line more, and no newline behind it.
    fn rename(&mut self, to: &Path, late: bool) {
        if !self.path.exists() {
            return;
        }
        if !late {
            self.end_line();
        }
        std::fs::rename(&self.path, to).expect("renamed");
        if late {
            let held = self.writer.take();
            let open = || OpenOptions::new().write(true).append(self.at.is_none()).open(to).expect("a log");
            self.writer = Some(held.unwrap_or_else(open));
            self.end_line();
            // Under a name that is followed the file may grow again: an unfinished line waits there.
            let end = if self.number.is_multiple_of(2) { "\n" } else { "" };
            let line = format!("{{\"sheet\":{},\"n\":{},\"text\":\"late\"}}{end}", self.number, self.next);
            self.next += 1;
            self.write(line.as_bytes());
            self.note_end();
        }
        self.end_content(Fate::Kept);
    }

    fn end_line(&mut self) {
        if self.open_line {
            self.write(b"}\n");
            self.note_end();
            self.open_line = false;
        }
    }

    fn note_end(&mut self) {
        let end = self.at.unwrap_or_else(|| self.writer.as_ref().map_or(0, |w| w.metadata().expect("a file").len()));
        self.content.ends.push(end);
    }

    fn copy_truncate(&mut self, to: &Path, memory: &mut Memory) {
        if !self.path.exists() {
            return;
        }
        self.end_line();
        self.content.was_known = memory.knows_content(&self.path);
        std::fs::copy(&self.path, to).expect("copied");
        OpenOptions::new().write(true).open(&self.path).expect("a log").set_len(0).expect("cut");
        // A writer that closes its file begins anew at the front, one that holds it leaves a hole.
        if self.writer.is_none() {
            self.at = self.at.map(|_| 0);
        }
        self.end_content_keeping_writer(Fate::Destroyed);
    }

    fn delete(&mut self, memory: &mut Memory) {
        if !self.path.exists() {
            return;
        }
        self.end_line();
        self.content.was_known = memory.knows_content(&self.path);
        std::fs::remove_file(&self.path).expect("removed");
        self.end_content(Fate::Destroyed);
    }

    fn end_content(&mut self, fate: Fate) {
        self.writer = None;
        self.at = self.at.map(|_| 0);
        self.end_content_keeping_writer(fate);
    }

    fn end_content_keeping_writer(&mut self, fate: Fate) {
        let next = Content { sheet: self.number, first: self.next, ..Content::default() };
        let done = std::mem::replace(&mut self.content, next);
        self.done.push(Content { fate, ..done });
    }
}
