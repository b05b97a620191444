//! Alerts through the binary: each condition is brought about, is named once with its code, and is over when it is over.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::support::{Kafka, Mix, Part, Record, Running, SOON, Site, Tmpfs, kafka, left_out, written};
use serde_json::Value;

const RING_BYTES: u64 = 1 << 20;

fn site(topic: &str, process: &str, task: &str) -> Site {
    let mut site = Site::new(kafka().bootstrap());
    site.process(process).task("game", &[topic], task);
    site
}

#[test]
fn a_full_disk_is_said_once_reported_and_over_when_there_is_room() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let topic = kafka().create_topic("full", 1);
    kafka().produce(&topic, written(1, 1, 8_000).iter().map(Record::from));
    let site = site(&topic, "metrics_listen = \"127.0.0.1:0\"\nreport_to = \"cat >> reports; echo >> calls\"", "");
    let tmpfs = Tmpfs::mount(&site.out("game"), "size=1m");
    let mut run = site.start(&[]);
    let alert = site.await_alert("S02_SINK_DOWN", "game", "FATAL");
    let members: Vec<&str> = alert.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["uri", "level", "time", "task", "code", "msg"]);
    assert_eq!(alert["uri"], "/logmill/deliver");
    assert!(alert["msg"].as_str().is_some_and(|msg| msg.contains("No space left on device")), "{alert}");
    let web = site.web();
    let active = "logmill_alert_active{task=\"game\",code=\"S02_SINK_DOWN\"}";
    assert_eq!(web.number(active), Some(1.0));
    let health = web.get("/health");
    assert!(health.status == 503 && health.body.contains("S02_SINK_DOWN"), "{health:?}");
    // Through the whole chain, once, as it stands in the log.
    let reports = || std::fs::read_to_string(site.path("reports")).unwrap_or_default();
    site.awaited("the report", SOON, || reports().contains("S02_SINK_DOWN").then_some(()));
    let report: Value = serde_json::from_str(reports().trim()).expect("one JSON object");
    assert_eq!(report, alert);

    tmpfs.remount("size=100m");
    site.await_lines("game", 8_000, SOON);
    let over = site.await_alert("S02_SINK_DOWN", "game", "INFO");
    assert!(over["msg"].as_str().is_some_and(|msg| msg.starts_with("over after")), "{over}");
    site.awaited("its end is reported too", SOON, || (reports().lines().count() == 2).then_some(()));
    assert_eq!((web.number(active), web.get("/health").status), (None, 200));
    assert_eq!(site.alerts().iter().filter(|a| a["code"] == "S02_SINK_DOWN").count(), 2);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
}

#[test]
fn a_full_failure_queue_is_said() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("parked", 1);
    let made: Vec<_> = Mix::new(2, 1).take(2_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let site = site(&topic, "", "failures_max = 3\nreaders = 1");
    let run = site.start(&[]);
    let alert = site.await_alert("S03_FAILURES_FULL", "game", "FATAL");
    assert!(alert["msg"].as_str().is_some_and(|msg| msg.contains("3 records")), "{alert}");
    drop(run);
    // With more room it goes on, and nothing is said.
    let before = site.alerts().len();
    let text = std::fs::read_to_string(site.config()).expect("the configuration");
    let mut site = site;
    site.clear_tasks().task("game", &[&topic], "readers = 1");
    assert!(text.contains("failures_max"));
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(site.alerts().len(), before);
}

#[test]
fn a_lag_above_its_limit_is_said_and_over_when_caught_up() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("lag", 2);
    kafka().produce(&topic, written(3, 2, 6_000).iter().map(Record::from));
    let site = site(&topic, "lag_alert = 500", "rate_limit = 1000\nreaders = 1");
    let mut run = site.start(&[]);
    let alert = site.await_alert("S05_LAG", "game", "ERROR");
    assert!(alert["msg"].as_str().is_some_and(|msg| msg.contains("lag_alert is 500")), "{alert}");
    site.await_alert("S05_LAG", "game", "INFO");
    assert!(site.lines("game") >= 5_000, "{}", site.lines("game"));
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
}

#[test]
fn a_lag_that_grows_is_said_although_it_is_small() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("grows", 1);
    let site = site(&topic, "lag_alert_for = \"24s\"", "rate_limit = 1");
    let run = site.start(&[]);
    let mut mix = Mix::new(4, 1).only_written();
    site.awaited("S06_LAG_GROWS", 3 * SOON, || {
        kafka().produce(&topic, mix.by_ref().take(3).collect::<Vec<_>>().iter().map(Record::from));
        site.alerts().iter().any(|a| a["code"] == "S06_LAG_GROWS" && a["level"] == "WARN").then_some(())
    });
    drop(run);
}

