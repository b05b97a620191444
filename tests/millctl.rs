//! Every command of `millctl`, through the binary on a real broker.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::{self, Kafka, Mix, Part, Record, SOON, Said, Site, kafka, left_out, tool, written};

/// The table's cells, row by row.
fn cells(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.contains("Topic"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Topic, partition, current offset, end of log and lag as Kafka's own tool tells them of a group.
fn described(group: &str) -> Vec<Vec<String>> {
    let output = tool("tool", kafka().dir(), &["kafka-consumer-groups", "--describe", "--group", group]);
    let text = String::from_utf8(output.stdout).expect("text");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut rows: Vec<Vec<String>> =
        text.lines().map(words).filter(|row| row.first().is_some_and(|g| g == group)).collect();
    rows.iter_mut().for_each(|row| drop(row.drain(6..)));
    rows.iter_mut().for_each(|row| drop(row.remove(0)));
    rows.sort();
    assert!(!rows.is_empty(), "{text}");
    rows
}

#[test]
fn offsets_and_lag_are_those_of_kafka_s_own_tool_with_and_without_the_program() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("offsets", 3);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "readers = 2");
    site.write_config();
    // Nothing is stored: it would begin at the beginning.
    kafka().produce(&topic, written(1, 3, 3_000).iter().map(Record::from));
    let ends: Vec<i64> = kafka().watermarks(&topic).iter().map(|(_, high)| *high).collect();
    let rows = cells(&site.millctl(&["offsets"]).out);
    for (partition, row) in rows.iter().enumerate() {
        let end = ends[partition].to_string();
        let wanted = [&*partition.to_string(), &*topic, &*partition.to_string(), "0", &end, "0", &end];
        assert_eq!(row, &wanted);
    }
    assert_eq!(site.millctl(&["lag"]).line(), "3000");

    let mut run = site.start(&[]);
    site.await_lines("game", 3_000, SOON);
    site.await_socket(SOON);
    // Live, from the rings.
    assert_eq!(site.millctl(&["lag"]).line(), "0");
    let live = site.millctl(&["offset_checker"]);
    assert_eq!((live.code, cells(&live.out).len()), (0, 3), "{live:?}");
    // From the running program.
    let lag = || (site.millctl_at_socket(&["kafka_lag"]).out == "0\n").then_some(());
    site.awaited("no lag", SOON, lag);
    site.awaited("the same rows", SOON, || (site.millctl_at_socket(&["offsets"]).out == live.out).then_some(()));
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());

    // Stopped, from the ledger; with something to do.
    kafka().produce(&topic, written(2, 3, 500).iter().map(Record::from));
    let stopped = site.millctl(&["offsets"]);
    let ours: Vec<Vec<String>> =
        cells(&stopped.out).into_iter().map(|row| [1, 2, 5, 4, 6].map(|column| row[column].clone()).to_vec()).collect();
    assert_eq!(ours, described(&site.group("game")));
    assert_eq!(site.millctl(&["lag"]).line(), "500");
    let json = site.millctl(&["offsets", "--json"]).json();
    let sum: i64 = json.as_array().expect("rows").iter().map(|row| row["lag"].as_i64().expect("a lag")).sum();
    assert_eq!((sum, json[0]["task"].as_str()), (500, Some("game")));
    assert_eq!(site.millctl_at_socket(&["lag"]).code, 3);
}

#[test]
fn without_a_broker_offsets_have_gaps_and_lag_is_minus_one() {
    let mut site = Site::new("127.0.0.1:1");
    site.task("game", &["nowhere"], "");
    site.write_config();
    let said = site.millctl(&["lag"]);
    assert_eq!((said.code, &*said.out), (1, "-1\n"), "{said:?}");
    assert!(said.err.contains("127.0.0.1:1"), "{said:?}");
}

