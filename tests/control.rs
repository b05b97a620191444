//! The control socket of a running program under clients of every kind.

use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Part, Record, Running, SOON, Said, Site, eventually, kafka, left_out, written};
use logmill::ctl::frame::REQUEST_MAX;
use logmill::ctl::server::{CONNECTIONS_MAX, SILENCE_MAX};
use logmill::sys::file;

const NOBODY: u32 = 65_534;
/// Whoever runs this reaches the limit of others only as root.
fn is_root() -> bool {
    logmill::sys::socket::own_uid() == 0
}

/// A program that waits for records of a topic with this stem.
fn started(stem: &str) -> (String, Site, Running) {
    let topic = kafka().create_topic(stem, 1);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let run = site.start(&[]);
    site.await_socket(SOON);
    (topic, site, run)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn connect(site: &Site) -> UnixStream {
    UnixStream::connect(site.socket()).expect("the socket")
}

/// The old form as any script sends it: without a newline, and the sending end stays open.
#[test]
fn the_old_form_is_answered_with_an_integer_or_a_text() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (topic, site, _run) = started("old");
    let old = |name: &str| {
        String::from_utf8(site.exchange(format!(r#"{{"RpcFuncName":"{name}","Params":[]}}"#).as_bytes())).expect("text")
    };
    site.awaited("a lag", SOON, || (old("KafkaLag") == "0\n").then_some(()));
    assert_eq!(old("FailureQueueCount"), "0\n");
    let table = old("OffsetChecker");
    assert!(table.starts_with(".---.") && table.contains(&topic) && table.ends_with("'\n"), "{table}");
    let asked = Instant::now();
    assert_eq!(old("Whatever"), "there is no function Whatever\n");
    assert!(asked.elapsed() < SILENCE_MAX / 2, "the connection is closed behind the answer");
}

#[test]
fn the_socket_is_private_and_goes_with_the_program() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (_, site, mut run) = started("modes");
    assert_eq!((mode(&site.socket()), mode(&site.path("run"))), (0o600, 0o750));

    let mut second = Site::new(kafka().bootstrap());
    second.process(&format!("socket = {:?}", site.socket())).task("other", &[&kafka().create_topic("second", 1)], "");
    let mut refused = second.start(&[]);
    assert_eq!(refused.wait(SOON).code(), Some(1));
    let told = format!("process {} listens at {}", run.pid(), site.socket().display());
    assert!(second.log().contains(&told), "{}", second.log());

    run.kill9();
    assert!(site.socket().exists(), "a kill leaves it behind");
    let mut run = site.start(&[]);
    site.await_socket(SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    assert!(!site.socket().exists());

    std::fs::write(site.socket(), "precious").expect("a file in its place");
    assert_eq!(site.start(&[]).wait(SOON).code(), Some(1));
    assert!(site.log().contains("is no socket"), "{}", site.log());
    assert_eq!(std::fs::read_to_string(site.socket()).expect("the file"), "precious");
}

#[test]
fn what_is_no_request_is_refused_and_several_are_answered_in_turn() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (_, site, _run) = started("garbage");
    let refused = |bytes: &[u8]| {
        let reply = String::from_utf8(site.exchange(bytes)).expect("text");
        assert!(reply.starts_with("{\"error\":") && reply.lines().count() == 1, "{reply}");
    };
    refused(b"GET / HTTP/1.1\r\n\r\n");
    refused(&[0xff; 100]);
    refused(b"{\"command\":\n");
    refused(format!("{{\"x\":\"{}\"}}", "y".repeat(REQUEST_MAX)).as_bytes());
    let mut stream = connect(&site);
    let longest = format!("{{\"command\":\"{}\"}}", "y".repeat(REQUEST_MAX - 14));
    assert_eq!(longest.len(), REQUEST_MAX);
    stream.write_all(longest.as_bytes()).expect("sent");
    stream
        .write_all(b"\n{\"command\":\"lag\"}{\"command\":\"failures_count\"} {\"command\":\"offsets\"}")
        .expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut replies = String::new();
    stream.read_to_string(&mut replies).expect("replies");
    let replies: Vec<&str> = replies.lines().collect();
    assert!(replies.len() == 4 && replies[0].contains("unknown variant"), "{replies:?}");
    assert!(replies[2] == "{\"ok\":0}" && replies[3].starts_with("{\"ok\":[{\"task\":\"game\""), "{replies:?}");
}

/// Whoever says nothing, says half of it, or does not listen is parted from; others are served meanwhile.
#[test]
fn silent_clients_half_requests_and_clients_that_never_read_are_cut() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (_, site, _run) = started("silent");
    let silent = connect(&site);
    let mut half = connect(&site);
    half.write_all(b"{\"command\":\"sta").expect("sent");
    // It asks without end and takes no reply.
    let deaf = connect(&site);
    deaf.set_nonblocking(true).expect("set");
    let mut asked = 0;
    while (&deaf).write_all(b"{\"command\":\"status\"}\n").is_ok() {
        asked += 1;
    }
    assert!(asked > 100);
    let began = Instant::now();
    for mut cut in [silent, half] {
        cut.set_read_timeout(Some(SILENCE_MAX * 2)).expect("set");
        assert_eq!(cut.read(&mut [0; 64]).expect("its end"), 0);
        assert_eq!(site.millctl(&["status"]).code, 0);
    }
    assert!(began.elapsed() >= SILENCE_MAX - Duration::from_secs(5), "they have their time");
    let is_cut = || match (&deaf).write(b"{\"command\":\"status\"}\n") {
        Err(e) if e.kind() != ErrorKind::WouldBlock => Some(()),
        _ => None,
    };
    eventually("the client that never reads is cut", SILENCE_MAX * 3, is_cut);
}

#[test]
fn ten_thousand_connections_keep_nobody_out_and_the_road_flows() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (topic, site, run) = started("crowd");
    let crowd = 10_000;
    assert!(file::open_files_max() > crowd + 500, "the limit of open files is too low for this test");
    let made = written(1, 1, 2_000);
    let mut open = Vec::new();
    for number in 0..crowd {
        open.push(connect(&site));
        if number % 1_000 == 0 {
            assert_eq!(site.millctl(&["status"]).code, 0, "with {number} connections");
            kafka().produce(&topic, made[number / 5..number / 5 + 200].iter().map(Record::from));
        }
    }
    assert_eq!(site.millctl(&["failures", "count"]).line(), "0");
    site.await_lines("game", made.len(), SOON);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", run.pid())).expect("its files").count();
    assert!(descriptors < CONNECTIONS_MAX + 150, "{descriptors}");
    drop(open);
    assert_eq!(site.millctl(&["status"]).code, 0);
}

