//! The numbers of the running program through the binary: what Prometheus, a load balancer and a person's browser see.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::{self, Fate, Mix, Part, Record, SOON, Site, Web, kafka, left_out, written};
use serde_json::Value;

fn site(topic: &str, lines: &str) -> Site {
    let mut site = Site::new(kafka().bootstrap());
    site.process("metrics_listen = \"127.0.0.1:0\"").task("game", &[topic], lines);
    let paths = format!("paths = [{:?}]\ntopic = {topic:?}", site.path("logs/*.log"));
    site.section("collect.web", &paths);
    site
}

/// Runs for a while, with something in every family.
fn busy_site(topic: &str) -> (Site, support::Running, Web) {
    let site = site(topic, "checkpoint_interval = \"200ms\"");
    let run = site.start(&[]);
    let web = site.web();
    (site, run, web)
}

#[test]
fn the_numbers_are_those_of_the_run() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("numbers", 2);
    let made: Vec<_> = Mix::new(1, 2).take(5_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let (site, run, web) = busy_site(&topic);
    let count = |wanted: fn(&Fate) -> bool| made.iter().filter(|m| wanted(&m.fate)).count() as f64;
    let fates = [
        ("written", count(|f| matches!(f, Fate::Written))),
        ("filtered", count(|f| matches!(f, Fate::Filtered))),
        ("parked", count(|f| matches!(f, Fate::Parked(_)))),
    ];
    for (result, expected) in fates {
        assert!(expected > 0.0);
        let name = format!("logmill_records_total{{task=\"game\",result=\"{result}\"}}");
        site.awaited(&name, SOON, || (web.number(&name) == Some(expected)).then_some(()));
    }
    for partition in 0..2 {
        let name = format!("logmill_lag_records{{task=\"game\",topic=\"{topic}\",partition=\"{partition}\"}}");
        site.awaited(&name, SOON, || (web.number(&name) == Some(0.0)).then_some(()));
        let next = format!("logmill_next_offset{{task=\"game\",topic=\"{topic}\",partition=\"{partition}\"}}");
        let high = kafka().watermarks(&topic)[partition].1 as f64;
        site.awaited(&next, SOON, || (web.number(&next) == Some(high)).then_some(()));
    }
    // Every line that was written has an age, and all of them are old: the records say so themselves.
    let lines = fates[0].1 + fates[2].1;
    let ages = "logmill_record_age_seconds_count{task=\"game\"}";
    site.awaited(ages, SOON, || (web.number(ages) == Some(lines)).then_some(()));
    let sum = web.number("logmill_record_age_seconds_sum{task=\"game\"}").expect("a sum");
    assert!(sum > lines * 3600.0, "{sum} s for {lines} lines");
    let bytes = |name: &str| web.number(&format!("{name}{{task=\"game\"}}")).expect(name);
    assert_eq!(bytes("logmill_batch_bytes_sum"), bytes("logmill_written_bytes_total"));
    assert_eq!(bytes("logmill_batch_records_sum"), made.len() as f64);
    assert_eq!(bytes("logmill_failures"), fates[2].1);
    assert!(web.number("logmill_ring_size_bytes{task=\"game\",reader=\"0\"}") > Some(0.0));
    site.awaited("a checkpoint", SOON, || (bytes("logmill_checkpoint") > 1.0).then_some(()));
    let threads = web.get("/metrics").body;
    for thread in ["r0-game", "r1-game", "w0-game", "watch", "http"] {
        let wanted = format!("logmill_thread_cpu_seconds_total{{thread=\"{thread}\"}} ");
        assert!(threads.contains(&wanted), "{wanted} in {threads}");
    }
    drop(run);
}

#[test]
fn prometheus_accepts_the_text_and_the_dashboard_asks_for_what_there_is() {
    if left_out(&[Part::Kafka, Part::Promtool]) {
        return;
    }
    let topic = kafka().create_topic("dashboard", 1);
    let made: Vec<_> = Mix::new(2, 1).take(2_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let (site, run, web) = busy_site(&topic);
    let parked = "logmill_records_total{task=\"game\",result=\"parked\"}";
    site.awaited("parked records", SOON, || (web.number(parked) > Some(0.0)).then_some(()));
    let lag = format!("logmill_lag_records{{task=\"game\",topic=\"{topic}\",partition=\"0\"}}");
    site.awaited("a known lag", SOON, || web.number(&lag));
    let files = "logmill_collect_running{task=\"web\"}";
    site.awaited("a collect task", SOON, || (web.number(files) == Some(1.0)).then_some(()));
    let text = web.get("/metrics").body;

    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/promtool");
    let mut promtool = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the numbers");
    let said = promtool.wait_with_output().expect("promtool");
    let words = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && words.is_empty(), "{words}\n{text}");

    let families: BTreeSet<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the dashboard")).expect("JSON");
    let mut asked = BTreeSet::new();
    expressions(&dashboard, &mut asked);
    assert!(asked.len() > 10, "{asked:?}");
    for expression in asked {
        let names = expression.split(|c: char| !c.is_alphanumeric() && c != '_');
        let names: Vec<_> = names.filter(|n| n.starts_with("logmill_") || n.starts_with("process_")).collect();
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            assert!(families.contains(family) || families.contains(name), "{name} of {expression} is no metric");
        }
    }
    drop(run);
}

