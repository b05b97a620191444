//! `logmill verify` through the binary: files that are exact, that miss a line, that hold one twice, out of order, or
//! one of nobody's.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{self, Made, Mix, Part, Record, SOON, Site, kafka, left_out};

const RECORDS: usize = 5_000;

/// Exit code and stdout of `logmill verify`.
fn verify(site: &Site, dir: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
    command.arg("verify").args(dir).arg("--config").arg(site.config()).args(["--task", "game"]);
    let output = command.output().expect("logmill verify");
    let said = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// The largest output file, and its lines.
fn a_file(site: &Site) -> (PathBuf, Vec<String>) {
    let paths = site.out("game").read_dir().expect("files").map(|entry| entry.expect("a file").path());
    let lines = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("log."));
    let path = paths.filter(lines).max_by_key(|path| path.metadata().expect("a file").len()).expect("a file");
    let text = std::fs::read_to_string(&path).expect("lines");
    (path, text.lines().map(str::to_owned).collect())
}

#[test]
fn files_are_held_against_the_topic() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = kafka();
    let topic = kafka.create_topic("verify", 3);
    let made: Vec<Made> = Mix::new(5, 3).take(RECORDS).collect();
    let mut site = Site::new(kafka.bootstrap());
    site.task("game", &[&topic], "rotate_size = \"256KiB\"\ncheckpoint_interval = \"200ms\"");
    for half in made.chunks(RECORDS / 2) {
        kafka.produce(&topic, half.iter().map(Record::from));
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    }
    let (code, said) = verify(&site, None);
    assert_eq!(code, Some(0), "{said}");
    let written = made.iter().filter(|m| m.fate == support::Fate::Written).count();
    assert!(said.contains(&format!("{RECORDS} records = {written} lines + ")), "{said}");
    assert!(said.contains(&format!("{written} lines: 0 lost, 0 doubled, 0 out of order, 0 that no record")), "{said}");

    let (path, lines) = a_file(&site);
    let mark = |line: &String| support::mark(line.as_bytes()).expect("a line of ours");
    let place = |line: &String| format!("{topic}/{}@{}", mark(line).0, mark(line).1);
    let damaged = |lines: &[String]| {
        let copy = site.path("copy");
        let _ = std::fs::remove_dir_all(&copy);
        assert!(Command::new("cp").arg("-r").arg(site.out("game")).arg(&copy).status().expect("cp").success());
        let file = copy.join(path.file_name().expect("a name"));
        std::fs::remove_file(&file).expect("the copy");
        std::fs::write(file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("the copy");
        verify(&site, Some(&copy))
    };
    let mut less = lines.clone();
    let line = less.remove(7);
    let (code, said) = damaged(&less);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 lost, 0 doubled, 0 out of order, 0 that no record"), "{said}");
    assert!(said.contains(&format!("lost: {}\n", place(&line))), "{said}");

    // In the place of a line that is not shorter: what follows stays within the recorded length.
    let mut twice = lines.clone();
    let at = (0..).find(|at| lines[*at].len() <= lines[*at + 1].len()).expect("two lines");
    twice[at + 1] = twice[at].clone();
    let (code, said) = damaged(&twice);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 lost, 1 doubled, 0 out of order"), "{said}");
    assert!(said.contains(&format!("doubled: {}, ", place(&lines[at]))), "{said}");

    let mut order = lines.clone();
    let of_one = |line: &&String| mark(line).0 == mark(&lines[3]).0;
    let next = lines.iter().skip(4).find(of_one).and_then(|l| lines.iter().position(|m| m == l)).expect("a second");
    order.swap(3, next);
    let (code, said) = damaged(&order);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("0 lost, 0 doubled, 1 out of order, 0 that"), "{said}");

    let mut more = lines.clone();
    more[5] = more[5].replace("\"p\":", "\"P\":");
    let (code, said) = damaged(&more);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 lost, 0 doubled, 0 out of order, 1 that no record"), "{said}");

    let run = site.start(&[]);
    let started = || (site.log().matches("started: 1 task").count() == 3).then_some(());
    site.awaited("it runs", SOON, started);
    site.awaited("verify is refused while it runs", SOON, || {
        let (code, said) = verify(&site, None);
        (code == Some(1) && said.contains(&format!("in use by logmill, process {}", run.pid()))).then_some(())
    });
}