#[test]
fn a_slow_batch_and_a_checkpoint_that_stands_still_are_said() {
    if left_out(&[Part::Kafka, Part::Strace]) {
        return;
    }
    let topic = kafka().create_topic("slow", 1);
    kafka().produce(&topic, written(5, 1, 500).iter().map(Record::from));
    let site = site(&topic, "max_batch_time = \"500ms\"", "checkpoint_interval = \"100ms\"");
    let trace = site.path("trace").display().to_string();
    let late = |calls: &str| format!("{calls}:delay_enter=3000000:when=1");
    let wrapper = |calls: &str| {
        let words = ["strace", "-f", "-o", &trace, "-e", "trace=writev,fdatasync", "--inject"];
        words.map(String::from).into_iter().chain([late(calls)]).collect::<Vec<_>>()
    };
    for (calls, code, level) in [("writev", "S04_SLOW_BATCH", "WARN"), ("fdatasync", "S07_STALLED", "ERROR")] {
        let words = wrapper(calls);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut run = site.start_under(&words, &[]);
        if calls == "fdatasync" {
            kafka().produce(&topic, written(6, 1, 500).iter().map(Record::from));
        }
        site.await_alert(code, "game", level);
        site.await_alert(code, "game", "INFO");
        run.kill9();
    }
}

#[test]
fn a_start_that_does_not_get_ready_is_said() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    // No broker is there: neither ready, nor a source.
    let free = TcpListener::bind("127.0.0.1:0").expect("an address");
    let nobody = free.local_addr().expect("an address").to_string();
    drop(free);
    let mut site = Site::new(&nobody);
    site.task("game", &["t"], "");
    let run = site.start(&[]);
    site.await_alert("S01_NOT_READY", "game", "FATAL");
    site.await_alert("S10_SOURCE_DOWN", "game", "ERROR");
    drop(run);

    // It does not come up at all.
    let mut site = Site::new(&nobody);
    site.process("report_to = \"cat > report\"").task("game", &["t"], "");
    std::fs::create_dir_all(site.path("data/lock")).expect("a directory in the way");
    assert_eq!(site.start(&[]).wait(SOON).code(), Some(1));
    let alert = site.await_alert("S01_NOT_READY", "", "FATAL");
    let report = std::fs::read_to_string(site.path("report")).expect("a report");
    assert_eq!(serde_json::from_str::<Value>(&report).expect("JSON"), alert);
}

#[test]
fn brokers_that_fall_silent_are_said_and_over_when_they_answer() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let own = Kafka::start(1);
    let topic = own.create_topic("silent", 1);
    own.produce(&topic, written(7, 1, 100).iter().map(Record::from));
    let mut site = Site::new(own.bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&[]);
    site.await_lines("game", 100, SOON);
    own.pause(1);
    site.await_alert("S10_SOURCE_DOWN", "game", "ERROR");
    own.resume(1);
    site.await_alert("S10_SOURCE_DOWN", "game", "INFO");
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
}

#[test]
fn a_partition_that_stops_is_said() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("stops", 1);
    kafka().produce(&topic, written(8, 1, 100).iter().map(Record::from));
    let site = site(&topic, "", "");
    let run = site.start(&[]);
    site.await_lines("game", 100, SOON);
    kafka().delete_topic(&topic);
    kafka().create_topic_named(&topic, 1, &[]);
    let alert = site.await_alert("S09_PARTITION_STOPPED", "game", "FATAL");
    assert!(alert["msg"].as_str().is_some_and(|msg| msg.contains(&format!("{topic}/0"))), "{alert}");
    drop(run);
}

