//! The tailer, the checker and the records by which all else is judged: each must see what it is there to see.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Checker, Fate, Finding, Made, Mix, Order, Seen, Tailer, Verdict, eventually};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_tailer_reads_all_that_grows_and_finds_nothing_wrong() {
    let place = TempDir::new().expect("a directory");
    let dir = place.path().join("not/yet/there");
    let tailer = Tailer::follow(&dir);
    std::fs::create_dir_all(dir.join("deep")).expect("a directory");
    append(&dir.join("a_1"), b"one\ntw");
    append(&dir.join(".lock"), b"no output");
    eventually("the torn line is read", SOON, || (tailer.bytes() == 6).then_some(()));
    append(&dir.join("a_1"), b"o\n");
    append(&dir.join("deep/b_2"), b"three\n");
    let big = vec![b'x'; 3 << 20];
    append(&dir.join("a_1"), &big);
    append(&dir.join("a_1"), b"\n");
    let seen = tailer.finish();
    seen.assert_clean();
    let lines: Vec<(PathBuf, &[u8])> = seen.lines().map(|(path, line)| (path.to_owned(), line)).collect();
    let (a, b) = (dir.join("a_1"), dir.join("deep/b_2"));
    assert_eq!(lines, [(a.clone(), &b"one"[..]), (a.clone(), b"two"), (a, &big), (b, b"three")]);
}

#[test]
fn the_tailer_finds_every_misdeed() {
    type Misdeed = (&'static str, fn(&Path), fn(PathBuf) -> Vec<Finding>);
    let cases: [Misdeed; 5] = [
        (
            "shrink",
            |file| set_length(file, 4),
            |path| vec![Finding::Shrank { path: path.clone(), from: 8, to: 4 }, Finding::Rewritten { path, at: 4 }],
        ),
        (
            "rename",
            |file| std::fs::rename(file, file.with_file_name(".aside")).expect("rename"),
            |path| vec![Finding::Gone { path }],
        ),
        ("made anew", made_anew, |path| vec![Finding::Gone { path }]),
        ("torn", |file| append(file, b"half"), |path| vec![Finding::Torn { path, bytes: 4 }]),
        ("rewritten", rewrite, |path| vec![Finding::Rewritten { path, at: 5 }]),
    ];
    for (what, misdeed, expected) in cases {
        let place = TempDir::new().expect("a directory");
        let file = place.path().join("log_1");
        append(&file, b"one\ntwo\n");
        let tailer = Tailer::follow(place.path());
        eventually("the file is read", SOON, || (tailer.bytes() == 8).then_some(()));
        misdeed(&file);
        for _ in 0..2 {
            // A round that sees the misdeed, and one that has seen it before.
            let read = tailer.bytes();
            append(&place.path().join("log_2"), b"\n");
            eventually("a round is over", SOON, || (tailer.bytes() > read).then_some(()));
        }
        let seen = tailer.finish();
        assert_eq!(seen.findings, expected(file), "{what}");
    }
}

#[test]
fn the_checker_tells_lost_doubled_out_of_order_and_strangers() {
    let mut checker = Checker::new();
    for sequence in [0, 1, 3] {
        checker.expect(0, sequence);
        checker.expect(7, sequence);
    }
    let verdict = |files: &[(&str, &[(i32, u64)])], order| checker.check(&seen(files), order);
    let exact = [("log_9", &[(0, 0), (7, 0), (7, 1)][..]), ("log_10", &[(0, 1), (0, 3), (7, 3)])];
    let is_exact = verdict(&exact, Order::PerPartition);
    assert_eq!(is_exact, Verdict { found: 6, ..Verdict::default() }, "log_9 comes before log_10");
    is_exact.assert_exact();

    let swapped = [("log_11", exact[0].1), ("log_10", exact[1].1)];
    assert_eq!(verdict(&swapped, Order::PerPartition).out_of_order, [(0, 0), (7, 0)]);
    assert!(verdict(&swapped, Order::PerFile).is_exact(), "within each file all is in order");

    let wrong = [("log_1", &[(7, 1), (7, 0), (7, 3), (7, 3), (0, 0), (0, 2), (0, 4), (1, 0)][..])];
    let found = verdict(&wrong, Order::PerFile);
    assert_eq!(found.lost, [(0, 1), (0, 3)]);
    assert_eq!(found.doubled, [(7, 3)]);
    assert_eq!(found.out_of_order, [(7, 0)]);
    assert_eq!(found.strangers.len(), 3, "an unexpected sequence, one past the end, a partition nobody named");
    assert_eq!(found.found, 4);
    let text = found.to_string();
    assert!(text.contains("2 lost, at first [(0, 1), (0, 3)]") && text.contains("3 strangers"), "{text}");
}

#[test]
fn the_mix_goes_every_way_and_numbers_without_gaps() {
    let made: Vec<Made> = Mix::new(7, 3).take(20_000).collect();
    let again: Vec<Vec<u8>> = Mix::new(7, 3).take(20_000).map(|made| made.payload).collect();
    assert!(made.iter().map(|made| &made.payload).eq(&again), "the same seed gives the same records");
    let mut next = [0; 3];
    let (mut bytes, mut codes) = (0, std::collections::BTreeMap::new());
    for record in &made {
        assert_eq!(record.sequence, next[record.partition as usize]);
        next[record.partition as usize] += 1;
        bytes += record.payload.len();
        let code = match record.fate {
            Fate::Written => {
                let value: serde_json::Value = serde_json::from_slice(&record.payload).expect("JSON");
                assert_eq!(value["logs"]["p"], record.partition);
                assert_eq!(value["logs"]["s"], record.sequence);
                "written"
            }
            Fate::Filtered => "filtered",
            Fate::Parked(code) => code,
        };
        *codes.entry(code).or_insert(0) += 1;
    }
    assert!((450..550).contains(&(bytes / made.len())), "{} bytes a record", bytes / made.len());
    assert_eq!(codes.len(), 8, "written, filtered and six ways to be parked: {codes:?}");
    assert!((19_000..19_400).contains(&codes["written"]), "{codes:?}");
    assert!(Mix::new(7, 3).only_written().take(2_000).all(|made| made.fate == Fate::Written));
}

fn seen(files: &[(&str, &[(i32, u64)])]) -> Seen {
    let line =
        |(p, s): &(i32, u64)| format!("{{\"#type\":\"track\",\"properties\":{{\"p\":{p},\"s\":{s},\"x\":1}}}}\n");
    let file = |(name, marks): &(&str, &[(i32, u64)])| {
        (PathBuf::from(name), marks.iter().map(line).collect::<String>().into_bytes())
    };
    Seen { files: files.iter().map(file).collect(), findings: Vec::new() }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| file.write_all(bytes)).expect("append");
}

fn set_length(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).expect("truncate");
}

/// Another file under the same name.
fn made_anew(path: &Path) {
    let fresh = path.with_file_name(".fresh");
    File::create(&fresh).and_then(|mut file| file.write_all(b"one\ntwo\n")).expect("a file");
    std::fs::rename(fresh, path).expect("rename");
}

/// Same length, same inode, other bytes.
fn rewrite(path: &Path) {
    std::os::unix::fs::FileExt::write_all_at(&OpenOptions::new().write(true).open(path).expect("open"), b"W", 5)
        .expect("write");
}