#[test]
fn stored_offsets_are_told_while_brokers_are_away() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("away", 1);
    kafka().produce(&topic, written(3, 1, 100).iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let text = std::fs::read_to_string(site.config()).expect("the configuration");
    std::fs::write(site.config(), text.replace(kafka().bootstrap(), "127.0.0.1:1")).expect("written");
    let said = site.millctl(&["offsets"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(cells(&said.out), [["0", &topic, "0", "-", "-", "100", "-"]]);
}

/// With a single replica each, as on brokers whose disks are thought safe: the ends of the others are told.
#[test]
fn a_partition_without_a_leader_hides_no_other() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(3);
    let alone = ["--replica-assignment", "1,2,3", "--config", "min.insync.replicas=1"];
    tool("tool", kafka.dir(), &[&["kafka-topics", "--create", "--topic", "alone"], &alone[..]].concat());
    kafka.produce("alone", written(3, 3, 300).iter().map(Record::from));
    let mut site = Site::new(kafka.bootstrap());
    site.task("game", &["alone"], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let ends: Vec<_> = kafka.watermarks("alone").iter().map(|(_, high)| high.to_string()).collect();
    kafka.kill9(3);
    site.awaited("it is known who leads nothing", SOON, || {
        let said = site.millctl(&["offsets"]);
        let rows = |row: &[String]| row[2..].join(" ");
        let [zero, one, two] = [0, 1, 2].map(|partition| &ends[partition]);
        let told = [format!("0 0 {zero} {zero} 0"), format!("1 0 {one} {one} 0"), format!("2 - - {two} -")];
        let is_named = said.err.contains("alone/2 has no leader");
        is_named.then(|| assert_eq!(cells(&said.out).iter().map(|row| rows(row)).collect::<Vec<_>>(), told, "{said:?}"))
    });
}

#[test]
fn a_status_names_tasks_threads_and_files() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("status", 2);
    let made: Vec<_> = Mix::new(4, 2).take(5_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "readers = 2\nlanes = 2\nwriters = 2");
    let mut run = site.start(&[]);
    site.await_socket(SOON);
    let status = site.awaited("all records", SOON, || {
        let status = site.millctl(&["status", "--json"]).json();
        let task = &status["tasks"][0];
        (task["counts"]["consumed"] == 5_000 && task["lag"] == 0).then_some(status)
    });
    let task = &status["tasks"][0];
    assert_eq!((status["pid"].as_i64(), task["name"].as_str()), (Some(run.pid().into()), Some("game")));
    let names: Vec<&str> =
        task["threads"].as_array().expect("threads").iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["r0-game", "r1-game", "w0-game", "w1-game"]);
    assert!(task["threads"].as_array().expect("threads").iter().all(|t| t["core"].is_u64()), "{task}");
    let listed: u64 = task["files"].as_array().expect("files").iter().filter_map(|f| f["bytes"].as_u64()).sum();
    let on_disk: u64 = std::fs::read_dir(site.out("game"))
        .expect("out")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.metadata().expect("its length").len())
        .sum();
    assert_eq!((listed, task["files_open"].as_u64()), (on_disk, Some(2)));
    let shown = site.millctl(&["status"]);
    for part in ["game: running", "lag 0", "done 5,000 = written", "r1-game", "w1-game", "generation 1"] {
        assert!(shown.line().contains(part), "{part}: {}", shown.out);
    }
    let parked = task["counts"]["parked"].as_u64().expect("a number");
    assert!(parked > 0);
    for words in [["failures", "count"].as_slice(), &["failure_queue_count"]] {
        assert_eq!(site.millctl(words).line(), parked.to_string());
    }
    assert_eq!(site.millctl(&["files", "--json"]).line(), "[]");

    let stopped = site.millctl(&["stop"]);
    assert!(stopped.line().starts_with("stopped after"), "{stopped:?}");
    assert!(run.ended().is_some_and(|status| status.success()), "it is gone when stop returns: {}", site.log());
    assert!(!site.socket().exists());
    for words in [&["status"], &["stop"], &["reload"]] {
        let said = site.millctl(words);
        assert!(said.code == 3 && said.err.contains("not running"), "{said:?}");
    }
}