#[test]
fn a_death_is_said_with_its_last_words() {
    if left_out(&[Part::Kafka, Part::Strace]) {
        return;
    }
    let topic = kafka().create_topic("dies", 1);
    kafka().produce(&topic, written(9, 1, 100).iter().map(Record::from));
    let site = site(
        &topic,
        "report_to = \"cat >> reports\"",
        "checkpoint_interval = \"100ms\"\nring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"",
    );
    let mut run = site.start(&[]);
    site.await_lines("game", 100, SOON);
    let mut strace = attach(&run, "fdatasync,fsync:error=EIO");
    let mut mix = Mix::new(12, 1).only_written();
    site.awaited("its end", SOON, || {
        kafka().produce(&topic, mix.by_ref().take(10).collect::<Vec<_>>().iter().map(Record::from));
        run.ended()
    });
    strace.wait().expect("strace's end");
    let alert = site.await_alert("S08_DIED", "", "FATAL");
    assert!(alert["msg"].as_str().is_some_and(|msg| msg.contains("a failed sync is never tried again")), "{alert}");

    // A thread that finds its memory damaged: while a slow disk takes a batch, its entry is written over in the ring.
    let mut run = site.start(&[]);
    site.await_log("started", SOON);
    let mut strace = attach(&run, "writev:delay_enter=300000");
    site.awaited("a thread dies", SOON, || {
        kafka().produce(&topic, mix.by_ref().take(10).collect::<Vec<_>>().iter().map(Record::from));
        for ring in files_below(&site.path("data")).filter(|p| p.to_string_lossy().contains("/ring.")) {
            // A start that goes back to its checkpoint makes other maps.
            let Ok(map) = std::fs::File::options().write(true).open(ring) else { continue };
            let header = map.metadata().expect("a map").len() - RING_BYTES;
            map.write_all_at(&[0xa5; RING_BYTES as usize], header).expect("damage");
        }
        run.ended()
    });
    strace.wait().expect("strace's end");
    let dies = || site.alerts().into_iter().find(|a| a["msg"].as_str().is_some_and(|msg| msg.contains(" dies: ")));
    let alert = site.awaited("the thread's last words", SOON, dies);
    assert_eq!((&alert["code"], &alert["level"]), (&Value::from("S08_DIED"), &Value::from("FATAL")));
    let reports = || std::fs::read_to_string(site.path("reports")).unwrap_or_default();
    site.awaited("both reports", SOON, || (reports().matches("S08_DIED").count() == 2).then_some(()));
}

/// strace on a running program, with an injection.
fn attach(run: &Running, inject: &str) -> Child {
    let calls = format!("trace={}", inject.split(':').next().unwrap_or_default());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &calls, "--inject", inject, "-p", &run.pid().to_string()]);
    strace.spawn().expect("strace")
}

fn files_below(dir: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path());
    let all: Vec<_> = entries.filter(|p| !p.is_symlink()).collect();
    Box::new(all.into_iter().flat_map(|p| if p.is_dir() { files_below(&p) } else { Box::new([p].into_iter()) }))
}

#[test]
fn a_report_that_hangs_holds_nobody_up() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("hangs", 1);
    kafka().produce(&topic, written(11, 1, 3_000).iter().map(Record::from));
    let process = "metrics_listen = \"127.0.0.1:0\"\nlag_alert = 1\nreport_to = \"echo $$ > shell; sleep 1000 & wait\"";
    let site = site(&topic, process, "rate_limit = 2000\nreaders = 1");
    let mut run = site.start(&[]);
    site.await_alert("S05_LAG", "game", "ERROR");
    site.await_lines("game", 3_000, SOON);
    site.await_log("an alert was not reported: report_to took longer", SOON);
    let web = site.web();
    assert!(web.number("logmill_reports_lost_total") >= Some(1.0));
    // Nothing of the first one is left.
    let shell = std::fs::read_to_string(site.path("shell")).expect("the shell's number");
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    assert!(shell.trim().parse::<i32>().is_ok());
}

#[test]
fn a_url_gets_the_same_object_by_post() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let desk = TcpListener::bind("127.0.0.1:0").expect("an address");
    let process = format!("report_to = \"http://{}/hook?a=b\"", desk.local_addr().expect("an address"));
    let mut site = Site::new("localhost:1");
    site.process(&process).task("game", &["t"], "");
    std::fs::create_dir_all(site.path("data/lock")).expect("a directory in the way");
    let mut run = site.start(&[]);
    desk.set_nonblocking(true).expect("a patient desk");
    let mut stream = site.awaited("a report", SOON, || desk.accept().ok()).0;
    stream.set_nonblocking(false).expect("a connection");
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.ends_with('}') {
        let n = stream.read(&mut part).expect("a request");
        text += std::str::from_utf8(&part[..n]).expect("text");
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("an answer");
    drop(stream);
    assert!(
        text.starts_with("POST /hook?a=b HTTP/1.1\r\n") && text.contains("content-type: application/json"),
        "{text}"
    );
    let object: Value = serde_json::from_str(text.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!(object["code"], "S01_NOT_READY");
    assert_eq!(run.wait(SOON).code(), Some(1));
    assert!(!site.log().contains("was not reported"), "{}", site.log());
}