/// A program that hangs keeps no monitor.
#[test]
fn a_stopped_program_is_given_up_in_time() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (_, site, run) = started("hangs");
    run.signal(libc::SIGSTOP);
    let commands = [["lag"].as_slice(), &["failures", "count"], &["status"], &["stop"]];
    let children = commands.map(|words| {
        let mut command = site.millctl_command(words);
        command.arg("--socket").arg(site.socket()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).spawn().expect("millctl")
    });
    for (words, child) in commands.iter().zip(children) {
        let said = Said::from(child.wait_with_output().expect("its end"));
        let number = if words.len() == 2 || words[0] == "lag" { "-1\n" } else { "" };
        assert_eq!((said.code, &*said.out), (4, number), "{words:?} {said:?}");
        assert!(said.err.contains("has not answered"), "{said:?}");
    }
    // What needs no running program works all the same.
    assert_eq!(site.millctl(&["lag"]).line(), "0");
    run.signal(libc::SIGCONT);
    site.awaited("an answer", SOON, || (site.millctl(&["status"]).code == 0).then_some(()));
}

#[test]
fn other_users_are_refused_unless_they_are_named() {
    if left_out(&[Part::Kafka]) || !is_root() {
        return;
    }
    let open_up = |site: &Site| {
        for path in [site.path(""), site.path("run")] {
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("set");
        }
        let program = site.path("millctl");
        // Not a copy: a file that was open for writing when another test forked cannot be run at once.
        std::fs::hard_link(env!("CARGO_BIN_EXE_millctl"), &program).expect("linked");
        program
    };
    let as_nobody = |site: &Site, program: &Path| {
        let mut command = std::process::Command::new(program);
        command.args(["status", "--socket"]).arg(site.socket()).uid(NOBODY).gid(NOBODY);
        Said::from(command.output().expect("millctl"))
    };
    let (topic, site, _run) = started("users");
    let program = open_up(&site);
    let said = as_nobody(&site, &program);
    assert!(said.code == 1 && said.err.contains("Permission denied"), "{said:?}");
    std::fs::set_permissions(site.socket(), Permissions::from_mode(0o666)).expect("set");
    let said = as_nobody(&site, &program);
    assert!(said.code == 1 && said.err.contains("user 65534 may not use this socket"), "{said:?}");

    let mut named = Site::new(kafka().bootstrap());
    named.process(&format!("control_users = [\"root\", {NOBODY}]")).task("game", &[&topic], "");
    let _run = named.start(&[]);
    named.await_socket(SOON);
    let program = open_up(&named);
    assert_eq!(as_nobody(&named, &program).code, 0);
    assert_eq!(named.millctl(&["status"]).code, 0);

    let mut unknown = Site::new(kafka().bootstrap());
    unknown.process("control_users = [\"no_such_user\"]").task("game", &[&topic], "");
    assert_eq!(unknown.start(&[]).wait(SOON).code(), Some(1));
    assert!(unknown.log().contains("there is no user no_such_user"), "{}", unknown.log());
}
