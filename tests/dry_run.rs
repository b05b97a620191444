//! `logmill transform` through the binary: what stands on which stream, in which order, and with which exit code.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support;

const ITEM: &str =
    r#"{"headers":{"app_id":24,"log_name":"log_item"},"logs":{"role_id":7,"mtime":1608184243,"none":null}}"#;
const ITEM_LINE: &str = r##"{"#account_id":"7","#distinct_id":"","#event_name":"t_log_item","#ip":"","#time":"2020-12-17 13:50:43","#type":"track","properties":{"role_id":7,"mtime":1608184243}}"##;
const LOGIN: &str = r#"{"headers":{"app_id":24,"log_name":"tbllog_login"},"logs":{"role_id":7}}"#;
const UNKNOWN: &str = r#"{"headers":{"app_id":24,"log_name":"log_novel"},"logs":{"role_id":7}}"#;

/// Settings of project 24 in `settings`, and `logmill.toml` with one task of these keys.
fn place(task: &str) -> tempfile::TempDir {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    support::write_settings(&dir.path().join("settings"));
    let config = format!(
        "[cluster.default]\nbrokers = \"localhost:9092\"\n[deliver.game]\ntopics = [\"a\"]\ngroup_id = \"g\"\n\
         app_ids = [24]\nsettings_dir = \"settings\"\ndir = \"out\"\n{task}\n"
    );
    std::fs::write(dir.path().join("logmill.toml"), config).expect("a file");
    dir
}

