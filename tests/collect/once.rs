//! `--once`: files to their ends, and the exit code.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

use super::course::SOON;
use crate::support::{Mock, Part, Running, kafka, left_out};

/// Runs `logmill collect --once PATH TOPIC` against the test's broker.
fn once(path: &Path, topic: &str, more: &[&str]) -> Output {
    once_by(["--brokers".into(), kafka().bootstrap().into()], path, topic, more)
}

fn once_by(brokers: [OsString; 2], path: &Path, topic: &str, more: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.arg("collect").args(brokers).arg("--once").arg(path).arg(topic).args(more);
    program.output().expect("logmill")
}

#[test]
fn a_file_is_sent_once_and_confirmed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let topic = kafka().create_topic("once", 3);
    let path = dir.path().join("a.log");
    let lines: Vec<Vec<u8>> = (0..50_000).map(|n| format!("{n} line \u{e9}\r").into_bytes()).collect();
    let mut text = lines.join(&b'\n');
    text.extend(b"\n\n\xff\0 no newline");
    std::fs::write(&path, &text).expect("a file");
    let said = once(&path, &topic, &[]);
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("confirmed 50,002 lines of 1 file"), "{said:?}");
    let values = kafka().values(&topic);
    let used: Vec<&Vec<_>> = values.iter().filter(|partition| !partition.is_empty()).collect();
    assert_eq!(used.len(), 1, "one file goes to one partition");
    let mut wanted = lines;
    wanted.extend([Vec::new(), b"\xff\0 no newline".to_vec()]);
    assert!(*used[0] == wanted, "{} lines came", used[0].len());
}

#[test]
fn brokers_that_speak_too_little_get_their_lines_from_librdkafka() {
    let mock = Mock::start(1, "spoken", 1);
    mock.produce_is_at_most(8);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.log");
    std::fs::write(&path, "1\n2\n").expect("a file");
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["collect", "--brokers", &mock.bootstrap(), "--once"]).arg(&path).arg("spoken");
    let mut run = Running::start(program, dir.path().join("log"));
    assert!(run.wait(SOON).success());
    let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
    assert!(log.contains("it does not speak Produce version 9, as Kafka 2.8 does"), "{log}");
    assert!(log.contains("librdkafka sends the lines from now on"), "{log}");
}

/// To the same partition, in every compression; librdkafka reads what the native client has packed.
#[test]
fn either_client_sends_the_same() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let topic = kafka().create_topic("clients", 5);
    let path = dir.path().join("a.log");
    let lines: Vec<Vec<u8>> = (0..3_000).map(|n| format!("{n} of many lines").into_bytes()).collect();
    std::fs::write(&path, lines.join(&b'\n')).expect("a file");
    let said = once_by(kafka().by_librdkafka(dir.path()), &path, &topic, &[]);
    assert!(said.status.success(), "{said:?}");
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let said = once(&path, &topic, &["--compression", codec]);
        assert!(said.status.success(), "{codec}: {said:?}");
    }
    let values = kafka().values(&topic);
    let used: Vec<&Vec<_>> = values.iter().filter(|partition| !partition.is_empty()).collect();
    assert_eq!(used.len(), 1, "one file goes to one partition");
    let wanted: Vec<_> = (0..=codecs.len()).flat_map(|_| lines.clone()).collect();
    assert!(*used[0] == wanted, "{} lines came", used[0].len());
}

#[test]
fn what_cannot_be_sent_is_told_by_the_exit_code() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("once", 1);
    for (path, words) in [("/nowhere/a.log", "there is no such file"), ("/dev/null", "no regular file")] {
        let said = once(Path::new(path), &topic, &[]);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains(words), "{said:?}");
    }
    let said = once(Path::new("/etc/passwd"), &topic, &["--compression", "tar"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("\"tar\" is no compression"), "{said:?}");
}
