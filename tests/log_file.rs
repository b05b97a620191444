//! The log through the binary: levels, rotation, stacks; and a disk or terminal that fails is no matter of the road.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use crate::support::{self, Mix, Part, Record, SOON, Site, Tmpfs, kafka, left_out, written};

/// Some lines each second.
const TALKATIVE: &str = "checkpoint_interval = \"100ms\"";

fn site(topic: &str, process: &str) -> Site {
    let mut site = Site::new(kafka().bootstrap());
    site.process(process).task("game", &[topic], TALKATIVE);
    site
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_log_file_rotates_at_its_size_and_few_are_kept() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("rotates", 1);
    let process = "log_file = \"log/a.log\"\nlog_level = \"debug\"\nlog_rotate_size = \"4KiB\"\nlog_keep = 2";
    let site = site(&topic, process);
    let mut run = site.start(&[]);
    let mut firsts = Vec::new();
    // Three turns, so that the oldest has to go.
    for _ in 0..3 {
        let first = site.awaited("the log rotates", SOON, || {
            let first = read(site.path("log/a.log.1")).lines().next()?.to_string();
            (firsts.last() != Some(&first)).then_some(first)
        });
        firsts.push(first);
    }
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    let mut names: Vec<_> = std::fs::read_dir(site.path("log")).expect("logs").collect();
    let names: Vec<_> = names.drain(..).map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names {
        let path = site.path("log").join(name);
        let text = read(path.clone());
        assert!(text.len() <= 4096 && text.ends_with('\n') && text.starts_with("[20"), "{path:?}: {text}");
    }
    assert!(firsts[0].contains("INFO") && site.log().is_empty(), "{firsts:?}, stderr: {}", site.log());
    assert!(names.iter().any(|name| read(site.path("log").join(name)).contains("told to stop")));
}

#[test]
fn the_level_is_the_file_s_unless_the_environment_says_otherwise() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("levels", 1);
    let site = site(&topic, "log_level = \"warn\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success());
    assert_eq!(site.log(), "");
    assert!(site.start_under(&["env", "RUST_LOG=logmill=debug"], &["--exit-at-end"]).wait(SOON).success());
    assert!(site.log().contains(" DEBUG logmill::"), "{}", site.log());
}

#[test]
fn a_stack_follows_from_its_level_up() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("stack", 1);
    let mut site = site(&topic, "stack_level = \"error\"");
    let bad = Record { partition: 0, payload: Some(b"{".to_vec()), timestamp_ms: 1 };
    kafka().produce(&topic, [bad]);
    let mut run = site.start(&[]);
    // To find the names in a stack takes the log a while; an end does not wait for it.
    site.await_log("src/reader/outlet.rs:", SOON);
    run.term();
    assert!(run.wait(SOON).success());
    let log = site.log();
    let (_, stack) = log.split_once("parked E0").expect("a parked record");
    assert!(stack.contains("count_failure") && stack.contains("src/reader/outlet.rs:"), "{log}");
    let info = log.lines().position(|line| line.contains("INFO")).expect("an INFO line");
    assert!(log.lines().nth(info + 1).is_some_and(|line| !line.starts_with(' ')), "{log}");
    site.clear_tasks();
}

#[test]
fn a_log_file_that_is_removed_comes_back() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("removed", 1);
    let site = site(&topic, "log_file = \"a.log\"\nlog_level = \"debug\"");
    let mut run = site.start(&[]);
    let talks = || read(site.path("a.log")).contains("is durable").then_some(());
    site.awaited("the log grows", SOON, talks);
    std::fs::remove_file(site.path("a.log")).expect("the log");
    site.awaited("the log is back", SOON, talks);
    run.term();
    assert!(run.wait(SOON).success());
    assert!(read(site.path("a.log")).contains("told to stop"));
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let topic = kafka().create_topic("full", 1);
    let site = site(&topic, "log_file = \"log/a.log\"\nlog_level = \"debug\"\nmetrics_listen = \"127.0.0.1:0\"");
    let dir = site.path("log");
    let disk = Tmpfs::mount(&dir, "size=8k");
    let mut run = site.start(&[]);
    let log = || read(dir.join("a.log"));
    site.awaited("the numbers", SOON, || log().contains("numbers: ").then_some(()));
    let said = log();
    let address =
        said.split_once("numbers: http://").and_then(|(_, rest)| rest.split_once("/metrics")).expect("said").0;
    let web = support::Web { address: address.into() };
    site.awaited("lines are lost", SOON, || (web.number("logmill_log_lines_lost_total") > Some(5.0)).then_some(()));
    kafka().produce(&topic, written(1, 1, 2_000).iter().map(Record::from));
    site.await_lines("game", 2_000, SOON);
    disk.remount("size=10m");
    let text = "lines of the log were lost before this one: No space left on device";
    site.awaited("the loss is said", SOON, || log().contains(text).then_some(()));
    run.term();
    let well = run.wait(SOON).success();
    let log = log();
    assert!(well && log.contains("told to stop"), "{log}");
    assert!(log.lines().all(|line| !line.contains("][") && !line[1..].contains("[20")), "two lines in one: {log}");
}

#[test]
fn a_terminal_that_nobody_reads_holds_nothing_up() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("blocked", 8);
    let mut site = Site::new(kafka().bootstrap());
    let loud = format!("[cluster.loud]\nbrokers = {:?}\nlibrdkafka = {{ debug = \"all\" }}", kafka().bootstrap());
    let free = TcpListener::bind("127.0.0.1:0").expect("an address");
    let web = support::Web { address: free.local_addr().expect("an address").to_string() };
    drop(free);
    site.process(&format!("metrics_listen = {:?}\nlog_level = \"debug\"", web.address)).process(&loud);
    site.task("game", &[&topic], "cluster = \"loud\"\nreaders = 8");
    // A pipe that is open and never read: a write waits for ever once it is full.
    let mut run = site.start_under(&["sh", "-c", "mkfifo pipe; exec 3<>pipe; exec \"$0\" \"$@\" 2>&3"], &[]);
    site.awaited("the numbers", SOON, || TcpStream::connect(&web.address).ok());
    let mut mix = Mix::new(2, 1).only_written();
    let mut sent = 0;
    site.awaited("lines are lost", 2 * SOON, || {
        kafka().produce(&topic, mix.by_ref().take(5).collect::<Vec<_>>().iter().map(Record::from));
        sent += 5;
        (web.number("logmill_log_lines_lost_total") > Some(0.0)).then_some(())
    });
    kafka().produce(&topic, mix.take(2_000).collect::<Vec<_>>().iter().map(Record::from));
    site.await_lines("game", sent + 2_000, SOON);
    run.term();
    assert!(run.wait(SOON).success());
}

#[test]
fn a_log_file_that_cannot_be_is_refused_by_name() {
    let mut site = Site::new("localhost:1");
    site.process("log_file = \"/proc/none/a.log\"").task("game", &["t"], "");
    assert_eq!(site.start(&[]).wait(SOON).code(), Some(1));
    assert!(site.log().contains("cannot open the log file /proc/none/a.log"), "{}", site.log());
}