#[test]
fn a_tap_shows_values_beside_lines_and_only_those_that_are_wanted() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("tap", 1);
    let mut site = Site::new(kafka().bootstrap());
    site.task("plain", &[&topic], "transform = \"none\"\ncheckpoint_interval = \"100ms\"");
    let _run = site.start(&[]);
    site.await_socket(SOON);
    let values = |texts: &[&str]| {
        let record = |text: &&str| Record { partition: 0, payload: Some(text.as_bytes().to_vec()), timestamp_ms: 1 };
        texts.iter().map(record).collect::<Vec<_>>()
    };
    let refused = site.millctl(&["tap", "other"]);
    assert!(refused.code == 1 && refused.err.contains("no task other"), "{refused:?}");
    let mut command = site.millctl_command(&["tap", "plain", "needle", "--json", "--count", "2"]);
    let mut tap = command.arg("--socket").arg(site.socket()).stdout(Stdio::piped()).spawn().expect("millctl");
    // Records pass until the tap has seen enough; how soon it looks is its own affair.
    site.awaited("two samples", SOON, || {
        kafka().produce(&topic, values(&["hay", "a needle in hay", ""]));
        tap.try_wait().expect("its state")
    });
    let mut text = String::new();
    tap.stdout.take().expect("stdout").read_to_string(&mut text).expect("text");
    let samples: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(samples.len(), 2, "{text}");
    for sample in samples {
        assert_eq!((&sample["value"], &sample["line"]), (&"a needle in hay".into(), &"a needle in hay".into()));
        assert_eq!((&sample["ended"], &sample["topic"]), (&"written".into(), &topic.as_str().into()));
    }
}

/// The program in a terminal of its own, of `script`; what it draws goes into a file.
struct Terminal {
    child: std::process::Child,
    screen: std::path::PathBuf,
}

impl Terminal {
    fn run(site: &Site, before: &str) -> Terminal {
        let screen = site.path("screen");
        let words = format!(
            "{before}; tty > tty; stty -a > before; {} top --config {}; echo $? > code; stty -a > after",
            env!("CARGO_BIN_EXE_millctl"),
            site.config().display()
        );
        let file = std::fs::File::create(&screen).expect("a file");
        let mut script = Command::new("script");
        script.args(["-qec", &words, "/dev/null"]).current_dir(site.path(""));
        let child = script.stdin(Stdio::piped()).stdout(file).spawn().expect("script");
        Terminal { child, screen }
    }

    fn drawn(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.screen).expect("the screen")).into_owned()
    }

    fn press(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("stdin").write_all(keys).expect("pressed");
    }
}

#[test]
fn top_draws_follows_the_size_and_leaves_the_terminal_as_it_was() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("top", 1);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let run = site.start(&[]);
    site.await_socket(SOON);
    for (keys, signal) in [(&b"q"[..], 0), (b"\x03", 0), (b"", libc::SIGTERM)] {
        let mut terminal = Terminal::run(&site, "stty cols 100 rows 30");
        site.awaited("a load", SOON, || terminal.drawn().contains(" %").then_some(()));
        let tty = std::fs::read_to_string(site.path("tty")).expect("its terminal");
        let narrow = Command::new("stty").args(["-F", tty.trim(), "cols", "20", "rows", "5"]).status().expect("stty");
        assert!(narrow.success());
        let resized = || {
            let drawn = terminal.drawn();
            let last = drawn.rsplit("\x1b[H").next().unwrap_or("");
            let lines: Vec<&str> = last.split("\r\n").map(|line| line.split("\x1b[K").next().unwrap_or("")).collect();
            (lines.len() == 5 && lines.iter().all(|line| line.len() <= 20)).then_some(())
        };
        site.awaited("a small frame", SOON, resized);
        if signal == 0 {
            terminal.press(keys);
        } else {
            end_top(&site, signal);
        }
        assert!(terminal.child.wait().expect("its end").success());
        let drawn = terminal.drawn();
        assert!(drawn.starts_with("\x1b[?1049h\x1b[?25l") && drawn.contains("\x1b[?25h\x1b[?1049l"), "{drawn:?}");
        assert!(!drawn.contains("\x1b[2J"), "nothing is wiped, so nothing flickers");
        let read = |name: &str| std::fs::read_to_string(site.path(name)).expect("what stty said");
        let settings = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(settings(&read("after")), settings(&read("before")));
        assert_eq!(read("code").trim(), "0");
    }
    drop(run);
}