fn expressions(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(expression)) = members.get("expr") {
                found.insert(expression.clone());
            }
            members.values().for_each(|v| expressions(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| expressions(v, found)),
        _ => {}
    }
}

#[test]
fn health_says_what_is_missing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = format!("later_{}", std::process::id());
    let site = site(&topic, "");
    let mut run = site.start(&[]);
    let web = site.web();
    let waits = site.awaited("it waits for the topic", SOON, || {
        let health = web.get("/health");
        health.body.contains("does not exist yet").then_some(health)
    });
    assert_eq!(waits.status, 503);
    let said: Value = serde_json::from_str(&waits.body).expect("JSON");
    assert_eq!((&said["live"], &said["ready"]), (&Value::Bool(true), &Value::Bool(false)), "{said}");
    assert_eq!(web.number("logmill_ready"), Some(0.0));
    kafka().create_topic_named(&topic, 1, &[]);
    site.awaited("it is ready", SOON, || (web.get("/health").status == 200).then_some(()));
    assert_eq!(web.number("logmill_ready"), Some(1.0));
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_draws_what_is_measured() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("page", 1);
    kafka().produce(&topic, written(3, 1, 1_000).iter().map(Record::from));
    let (site, run, web) = busy_site(&topic);
    let page = web.get("/");
    assert!(page.status == 200 && page.head.contains("text/html"), "{}", page.head);
    for outside in ["http://", "https://", "//cdn", "src=", "@import", "url("] {
        assert!(!page.body.contains(outside), "{outside}");
    }
    let samples = |after: u64| -> Value {
        serde_json::from_str(&web.get(&format!("/samples?after={after}")).body).expect("JSON")
    };
    let rows = site.awaited("the lag of a task at rest", SOON, || {
        let rows = samples(0)["tasks"]["game"].as_array()?.clone();
        (rows.last()?[2] == 0).then_some(rows)
    });
    let newest = rows.last().expect("a row")[0].as_u64().expect("a second");
    let younger = samples(newest)["tasks"]["game"].as_array().expect("rows").clone();
    assert!(younger.iter().all(|row| row[0].as_u64() > Some(newest)), "{younger:?}");
    drop(run);
}

#[test]
fn clients_that_are_slow_or_many_cost_nobody_anything() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("clients", 1);
    let (site, mut run, web) = busy_site(&topic);
    assert_eq!(web.get("/nothing").status, 404);
    assert_eq!(web.say("POST /metrics HTTP/1.1\r\n\r\n").status, 405);
    assert_eq!(web.say("\u{1}garbage\r\n\r\n").status, 400);
    assert_eq!(web.say(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(9_000))).status, 431);
    let head = web.say("HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.status == 200 && head.body.is_empty(), "{head:?}");

    // Half requests, and one that asks and never reads.
    let mut silent: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(&web.address).expect("a connection")).collect();
    for (at, stream) in silent.iter_mut().enumerate() {
        let _ = stream.write_all(if at % 2 == 0 { b"GET /met" } else { b"GET /metrics HTTP/1.1\r\n\r\n" });
    }
    let threads = || std::fs::read_dir(format!("/proc/{}/task", run.pid())).expect("threads").count();
    assert!(threads() < 60, "{}", threads());
    kafka().produce(&topic, written(4, 1, 2_000).iter().map(Record::from));
    site.await_lines("game", 2_000, SOON);
    // All of them are cut, without a word from us.
    for stream in &mut silent {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(web.get("/health").status, 200);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
}

#[test]
fn an_address_in_use_is_refused_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = taken.local_addr().expect("an address").to_string();
    let mut site = Site::new("localhost:1");
    site.process(&format!("metrics_listen = \"{address}\"")).task("game", &["t"], "");
    let began = Instant::now();
    assert_eq!(site.start(&[]).wait(SOON).code(), Some(1));
    assert!(began.elapsed() < SOON && site.log().contains(&format!("cannot listen on {address}")), "{}", site.log());
}
