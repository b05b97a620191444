//! Connections that break while lines are on their way.

use std::io::Write;
use std::process::Command;

use tempfile::TempDir;

use super::course::{PARTITIONS, SOON};
use crate::support::{Line, Part, Proxy, Running, cluster, eventually, left_out};

/// Lines at a time: some batches.
const LINES: usize = 5_000;

/// A batch whose answer is lost goes out again with its number: the broker has it, or takes it, once.
#[test]
fn what_was_on_its_way_when_a_connection_broke_comes_once_and_in_order() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let proxy = Proxy::start();
    let topic = proxy.kafka().create_topic("torn", PARTITIONS);
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let front = proxy.bootstrap();
    let quick = "\"socket.timeout.ms\" = \"1000\", \"reconnect.backoff.max.ms\" = \"200\"";
    std::fs::write(path("cluster.toml"), cluster(&front, quick)).expect("written");
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["collect", "--config"]).arg(path("cluster.toml")).arg("--follow").arg(path("a.log")).arg(&topic);
    program.arg("--data-dir").arg(path("data")).env("RUST_LOG", "debug");
    let mut run = Running::start(program, path("log"));
    let log = || std::fs::read_to_string(path("log")).unwrap_or_default();
    let mut wanted: Vec<Vec<u8>> = Vec::new();
    let mut file = std::fs::File::create(path("a.log")).expect("a file");
    let mut write = |wanted: &mut Vec<Vec<u8>>| {
        let from = wanted.len();
        wanted.extend((from..from + LINES).map(|n| format!("{n} {}", "of many ".repeat(20)).into_bytes()));
        file.write_all(&[&wanted[from..].join(&b'\n')[..], b"\n"].concat()).expect("written");
    };
    for line in [Line::Cut, Line::HalfOpen, Line::Cut, Line::HalfOpen, Line::Cut] {
        write(&mut wanted);
        let came = || proxy.kafka().records(&topic, PARTITIONS).unwrap_or(0) as usize;
        eventually("the lines before", SOON, || (came() > wanted.len() - LINES).then_some(()));
        let broken = || log().matches(&format!("{front}: ")).count();
        let before = broken();
        proxy.set(line);
        write(&mut wanted);
        eventually("the connection is missed", SOON, || (broken() > before).then_some(()));
        proxy.set(Line::Open);
        eventually("all lines", SOON, || (came() >= wanted.len()).then_some(()));
    }
    run.term();
    assert!(run.wait(SOON).success(), "{}", log());
    let values = proxy.kafka().values(&topic);
    let used: Vec<&Vec<_>> = values.iter().filter(|partition| !partition.is_empty()).collect();
    assert_eq!(used.len(), 1, "one file goes to one partition");
    assert!(*used[0] == wanted, "{} of {} lines came", used[0].len(), wanted.len());
}