/// Sends a signal to the `millctl top` of this site.
fn end_top(site: &Site, signal: i32) {
    let config = site.config().display().to_string();
    for process in std::fs::read_dir("/proc").expect("/proc") {
        let path = process.expect("an entry").path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok()) else { continue };
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        if words.first().is_some_and(|w| w.ends_with(b"/millctl")) && words.contains(&config.as_bytes()) {
            assert!(support::signal(pid, signal));
        }
    }
}

#[test]
fn orders_are_done_or_refused_with_the_reason() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("orders", 1);
    let made = written(5, 1, 600);
    kafka().produce(&topic, made[..200].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let _run = site.start(&[]);
    site.await_socket(SOON);
    site.await_lines("game", 200, SOON);

    assert!(site.millctl(&["pause", "game"]).line().contains("paused"));
    assert_eq!(site.millctl(&["status", "--json"]).json()["tasks"][0]["state"], "paused");
    kafka().produce(&topic, made[200..400].iter().map(Record::from));
    assert_eq!(site.millctl(&["lag"]).line(), "200");
    assert!(site.millctl(&["resume", "game"]).line().contains("runs"));
    site.await_lines("game", 400, SOON);
    let partition = format!("{topic}/0");
    assert!(site.millctl(&["seek", "game", &partition, "300"]).line().contains("300"));
    site.await_lines("game", 500, SOON);
    for refused in
        [vec!["pause", "other"], vec!["seek", "game", "other/0", "1"], vec!["failures", "clear", "--code", "E99"]]
    {
        let said = site.millctl(&refused);
        assert!(said.code == 1 && said.err.starts_with("error: "), "{said:?}");
    }

    site.clear_tasks().task("game", &[&topic], "rate_limit = 100000").write_config();
    let reloaded = site.millctl(&["update"]);
    // The changed file may have been taken over before anybody asked.
    assert!(reloaded.line().starts_with("generation 2: +0 tasks, ~"), "{reloaded:?}");
    std::fs::write(site.config(), "[process]\n[deliver.game]\ntopic = 1\n").expect("written");
    let refused = site.millctl_at_socket(&["reload"]);
    assert!(refused.code == 1 && refused.err.contains("unknown key topic"), "{refused:?}");
    assert_eq!(site.millctl_at_socket(&["status", "--json"]).json()["generation"], 2);
    kafka().produce(&topic, made[400..].iter().map(Record::from));
    site.await_lines("game", 700, SOON);
}

#[test]
fn parked_records_are_counted_listed_shown_retried_and_cleared() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("parked", 1);
    let values = [&b"no JSON"[..], b"", b"no JSON either", b"[]"];
    let record = |value: &[u8]| Record { partition: 0, payload: Some(value.to_vec()), timestamp_ms: 1 };
    kafka().produce(&topic, values.map(record));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&[]);
    site.await_socket(SOON);
    site.awaited("all parked", SOON, || (site.millctl(&["failures", "count"]).out == "4\n").then_some(()));
    // Without a checkpoint between, and with the socket alone.
    assert_eq!(site.millctl_at_socket(&["failure_queue_count"]).line(), "4");
    let lists = |words: &[&str]| {
        let said = site.millctl(&[&["failures", "list", "--json"], words].concat());
        assert_eq!(said.code, 0, "{said:?}");
        let offset = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["offset"].as_i64();
        said.out.lines().filter_map(offset).collect::<Vec<i64>>()
    };
    site.awaited("all in the files", SOON, || (lists(&[]) == [0, 1, 2, 3]).then_some(()));
    assert_eq!(lists(&["--code", "E05"]), [0, 2]);
    assert_eq!(lists(&["--code", "E05_JSON", "--code", "E01", "--older-than", "0s"]), [0, 1, 2]);
    assert_eq!(lists(&["--older-than", "1h"]), [0; 0]);
    assert_eq!(lists(&["--task", "game", "--topic", &topic, "--partition", "0", "--offset", "3"]), [3]);
    assert_eq!(site.millctl(&["failures", "list", "--task", "other"]).code, 1);
    let shown = site.millctl(&["failures", "show", "--offset", "2"]);
    assert!(shown.out.contains("no JSON either\n") && shown.out.contains(&format!("E05_JSON         {topic}/0/2")));

    let retried = site.millctl(&["failures", "retry", "--code", "E05"]);
    assert_eq!(retried.line(), "2 retried: 0 lines, 0 filtered, 2 parked again");
    site.awaited("still four", SOON, || (lists(&[]).len() == 4).then_some(()));
    assert_eq!(site.millctl(&["failures", "clear", "--code", "E01"]).line(), "1");
    assert_eq!(site.millctl_at_socket(&["failures", "count"]).line(), "3");
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());

    assert_eq!(site.millctl(&["failures", "count"]).line(), "3");
    assert_eq!(lists(&[]).len(), 3);
    assert_eq!(site.millctl_at_socket(&["failures", "clear"]).code, 3);
    let retried = site.millctl(&["failures", "retry", "--code", "E07"]);
    assert_eq!(retried.line(), "1 retried: 0 lines, 0 filtered, 1 parked again");
    assert_eq!(site.millctl(&["failures", "clear", "--code", "E07"]).line(), "1");
    let _run = site.start(&[]);
    site.await_socket(SOON);
    let cleared = || site.exchange(br#"{"RpcFuncName":"ClearFailureQueue","Params":[]}"#);
    site.awaited("all cleared", SOON, || (cleared() == b"2\n").then_some(()));
    assert_eq!(site.millctl(&["failures", "count"]).line(), "0");
}