fn start(dir: &Path, arguments: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
    command.arg("transform").args(arguments.split_whitespace()).current_dir(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("logmill starts")
}

fn dry_run(dir: &Path, arguments: &str, input: impl AsRef<[u8]>) -> Output {
    let mut child = start(dir, arguments);
    let (mut stdin, input) = (child.stdin.take().expect("stdin"), input.as_ref().to_vec());
    // A run that refuses its arguments does not read.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("an end");
    feeder.join().expect("the feeder");
    output
}

const SETTINGS: &str = "--settings settings --app-id 24 --timezone +08:00";
const TASK: &str = "--config logmill.toml --task game";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn written(topic: &str, offset: i64, value: impl AsRef<[u8]>) -> String {
    let value = STANDARD.encode(value);
    json!({"topic": topic, "partition": 0, "offset": offset, "timestamp": 1_608_184_360_123_i64, "value": value})
        .to_string()
}

/// The objects of a run that ended well.
fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn raw_lines_go_out_and_reasons_to_the_side() {
    let dir = place("");
    let input = [ITEM, LOGIN, "{\"headers\"", "", UNKNOWN, ITEM].join("\n");
    let output = dry_run(dir.path(), SETTINGS, input);
    assert!(output.status.success());
    let stamped = format!("{ITEM_LINE}\n{ITEM_LINE}\n");
    assert_eq!(text(&output.stdout), stamped);
    let side: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(side[0], "line 2: filtered");
    assert!(side[1].starts_with("line 3: parked E05_JSON: "), "{side:?}");
    assert!(side[2].starts_with("line 4: parked E01_EMPTY: "), "{side:?}");
    assert!(side[3].starts_with("line 5: parked E14_NO_ID: "), "{side:?}");
    assert_eq!(side[4], "consumed 6 = written 2 + filtered 1 + parked 3");
    let mut counters = side[5..].to_vec();
    counters.sort_unstable();
    assert_eq!(counters, ["E01_EMPTY 1", "E05_JSON 1", "E14_NO_ID 1", "prop_null 2", "time_out_of_range 2"]);
}

#[test]
fn json_gives_an_object_for_each_record_in_order() {
    let dir = place("");
    let null = r#"{"topic":"t","partition":0,"offset":3,"timestamp":-1,"value":null}"#;
    let input = [&written("t", 1, ITEM), null, &written("t", 4, LOGIN), "  ", &written("t", 5, "[]")].join("\n");
    let output = dry_run(dir.path(), &format!("{SETTINGS} --format json"), input);
    assert_eq!(text(&output.stderr), "");
    let mut found = objects(&output);
    for object in &mut found {
        if let Some(detail) = object.as_object_mut().and_then(|o| o.remove("detail")) {
            assert!(detail.as_str().is_some_and(|d| !d.is_empty()));
        }
    }
    assert_eq!(
        found,
        [
            json!({"result":"written","line":ITEM_LINE,"counters":{"prop_null":1,"time_out_of_range":1}}),
            json!({"result":"parked","code":"E01_EMPTY"}),
            json!({"result":"filtered"}),
            json!({"result":"parked","code":"E07_ROOT"}),
        ]
    );
}

#[test]
fn all_options_come_from_the_task() {
    let raw = |task: &str, input: &str| dry_run(place(task).path(), TASK, input);
    assert!(text(&raw("timezone = \"-01:30\"", ITEM).stdout).contains("\"#time\":\"2020-12-17 04:20:43\""));
    assert!(text(&raw("unknown_log_name = \"drop\"", UNKNOWN).stderr).starts_with("line 1: filtered"));
    assert!(text(&raw("unknown_log_name = \"park\"", UNKNOWN).stderr).contains("E20_UNKNOWN_LOG"));
    assert!(text(&raw("max_line_bytes = \"1KiB\"", &ITEM.replace("null", &"9".repeat(1000))).stderr).contains("E18_"));
    assert!(
        text(&raw("max_record_bytes = \"1KiB\"", &" ".repeat(1025)).stderr).contains("E02_TOO_LARGE_IN: 1025 bytes")
    );
    let bad = ITEM.replace("none", "9x");
    assert!(text(&raw("bad_property = \"fail\"", &bad.replace("null", "1")).stderr).contains("E19_BAD_PROPERTY"));

    let dir = place("add_uuid = true");
    let input = written("mulog_clean_24", 6_197_511_494, ITEM);
    let line = objects(&dry_run(dir.path(), &format!("{TASK} --format json"), input))[0]["line"].to_string();
    assert!(line.contains("36ec9d64-e38f-4b74-9a35-b57f7c73fc4f"), "{line}");

    let dir = place("transform = \"none\"");
    assert_eq!(text(&dry_run(dir.path(), TASK, "as it is\r\n").stdout), "as it is\r\n");
}

#[test]
fn a_value_of_several_records_gives_several_objects() {
    let dir = place("value_codec = \"snappy\"\nadd_uuid = true");
    let packed = |text: &str| snap::raw::Encoder::new().compress_vec(text.as_bytes()).expect("snappy");
    let input = [written("t", 1, packed(&format!("{ITEM}\n\n{LOGIN}\n{ITEM}"))), written("t", 2, ITEM)].join("\n");
    let found = objects(&dry_run(dir.path(), &format!("{TASK} --format json"), input));
    let seen: Vec<_> = found.iter().map(|o| (o["result"].as_str(), o["k"].as_u64(), o["code"].as_str())).collect();
    assert_eq!(
        seen,
        [
            (Some("written"), None, None),
            (Some("filtered"), Some(1), None),
            (Some("written"), Some(2), None),
            (Some("parked"), None, Some("E03_CODEC")),
        ]
    );
    assert_ne!(found[0]["line"], found[2]["line"], "each record has a #uuid of its own");

    let raw = dry_run(dir.path(), TASK, ITEM);
    assert_eq!(raw.status.code(), Some(1));
    assert!(text(&raw.stderr).contains("--format json"));
}

#[test]
fn a_line_that_is_no_record_ends_the_run_by_its_number() {
    let dir = place("");
    let good = written("t", 1, ITEM);
    for (bad, word) in [
        ("{\"topic\":\"t\"}", "`value`"),
        ("{\"value\":\"***\"}", "base64"),
        ("{\"value\":7}", "expected a string"),
        (ITEM, "`value`"),
        ("not json", "column"),
        ("{\"value\":\"e30=\",\"partition\":\"x\"}", "i32"),
    ] {
        let input = format!("{good}\n\n{bad}\n{good}\n");
        let output = dry_run(dir.path(), &format!("{SETTINGS} --format json"), input);
        assert_eq!(output.status.code(), Some(1), "{bad}");
        assert_eq!(text(&output.stdout).lines().count(), 1, "what came before is there: {bad}");
        let said = text(&output.stderr);
        assert!(said.starts_with("error: line 3: ") && said.contains(word) && said.contains("<base64>"), "{said}");
    }
}

#[test]
fn results_come_while_the_input_is_still_open() {
    let dir = place("");
    for (format, line) in [("raw", ITEM.to_owned()), ("json", written("t", 1, ITEM))] {
        let mut child = start(dir.path(), &format!("{SETTINGS} --format {format}"));
        let mut stdin = child.stdin.take().expect("stdin");
        let (sender, results) = std::sync::mpsc::channel();
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        let reader = std::thread::spawn(move || out.lines().for_each(|line| drop(sender.send(line.expect("a line")))));
        for _ in 0..3 {
            writeln!(stdin, "{line}").expect("a reader");
            let result = results.recv_timeout(Duration::from_secs(20));
            assert!(result.is_ok_and(|r| r.contains("t_log_item")), "{format}: no result while the input is open");
        }
        drop(stdin);
        reader.join().expect("the reader");
        assert!(child.wait().expect("an end").success());
    }
}

#[test]
fn memory_stays_bounded_whatever_comes() {
    let dir = place("");
    // 200 MB of address space hold the program, but not one of these lines.
    let limited = "ulimit -v 200000; exec \"$0\" transform --settings settings --app-id 24";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_logmill")]).current_dir(dir.path());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("sh starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let piece = vec![b'x'; 1 << 20];
    let feeder = std::thread::spawn(move || -> std::io::Result<()> {
        (0..256).try_for_each(|_| stdin.write_all(&piece))?;
        writeln!(stdin, "\n{ITEM}")?;
        (0..100_000).try_for_each(|_| writeln!(stdin, "{LOGIN}"))
    });
    let output = child.wait_with_output().expect("an end");
    feeder.join().expect("the feeder").expect("everything is read");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{ITEM_LINE}\n"));
    let side = text(&output.stderr);
    assert!(side.starts_with("line 1: parked E02_TOO_LARGE_IN: 268435456 bytes"), "{}", &side[..200]);
    assert!(side.contains("consumed 100002 = written 1 + filtered 100000 + parked 1"));
}

#[test]
fn a_reader_that_goes_away_is_an_end_and_no_error() {
    let dir = place("");
    let mut child = start(dir.path(), SETTINGS);
    let mut stdin = child.stdin.take().expect("stdin");
    let feeder = std::thread::spawn(move || while writeln!(stdin, "{ITEM}").is_ok() {});
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    out.read_line(&mut String::new()).expect("a line");
    drop(out);
    assert!(child.wait().expect("an end").success());
    feeder.join().expect("the feeder");
    let mut side = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut side).expect("text");
    assert_eq!(side, "");
}

#[test]
fn rules_that_are_not_there_are_named() {
    let dir = place("");
    for (arguments, code, word) in [
        ("--config logmill.toml --task gome", 1, "did you mean \"game\""),
        ("--config none.toml --task game", 1, "none.toml"),
        ("--settings none --app-id 24", 1, "none"),
        ("--settings settings", 2, "--app-id"),
        ("--settings settings --app-id 24 --format xml", 2, "raw, json"),
    ] {
        let output = dry_run(dir.path(), arguments, "");
        assert_eq!(output.status.code(), Some(code), "{arguments}");
        assert!(text(&output.stderr).contains(word), "{arguments}: {}", text(&output.stderr));
    }
}