#[test]
fn what_was_typed_wrong_is_told_from_what_failed() {
    let mut site = Site::new("127.0.0.1:1");
    site.task("game", &["nowhere"], "");
    site.write_config();
    let code = |words: &[&str]| site.millctl(words).code;
    assert_eq!([code(&["lagg"]), code(&["seek", "game", "t", "1"]), code(&["tap"])], [2, 2, 2]);
    assert_eq!([code(&["status"]), code(&["pause", "game"]), code(&["update"]), code(&["top"])], [3, 3, 3, 3]);
    let alone = Said::from(site.millctl_command(&["status", "--config", "none.toml"]).output().expect("millctl"));
    assert!(alone.code == 1 && alone.err.contains("none.toml"), "{alone:?}");
    let empty = site.path("empty");
    std::fs::create_dir(&empty).expect("made");
    let lost = Said::from(site.millctl_command(&["lag"]).current_dir(empty).output().expect("millctl"));
    assert!(lost.code == 1 && lost.err.contains("conf/logmill.toml, ../conf/logmill.toml"), "{lost:?}");
    // The settings of a task may be broken: what runs is found all the same.
    std::fs::remove_dir_all(site.path("settings")).expect("removed");
    assert_eq!(code(&["status"]), 3);
}

#[test]
fn completions_and_pages_come_from_the_same_words() {
    let site = Site::new("127.0.0.1:1");
    for shell in ["bash", "zsh", "fish"] {
        let said = Said::from(site.millctl_command(&["completions", shell]).output().expect("millctl"));
        assert!(said.code == 0 && said.out.contains("offsets") && said.out.contains("watch"), "{shell}");
    }
    let mut logmill = Command::new(env!("CARGO_BIN_EXE_logmill"));
    let said = Said::from(logmill.args(["completions", "bash"]).output().expect("logmill"));
    assert!(said.code == 0 && said.out.contains("exit-at-end"));
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("stdin").write_all(said.out.as_bytes()).expect("read");
    assert!(bash.wait().expect("its end").success(), "bash takes the script");

    let dir = site.path("man");
    let mut logmill = Command::new(env!("CARGO_BIN_EXE_logmill"));
    assert!(logmill.arg("man").arg(&dir).status().expect("logmill").success());
    for page in ["logmill.1", "logmill-run.1", "millctl.1", "millctl-offsets.1", "millctl-failures-retry.1"] {
        let text = std::fs::read_to_string(dir.join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(".TH"), "{page}: {text}");
    }
    assert!(!dir.join("logmill-check-ledger.1").exists(), "what is hidden has no page");
}
